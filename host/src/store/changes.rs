//! What is different between a declaration that readers know and another one of the same version, and which of it
//! would break them.
//!
//! Readers may rely on a feature's type, its entity and what it is computed from and over, and on every rule of its
//! validation: a value that could not come must not come under the same version. Everything else may change.

use std::cmp::Ordering;

use arrow::datatypes::DataType;

use super::declarations::FeatureDeclaration;
use super::validation::{Literal, Validation};
use crate::config::{print_duration, types};

/// One thing that is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key in the declaration.
    pub what: &'static str,
    /// How it was.
    pub was: String,
    /// How it is to be.
    pub now: String,
    /// Whether readers of this version may rely on how it was.
    pub breaks: bool,
}

/// What is different in `now`, in the order of the keys.
#[must_use]
pub fn changes(was: &FeatureDeclaration, now: &FeatureDeclaration) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut compare = |what, was: String, now: String, breaks| {
        if was != now {
            changes.push(Change {
                what,
                was,
                now,
                breaks,
            });
        }
    };
    let lasting = |micros: Option<i64>| micros.map_or_else(String::new, print_duration);
    let name = |of: &DataType| types::type_name(of);
    compare(
        "type",
        name(&was.feature_type),
        name(&now.feature_type),
        true,
    );
    compare("entity", was.entity.join(", "), now.entity.join(", "), true);
    compare("pipeline", was.pipeline.clone(), now.pipeline.clone(), true);
    compare("window", was.window.clone(), now.window.clone(), true);
    compare("column", was.column.clone(), now.column.clone(), false);
    compare("owner", was.owner.clone(), now.owner.clone(), false);
    compare(
        "description",
        was.description.clone(),
        now.description.clone(),
        false,
    );
    compare("tags", was.tags.join(", "), now.tags.join(", "), false);
    compare("ttl", lasting(was.ttl), lasting(now.ttl), false);
    compare(
        "freshness",
        lasting(was.freshness),
        lasting(now.freshness),
        false,
    );
    compare("alert", was.alert.clone(), now.alert.clone(), false);
    let wider = admits_more(&was.validation, &now.validation);
    compare(
        "validation",
        shown(&was.validation),
        shown(&now.validation),
        wider,
    );
    changes
}

fn shown(validation: &Validation) -> String {
    serde_json::to_string(validation).expect("it has only numbers and texts")
}

/// Whether there may be values that there could not be before.
fn admits_more(was: &Validation, now: &Validation) -> bool {
    let nulls = now.nulls && !was.nulls;
    let below = is_looser(was.min.as_ref(), now.min.as_ref(), Ordering::Less);
    let above = is_looser(was.max.as_ref(), now.max.as_ref(), Ordering::Greater);
    let longer = match (was.max_length, now.max_length) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(was), Some(now)) => now > was,
    };
    let others = match (&was.allowed, &now.allowed) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(was), Some(now)) => now.iter().any(|value| !was.contains(value)),
    };
    nulls || below || above || longer || others
}

/// Whether a bound lets more through: one that is `wider` than it was. Bounds that are no numbers are not compared: any
/// other one may.
fn is_looser(was: Option<&Literal>, now: Option<&Literal>, wider: Ordering) -> bool {
    match (was, now) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(was), Some(now)) => match compared(now, was) {
            Some(ordering) => ordering == wider,
            None => was != now,
        },
    }
}

/// Which of two numbers is the greater, exactly: a float has not all whole numbers.
fn compared(one: &Literal, other: &Literal) -> Option<Ordering> {
    match (one, other) {
        (Literal::Integer(one), Literal::Integer(other)) => Some(one.cmp(other)),
        (Literal::Float(one), Literal::Float(other)) => one.partial_cmp(other),
        (Literal::Integer(whole), Literal::Float(float)) => Some(against(*whole, *float)),
        (Literal::Float(float), Literal::Integer(whole)) => Some(against(*whole, *float).reverse()),
        _ => None,
    }
}

/// A float that is beyond every whole number counts as the furthest.
fn against(whole: i64, float: f64) -> Ordering {
    let floor = float.floor();
    let rest = if float > floor {
        Ordering::Less
    } else {
        Ordering::Equal
    };
    i128::from(whole).cmp(&(floor as i128)).then(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Edit = fn(&mut FeatureDeclaration);

    fn declared() -> FeatureDeclaration {
        serde_json::from_str(
            r#"{"group":"g","name":"f","version":1,"entity":["id"],"type":"float64","validation":{"min":0.0,"max":1.0,"nulls":false},"pipeline":"p","column":"f","window":"10m"}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_readers_rely_on_breaks_and_nothing_else_does() {
        let was = declared();
        assert_eq!(changes(&was, &was), []);
        let breaking: [(&str, Edit); 9] = [
            ("type", |f| f.feature_type = DataType::Float32),
            ("entity", |f| f.entity = vec!["other".into()]),
            ("pipeline", |f| f.pipeline = "q".into()),
            ("window", |f| f.window = "1h".into()),
            ("validation", |f| f.validation.nulls = true),
            ("validation", |f| {
                f.validation.min = Some(Literal::Float(-1.0))
            }),
            ("validation", |f| f.validation.min = None),
            ("validation", |f| {
                f.validation.max = Some(Literal::Integer(2))
            }),
            ("validation", |f| f.validation.max = None),
        ];
        for (what, change) in breaking {
            let mut now = was.clone();
            change(&mut now);
            let found = changes(&was, &now);
            assert_eq!(found.len(), 1, "{what}");
            assert!(found[0].what == what && found[0].breaks, "{found:?}");
        }
        let harmless: [(&str, Edit); 6] = [
            ("owner", |f| f.owner = "a@b".into()),
            ("ttl", |f| f.ttl = Some(3_600_000_000)),
            ("tags", |f| f.tags = vec!["x".into()]),
            ("column", |f| f.column = "g".into()),
            ("validation", |f| {
                f.validation.max = Some(Literal::Float(0.5))
            }),
            ("validation", |f| f.validation.max_length = Some(4)),
        ];
        for (what, change) in harmless {
            let mut now = was.clone();
            change(&mut now);
            let found = changes(&was, &now);
            assert!(
                found.len() == 1 && found[0].what == what && !found[0].breaks,
                "{found:?}"
            );
        }
    }

    #[test]
    fn bounds_are_compared_exactly() {
        let whole = |number: i64| Literal::Integer(number);
        // As floats, these would be equal.
        let (one, other) = (whole((1 << 53) + 1), whole(1 << 53));
        assert_eq!(compared(&one, &other), Some(Ordering::Greater));
        let mut was = declared();
        was.feature_type = DataType::Int64;
        was.validation.min = Some(one);
        let mut now = was.clone();
        now.validation.min = Some(other);
        assert!(changes(&was, &now)[0].breaks);
        assert!(!changes(&now, &was)[0].breaks);
        for (number, float, ordering) in [
            (i64::MAX, 2_f64.powi(63), Ordering::Less),
            (i64::MIN, -2_f64.powi(63), Ordering::Equal),
            (i64::MIN, -1e300, Ordering::Greater),
            (2, 2.0, Ordering::Equal),
            (2, 2.5, Ordering::Less),
            (-2, -2.5, Ordering::Greater),
        ] {
            let float = Literal::Float(float);
            assert_eq!(compared(&whole(number), &float), Some(ordering), "{float}");
            assert_eq!(compared(&float, &whole(number)), Some(ordering.reverse()));
        }
    }
}
