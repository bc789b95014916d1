//! How far a value may be from the expected one, column by column.
//!
//! `a` and `b` are within a tolerance `t` when `|a - b| <= t * max(1, |a|, |b|)`: relative for
//! large numbers, absolute for those between -1 and 1. Without a tolerance numbers must be the
//! same, floats bit by bit; a NaN is the same as any other NaN, whatever the tolerance. Infinities
//! are within a tolerance of themselves alone.

use std::collections::BTreeMap;
use std::str::FromStr;

/// The name that stands for every column without a tolerance of its own.
const EVERY_COLUMN: &str = "*";

/// Tolerances by the name of a column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tolerances(BTreeMap<String, f64>);

/// One column's tolerance, as `mean=1e-9`.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnTolerance {
    /// The column, or `*` for all that have none of their own.
    pub column: String,
    /// At least zero, and finite.
    pub tolerance: f64,
}

impl FromStr for ColumnTolerance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (column, tolerance) = text
            .split_once('=')
            .filter(|(column, _)| !column.trim().is_empty())
            .ok_or("write COLUMN=TOLERANCE, as in `mean=1e-9`")?;
        let tolerance = tolerance.trim().parse::<f64>().map_err(|_| {
            format!("`{tolerance}` is not a number; write COLUMN=TOLERANCE, as in `mean=1e-9`")
        })?;
        check(tolerance)?;
        Ok(Self {
            column: column.trim().to_owned(),
            tolerance,
        })
    }
}

fn check(tolerance: f64) -> Result<(), String> {
    match tolerance.is_finite() && tolerance >= 0.0 {
        true => Ok(()),
        false => Err(format!(
            "a tolerance of {tolerance} says nothing; write a number from zero on, such as 1e-9"
        )),
    }
}

impl Tolerances {
    /// The tolerances of a table, each checked.
    ///
    /// # Errors
    ///
    /// One is negative or not finite: the message says which.
    pub fn of(columns: impl IntoIterator<Item = (String, f64)>) -> Result<Self, String> {
        let mut tolerances = BTreeMap::new();
        for (column, tolerance) in columns {
            check(tolerance).map_err(|reason| format!("column `{column}`: {reason}"))?;
            tolerances.insert(column, tolerance);
        }
        Ok(Self(tolerances))
    }

    /// The tolerances that others add to these, or put in their place.
    #[must_use]
    pub fn overridden_by(mut self, others: &Self) -> Self {
        self.0.extend(others.0.clone());
        self
    }

    /// The tolerance of a column; zero if none was given.
    pub fn of_column(&self, column: &str) -> f64 {
        let own = self.0.get(column);
        *own.or_else(|| self.0.get(EVERY_COLUMN)).unwrap_or(&0.0)
    }

    /// The columns that have one of their own.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let names = self.0.keys().map(String::as_str);
        names.filter(|name| *name != EVERY_COLUMN)
    }
}

impl FromIterator<ColumnTolerance> for Tolerances {
    fn from_iter<I: IntoIterator<Item = ColumnTolerance>>(columns: I) -> Self {
        let columns = columns.into_iter();
        Self(columns.map(|one| (one.column, one.tolerance)).collect())
    }
}

/// Whether two numbers are within a tolerance of each other.
pub(super) fn within(a: f64, b: f64, tolerance: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if tolerance == 0.0 {
        return a.to_bits() == b.to_bits();
    }
    if a.is_infinite() || b.is_infinite() {
        return a == b;
    }
    (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_numbers_are_compared_absolutely_and_large_ones_relatively() {
        assert!(within(0.5, 0.5 + 1e-10, 1e-9));
        assert!(!within(0.5, 0.5 + 2e-9, 1e-9));
        assert!(within(1e12, 1e12 + 900.0, 1e-9));
        assert!(!within(1e12, 1e12 + 1100.0, 1e-9));
        assert!(within(-3.0, -3.0, 0.0));
    }

    #[test]
    fn without_a_tolerance_bits_count_but_a_nan_is_a_nan() {
        assert!(!within(0.0, -0.0, 0.0));
        assert!(within(0.0, -0.0, 1e-300));
        let other_nan = f64::from_bits(f64::NAN.to_bits() | 1);
        assert!(within(f64::NAN, other_nan, 0.0));
        assert!(!within(f64::NAN, 1.0, 1e9));
        assert!(within(f64::INFINITY, f64::INFINITY, 0.1));
        assert!(!within(f64::INFINITY, f64::NEG_INFINITY, 0.1));
        assert!(!within(f64::INFINITY, f64::MAX, 1.0));
    }

    #[test]
    fn a_columns_own_tolerance_goes_before_that_of_all() {
        let tolerances: Tolerances = ["*=0.5", "mean = 1e-9"]
            .iter()
            .map(|text| text.parse::<ColumnTolerance>().unwrap())
            .collect();
        assert_eq!(tolerances.of_column("mean"), 1e-9);
        assert_eq!(tolerances.of_column("sum"), 0.5);
        assert_eq!(tolerances.columns().collect::<Vec<_>>(), ["mean"]);
        assert_eq!(Tolerances::default().of_column("sum"), 0.0);
    }

    #[test]
    fn what_is_no_tolerance_is_refused() {
        for text in [
            "mean", "=1", "mean=", "mean=x", "mean=-1", "mean=inf", "mean=NaN",
        ] {
            assert!(text.parse::<ColumnTolerance>().is_err(), "{text}");
        }
        assert!(Tolerances::of([("mean".to_owned(), -1.0)]).is_err());
    }

    proptest! {
        #[test]
        fn it_is_symmetric_and_grows_with_the_tolerance(a: f64, b: f64, t in 0.0..1.0_f64) {
            prop_assert_eq!(within(a, b, t), within(b, a, t));
            prop_assert!(within(a, a, t));
            if within(a, b, t) {
                prop_assert!(within(a, b, t * 2.0 + 1e-9));
            }
        }
    }
}
