//! The condition under which a version takes the place of the one at work by itself: `different < 0.1%`.
//!
//! ```text
//! condition = part { "and" part }
//! part      = measure ("<" | "<=") percentage
//! measure   = "different" | "missing"
//! ```
//!
//! A part must hold for each feature, so that one that is wrong does not hide behind many that are right. `different` is
//! the share of values that are not equal, those among them that only one of the versions has; `missing` is the share of
//! the latter alone.

use std::fmt;
use std::str::FromStr;

use super::report::{Figures, Report};

/// What a version must not exceed.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
struct Part {
    measure: Measure,
    /// Whether the bound itself is too much.
    is_strict: bool,
    /// In percent.
    bound: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Different,
    Missing,
}

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no condition: write a share of values that is not exceeded, such as \"different < 0.1%\" or \"different < 1% and missing <= 0%\""
)]
pub struct ConditionError(String);

/// A condition, and how much must have been compared before it says anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// The condition.
    pub condition: Condition,
    /// Values of each feature.
    pub at_least: u64,
}

impl Gate {
    /// Whether a report opens it, or why not.
    ///
    /// # Errors
    ///
    /// The reason, with the figures that it is about.
    pub fn opens(&self, report: &Report) -> Result<(), String> {
        if report.features.is_empty() && self.at_least > 0 {
            return Err(format!(
                "no values were compared, and {} of each feature are asked for",
                self.at_least
            ));
        }
        for (name, figures) in &report.features {
            let compared = figures.compared();
            if compared < self.at_least {
                return Err(format!(
                    "of {name} {compared} values were compared, and {} are asked for",
                    self.at_least
                ));
            }
        }
        self.condition.holds(report)
    }

    /// The same of a trial on live events beside a pipeline that has so many lanes: all of them must have been seen.
    ///
    /// # Errors
    ///
    /// As [`Self::opens`].
    pub fn opens_for(&self, report: &Report, lanes: u64) -> Result<(), String> {
        if report.lanes < lanes {
            return Err(format!(
                "{} of {lanes} lanes had it beside them when its time was over",
                report.lanes
            ));
        }
        self.opens(report)
    }
}

impl Condition {
    /// Whether it holds, or of which feature it does not.
    fn holds(&self, report: &Report) -> Result<(), String> {
        for (name, figures) in &report.features {
            for part in &self.parts {
                let found = part.measure.of(figures);
                if part.is_exceeded(found, figures.compared()) {
                    return Err(format!(
                        "of {name} {found} of {} values are {}, which is not {part}",
                        figures.compared(),
                        part.measure.shown(),
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Measure {
    fn of(self, figures: &Figures) -> u64 {
        let missing = figures.only_old + figures.only_new;
        match self {
            Self::Different => figures.different + missing,
            Self::Missing => missing,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Different => "different",
            Self::Missing => "missing",
        }
    }

    fn shown(self) -> &'static str {
        match self {
            Self::Different => "not equal",
            Self::Missing => "of one version alone",
        }
    }
}

impl Part {
    fn is_exceeded(&self, found: u64, compared: u64) -> bool {
        let (found, most) = (found as f64 * 100.0, self.bound * compared as f64);
        match self.is_strict {
            // Of nothing that was compared nothing is different.
            true => compared > 0 && found >= most,
            false => found > most,
        }
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let parts = words.split(|word| *word == "and");
        let parts: Option<Vec<Part>> = parts.map(|words| part(&words.concat())).collect();
        let parts = parts.ok_or_else(|| ConditionError(text.to_owned()))?;
        Ok(Self { parts })
    }
}

/// A part without spaces.
fn part(text: &str) -> Option<Part> {
    let (measure, bound) = text.split_once('<')?;
    let measure = match measure {
        "different" => Measure::Different,
        "missing" => Measure::Missing,
        _ => return None,
    };
    let (is_strict, bound) = match bound.strip_prefix('=') {
        Some(bound) => (false, bound),
        None => (true, bound),
    };
    let bound: f64 = bound.strip_suffix('%')?.parse().ok()?;
    (0.0..=100.0).contains(&bound).then_some(Part {
        measure,
        is_strict,
        bound,
    })
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_strict { "<" } else { "<=" };
        write!(f, "{} {sign} {}%", self.measure.name(), self.bound)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, part) in self.parts.iter().enumerate() {
            let before = if number == 0 { "" } else { " and " };
            write!(f, "{before}{part}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(equal: u64, different: u64, only_new: u64) -> Report {
        let figures = Figures {
            equal,
            different,
            only_new,
            ..Figures::default()
        };
        let well = Figures {
            equal: 100_000,
            ..Figures::default()
        };
        let features = [
            ("g/wrong@1".to_owned(), figures),
            ("g/well@1".to_owned(), well),
        ];
        Report {
            features: features.into(),
            ..Report::default()
        }
    }

    #[test]
    fn it_holds_for_each_feature_or_it_does_not_hold() {
        let gate = |text: &str| Gate {
            condition: text.parse().unwrap(),
            at_least: 0,
        };
        let strict = gate("different < 0.1%");
        assert_eq!(strict.opens(&report(999, 0, 0)), Ok(()));
        assert_eq!(strict.opens(&report(1_000_999, 1, 0)), Ok(()));
        let reason = strict.opens(&report(999, 1, 0)).unwrap_err();
        assert_eq!(
            reason,
            "of g/wrong@1 1 of 1000 values are not equal, which is not different < 0.1%"
        );
        assert_eq!(gate("different<=0.1%").opens(&report(999, 1, 0)), Ok(()));
        assert!(strict.opens(&report(999, 0, 1)).is_err());
        let both = gate("different < 50% and missing <= 0%");
        assert_eq!(both.opens(&report(60, 40, 0)), Ok(()));
        let reason = both.opens(&report(60, 39, 1)).unwrap_err();
        assert!(
            reason.contains("1 of 100 values are of one version alone"),
            "{reason}"
        );
        // Of a feature without values nothing can be wrong.
        assert_eq!(strict.opens(&report(0, 0, 0)), Ok(()));
        // One of which there are many values says nothing of another.
        let many = Gate {
            at_least: 1_001,
            ..strict
        };
        assert_eq!(many.opens(&report(1_001, 0, 0)), Ok(()));
        assert_eq!(
            many.opens(&report(1_000, 0, 0)).unwrap_err(),
            "of g/wrong@1 1000 values were compared, and 1001 are asked for"
        );
        assert!(many.opens(&Report::default()).is_err());
        // What no lane was asked about is not known.
        let of_three = Report {
            lanes: 3,
            ..report(1_001, 0, 0)
        };
        assert_eq!(many.opens_for(&of_three, 3), Ok(()));
        assert_eq!(
            many.opens_for(&of_three, 4).unwrap_err(),
            "3 of 4 lanes had it beside them when its time was over"
        );
    }

    #[test]
    fn what_is_no_condition_is_refused_with_an_example() {
        let well = "different<1% and missing <= 0%"
            .parse::<Condition>()
            .unwrap();
        assert_eq!(well.to_string(), "different < 1% and missing <= 0%");
        for wrong in [
            "",
            "different",
            "different < 1",
            "different > 1%",
            "equal < 1%",
            "different < 101%",
            "different < -1%",
            "different < NaN%",
            "different < 1% and",
        ] {
            let error = wrong.parse::<Condition>().unwrap_err().to_string();
            assert!(error.contains("different < 0.1%"), "{error}");
        }
    }
}
