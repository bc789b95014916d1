//! What there is to say of two versions of a transform, feature by feature. Reports of several lanes or hosts are added
//! up: they take as much memory as one, however much was compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::spread::Spread;
use crate::text;

/// Cases that are shown of a feature: of values that differ, and of those that one version alone has.
const CASES: usize = 5;

/// What was found so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of each feature, by `group/name@version`.
    pub features: BTreeMap<String, Figures>,
    /// Rows of events that both versions worked on.
    pub rows: u64,
    /// Lanes that have the other version beside them; none over recorded events.
    #[serde(default)]
    pub lanes: u64,
}

/// What was found of one feature. A value is one that would be served: one that is there, and is valid.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Values that are the same, floats bit by bit.
    pub equal: u64,
    /// Values that are not.
    pub different: u64,
    /// Values that the version at work alone has.
    pub only_old: u64,
    /// Values that the other version alone has.
    pub only_new: u64,
    /// How far those that are different are apart, where they are numbers.
    pub spread: Spread,
    /// Those that are furthest apart, the furthest first; of values that are no numbers, the first that were met.
    pub worst: Vec<Case>,
    /// The first values that one version alone has.
    pub missing: Vec<Case>,
}

/// A value that is not the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The key, as a JSON object.
    pub entity: String,
    /// The window's start and end, or the row's event time, in RFC 3339.
    pub window: String,
    /// What the version at work has, as JSON.
    pub old: Option<String>,
    /// What the other version has.
    pub new: Option<String>,
    /// How far they are apart; none where that is no number.
    pub distance: Option<f64>,
}

impl Report {
    /// Values that were compared, of all features together.
    pub fn compared(&self) -> u64 {
        self.features.values().map(Figures::compared).sum()
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        for (name, figures) in &other.features {
            match self.features.get_mut(name) {
                Some(ours) => ours.merge(figures),
                None => drop(self.features.insert(name.clone(), figures.clone())),
            }
        }
        self.rows += other.rows;
        self.lanes += other.lanes;
    }

    /// For those who read it from a command and over HTTP.
    pub fn shown(&self) -> Value {
        let features = self.features.iter();
        let features = features.map(|(name, figures)| (name.clone(), figures.shown()));
        json!({
            "rows": self.rows,
            "lanes": self.lanes,
            "compared": self.compared(),
            "features": features.collect::<serde_json::Map<String, Value>>(),
        })
    }
}

impl Figures {
    /// How many values were compared, those that one version alone has among them.
    pub fn compared(&self) -> u64 {
        self.equal + self.different + self.only_old + self.only_new
    }

    /// Whether a case so far apart would be shown.
    pub(super) fn shows(&self, distance: Option<f64>) -> bool {
        let last = self.worst.get(CASES - 1);
        last.is_none_or(|last| is_further(distance, last.distance))
    }

    /// Whether one more that a version alone has would be shown.
    pub(super) fn shows_missing(&self) -> bool {
        self.missing.len() < CASES
    }

    /// Shows a case among the worst, if it is one of them.
    pub(super) fn show(&mut self, case: Case) {
        let before = |other: &Case| !is_further(case.distance, other.distance);
        let at = self.worst.partition_point(before);
        self.worst.insert(at, case);
        self.worst.truncate(CASES);
    }

    fn merge(&mut self, other: &Self) {
        self.equal += other.equal;
        self.different += other.different;
        self.only_old += other.only_old;
        self.only_new += other.only_new;
        self.spread.merge(&other.spread);
        other.worst.iter().for_each(|case| self.show(case.clone()));
        self.missing.extend(other.missing.iter().cloned());
        self.missing.truncate(CASES);
    }

    fn shown(&self) -> Value {
        let quantile = |share| self.spread.quantile(share);
        json!({
            "equal": self.equal,
            "different": self.different,
            "only_old": self.only_old,
            "only_new": self.only_new,
            "distance": {
                "p50": quantile(0.5),
                "p90": quantile(0.9),
                "p99": quantile(0.99),
                "max": self.spread.largest(),
            },
            "worst": self.worst,
            "missing": self.missing,
        })
    }
}

/// Whether one distance is worse than another. One that is no number is worse than all that are.
fn is_further(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one > other,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

/// The bounds of a window as a person reads them; of a row, its event time alone.
pub(super) fn window(start: Option<i64>, end: i64) -> String {
    match start {
        Some(start) => format!("{}/{}", text::instant(start), text::instant(end)),
        None => text::instant(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(entity: usize, distance: Option<f64>) -> Case {
        Case {
            entity: entity.to_string(),
            window: String::new(),
            old: None,
            new: None,
            distance,
        }
    }

    #[test]
    fn the_worst_cases_stay_whoever_met_them() {
        let distances = [3.0, 9.0, 1.0, 7.0, 5.0, 8.0, 2.0, 6.0];
        let (mut all, mut one, mut other) =
            (Figures::default(), Figures::default(), Figures::default());
        for (at, distance) in distances.into_iter().enumerate() {
            let part = if at % 2 == 0 { &mut one } else { &mut other };
            for figures in [&mut all, part] {
                assert_eq!(figures.shows(Some(0.5)), figures.worst.len() < CASES);
                figures.show(case(at, Some(distance)));
            }
        }
        one.merge(&other);
        assert_eq!(one.worst, all.worst);
        let worst: Vec<_> = all.worst.iter().filter_map(|case| case.distance).collect();
        assert_eq!(worst, [9.0, 8.0, 7.0, 6.0, 5.0]);
        assert!(all.shows(None) && !all.shows(Some(5.0)));
        // Of values that are no numbers the first stay.
        (0..7).for_each(|at| other.show(case(at, None)));
        assert_eq!(other.worst[0].entity, "0");
        assert!(!other.shows(None));
    }

    #[test]
    fn a_report_that_is_written_down_is_the_same_when_it_is_read() {
        let mut figures = Figures {
            equal: 3,
            different: 2,
            ..Figures::default()
        };
        for distance in [0.0, 0.1] {
            figures.spread.add(distance);
            figures.show(case(1, Some(distance)));
        }
        let report = Report {
            features: [("g/f@1".to_owned(), figures)].into(),
            rows: 7,
            lanes: 1,
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        let mut twice = report.clone();
        twice.merge(&report);
        assert_eq!((twice.compared(), twice.rows), (10, 14));
    }
}
