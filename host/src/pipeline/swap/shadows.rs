//! Versions that are tried beside the one at work, on live events, as a pipeline's ledger has them. One at a time is: it
//! ends by itself when its time is over, when it fails, or when another generation is wanted.

use serde::{Deserialize, Serialize};

use super::{Asked, Fate, Generation, Ledger, LedgerError};
use crate::pipeline::shadow::{ConditionError, Gate};

/// Trials that are remembered.
const REMEMBERED: usize = 100;

/// A version that is, or was, tried beside a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// Its number, from 1 on. Trials have numbers of their own.
    pub number: u64,
    /// The generation beside which it is tried.
    pub beside: u64,
    /// What it is, for people.
    pub component: String,
    /// The component's digest.
    pub digest: String,
    /// When it was asked for, in microseconds since 1970-01-01T00:00:00Z.
    pub asked: i64,
    /// Whether it begins without the state that there is.
    pub fresh: bool,
    /// For how long it is tried, in microseconds.
    pub lasts: i64,
    /// The condition under which it then takes the other's place; none if nobody is to judge but people.
    pub promote_if: Option<String>,
    /// Values of every feature that must have been compared for that.
    pub at_least: u64,
    /// What became of it.
    pub fate: ShadowFate,
}

/// What became of a version that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShadowFate {
    /// It is being tried.
    Watched,
    /// Its time is over, and nobody but people was to judge.
    Over,
    /// It became this generation.
    Promoted(u64),
    /// It did not take the other's place, for this reason.
    Dropped(String),
    /// It could not be tried to the end, for this reason.
    Failed(String),
}

/// How a version is to be tried.
#[derive(Debug, Clone, PartialEq)]
pub struct ToTry {
    /// For how long, in microseconds.
    pub lasts: i64,
    /// What must hold then; none if nobody is to judge but people.
    pub gate: Option<Gate>,
}

impl Shadow {
    /// The condition, if there is one.
    ///
    /// # Errors
    ///
    /// The ledger's text is none.
    pub fn gate(&self) -> Result<Option<Gate>, String> {
        let Some(condition) = &self.promote_if else {
            return Ok(None);
        };
        let condition = condition.parse();
        Ok(Some(Gate {
            condition: condition.map_err(|error: ConditionError| error.to_string())?,
            at_least: self.at_least,
        }))
    }

    /// When its time is over, in microseconds since 1970-01-01T00:00:00Z.
    pub fn ends(&self) -> i64 {
        self.asked.saturating_add(self.lasts)
    }

    /// The same as a generation, to be put together as one.
    pub(in crate::pipeline) fn as_generation(&self) -> Generation {
        Generation {
            number: self.number,
            component: self.component.clone(),
            digest: self.digest.clone(),
            from: None,
            asked: self.asked,
            fresh: self.fresh,
            begun: false,
            fate: Fate::Wanted,
            notes: Vec::new(),
        }
    }
}

impl Ledger {
    /// A version is to be tried beside the wanted generation, in place of one that is. Gives the number of the trial.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Same`], [`LedgerError::Rewritten`].
    pub fn try_beside(&mut self, asked: Asked, how: &ToTry) -> Result<u64, LedgerError> {
        self.check_name(&asked)?;
        let wanted = self.wanted();
        let (beside, digest) = (wanted.number, wanted.digest.clone());
        if digest == asked.digest && !asked.fresh {
            return Err(LedgerError::Same {
                number: beside,
                digest,
            });
        }
        let number = self.shadows.last().map_or(1, |last| last.number + 1);
        self.end_watched(|_| ShadowFate::Dropped(format!("trial {number} took its place")));
        self.shadows.push(Shadow {
            number,
            beside,
            component: asked.component,
            digest: asked.digest,
            asked: asked.at,
            fresh: asked.fresh,
            lasts: how.lasts,
            promote_if: how.gate.as_ref().map(|gate| gate.condition.to_string()),
            at_least: how.gate.as_ref().map_or(0, |gate| gate.at_least),
            fate: ShadowFate::Watched,
        });
        let over = self.shadows.len().saturating_sub(REMEMBERED);
        self.shadows.drain(..over);
        Ok(number)
    }

    /// The version that is being tried, if one is.
    pub fn watched(&self) -> Option<&Shadow> {
        self.shadows
            .last()
            .filter(|shadow| shadow.fate == ShadowFate::Watched)
    }

    /// All trials that are remembered, by rising numbers.
    pub fn shadows(&self) -> &[Shadow] {
        &self.shadows
    }

    /// A trial ends so, if it has not ended before. Gives whether that is news.
    pub fn end_shadow(&mut self, number: u64, fate: ShadowFate) -> bool {
        let is_it = self.watched().is_some_and(|it| it.number == number);
        if is_it {
            self.end_watched(|_| fate);
        }
        is_it
    }

    /// The version that is tried takes the place of the one at work, if it is still tried. Gives whether it does.
    ///
    /// # Errors
    ///
    /// As [`Ledger::ask`].
    pub fn promote(&mut self, number: u64, at: i64) -> Result<bool, LedgerError> {
        let Some(shadow) = self.watched().filter(|it| it.number == number) else {
            return Ok(false);
        };
        let asked = Asked {
            component: shadow.component.clone(),
            digest: shadow.digest.clone(),
            at,
            fresh: shadow.fresh,
        };
        // To ask for it ends the trial.
        self.ask(asked).map(|_| true)
    }

    /// Whatever is tried ends, as `fate` says of it.
    pub(super) fn end_watched(&mut self, fate: impl FnOnce(&Shadow) -> ShadowFate) {
        if let Some(last) = self.shadows.last_mut()
            && last.fate == ShadowFate::Watched
        {
            last.fate = fate(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(digest: &str) -> Asked {
        Asked {
            component: digest.to_owned(),
            digest: digest.to_owned(),
            at: 1,
            fresh: false,
        }
    }

    const LONG: ToTry = ToTry {
        lasts: 10,
        gate: None,
    };

    #[test]
    fn one_version_is_tried_at_a_time_until_another_is_wanted() {
        let mut ledger = Ledger::begin(asked("a"));
        assert!(ledger.try_beside(asked("a"), &LONG).is_err());
        assert_eq!(ledger.try_beside(asked("b"), &LONG), Ok(1));
        assert_eq!(ledger.try_beside(asked("c"), &LONG), Ok(2));
        assert_eq!(
            ledger.watched().map(|it| (it.beside, it.ends())),
            Some((1, 11))
        );
        assert!(!ledger.end_shadow(1, ShadowFate::Over));
        let read = Ledger::decode(&ledger.encode()).unwrap();
        assert_eq!(read.as_ref(), Some(&ledger));
        // By hand, while it is tried.
        assert_eq!(ledger.ask(asked("c")), Ok(2));
        assert_eq!(ledger.watched(), None);
        let fates = |ledger: &Ledger| -> Vec<ShadowFate> {
            let shadows = ledger.shadows().iter();
            shadows.map(|shadow| shadow.fate.clone()).collect()
        };
        let dropped = |reason: &str| ShadowFate::Dropped(reason.to_owned());
        assert_eq!(
            fates(&ledger),
            [dropped("trial 2 took its place"), ShadowFate::Promoted(2)]
        );
        ledger.try_beside(asked("d"), &LONG).unwrap();
        ledger
            .take_back(2, Fate::Revoked("wrong".to_owned()))
            .unwrap();
        let reason = "generation 2, beside which it was tried, was taken back";
        assert_eq!(fates(&ledger)[2], dropped(reason));
        ledger.try_beside(asked("d"), &LONG).unwrap();
        ledger.ask(asked("e")).unwrap();
        let reason = "generation 3 is wanted in place of the one beside which it was tried";
        assert_eq!(fates(&ledger)[3], dropped(reason));
    }

    #[test]
    fn what_is_promoted_is_wanted_once() {
        let mut ledger = Ledger::begin(asked("a"));
        ledger.try_beside(asked("b"), &LONG).unwrap();
        assert_eq!(ledger.promote(1, 5), Ok(true));
        assert_eq!((ledger.wanted().number, ledger.wanted().asked), (2, 5));
        assert_eq!(ledger.promote(1, 6), Ok(false));
        assert_eq!(ledger.shadows()[0].fate, ShadowFate::Promoted(2));
        assert!(!ledger.end_shadow(1, ShadowFate::Over));
    }
}
