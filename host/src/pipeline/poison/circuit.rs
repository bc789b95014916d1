//! When a transform is given up.

use std::sync::Arc;

use crate::pipeline::swap::Probation;
use crate::transform::CallError;

/// Rows, or windows, that went well and make up for one that did not.
const FORGIVEN_BY: u64 = 1024;

/// Counts rows, or windows, on which a transform fails against those on which it does not. It depends on their order
/// alone, never on calls.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Circuit {
    /// The function that fails on them.
    call: &'static str,
    /// What they are.
    what: &'static str,
    most: u64,
    failures: u64,
    /// Rows that went well, since the last that were counted off.
    passed: u64,
    /// Where the transform took another's place, which it gives back when it fails too often.
    probation: Option<Arc<Probation>>,
}

impl Circuit {
    /// Of rows that `call` works on.
    pub(in crate::pipeline) fn of_rows(call: &'static str, most: u64) -> Self {
        Self::new(call, "rows", most)
    }

    /// Of windows.
    pub(super) fn of_windows(most: u64) -> Self {
        Self::new("finish", "windows", most)
    }

    fn new(call: &'static str, what: &'static str, most: u64) -> Self {
        Self {
            call,
            what,
            most,
            failures: 0,
            passed: 0,
            probation: None,
        }
    }

    pub(super) fn on_probation(self, probation: Option<Arc<Probation>>) -> Self {
        Self { probation, ..self }
    }

    /// A call failed. Whether its rows are to be looked at, one by one.
    ///
    /// # Errors
    ///
    /// It is on probation, and no row may fail.
    pub(in crate::pipeline) fn look(&self, error: &CallError) -> Result<(), CallError> {
        match &self.probation {
            Some(probation) if probation.forgives_nothing() => self.failed_on_probation(error),
            _ => Ok(()),
        }
    }

    fn failed_on_probation(&self, error: &CallError) -> Result<(), CallError> {
        match &self.probation {
            Some(probation) if probation.fails() => Err(error.clone()),
            _ => Ok(()),
        }
    }

    pub(in crate::pipeline) fn passed(&mut self, count: usize) {
        self.passed += count as u64;
        let forgiven = self.passed / FORGIVEN_BY;
        self.passed %= FORGIVEN_BY;
        self.failures = self.failures.saturating_sub(forgiven);
    }

    /// Counts one on which it failed, or a call that failed for none of its own.
    ///
    /// # Errors
    ///
    /// It is given up.
    pub(in crate::pipeline) fn failed(&mut self, last: &CallError) -> Result<(), CallError> {
        self.failed_on_probation(last)?;
        self.failures += 1;
        if self.failures <= self.most {
            return Ok(());
        }
        Err(CallError::Limit {
            call: self.call,
            name: "failures",
            limit: format!("{} {}", self.most, self.what),
            current: format!("{} {}", self.failures - 1, self.what),
            requested: format!("one (the last: {last})"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_probation_it_is_given_up_sooner() {
        let error = CallError::Waits { call: "accumulate" };
        let circuit = |most| {
            let probation = Arc::new(Probation::new(10, most));
            let circuit =
                Circuit::of_rows("accumulate", 5).on_probation(Some(Arc::clone(&probation)));
            (circuit, probation)
        };
        let (strict, probation) = circuit(0);
        assert!(strict.look(&error).is_err());
        probation.pass(10);
        assert!(strict.look(&error).is_ok());
        let (mut lenient, _) = circuit(1);
        assert!(lenient.look(&error).is_ok());
        assert!(lenient.failed(&error).is_ok() && lenient.failed(&error).is_err());
    }

    #[test]
    fn good_rows_make_up_for_bad_ones_wherever_calls_are_cut() {
        let error = CallError::Waits { call: "accumulate" };
        let run = |cuts: &[usize]| {
            let mut circuit = Circuit::of_rows("accumulate", 2);
            circuit.failed(&error).unwrap();
            circuit.failed(&error).unwrap();
            cuts.iter().for_each(|rows| circuit.passed(*rows));
            circuit.failed(&error).is_ok()
        };
        assert!(!run(&[1023]) && !run(&[1000, 23]));
        assert!(run(&[1024]) && run(&[1000, 24]) && run(&[1; 1024]));
    }
}
