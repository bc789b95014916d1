//! Several cases at once, as many as there are processors.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{Case, CaseReport, Options, run_case};
use crate::config::Pipeline;
use crate::pipeline::Host;

/// What came of all cases, in their order.
#[derive(Debug, Default)]
pub struct Results {
    /// A report each.
    pub cases: Vec<CaseReport>,
}

impl Results {
    /// How many passed.
    pub fn passed(&self) -> usize {
        self.cases.iter().filter(|case| case.passed()).count()
    }

    /// Those that could not be tested, or were found wrong.
    pub fn failed(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(|case| !case.passed())
    }

    /// Whether something was found wrong, or went wrong by no fault of the input.
    pub fn is_difference(&self) -> bool {
        let checks = self.cases.iter().flat_map(|case| &case.checks);
        let errors = self.cases.iter().filter_map(|case| case.error.as_ref());
        checks.into_iter().any(|check| !check.passed)
            || errors.into_iter().any(super::TestError::is_of_the_system)
    }

    /// Whether somebody stopped it.
    pub fn is_stopped(&self) -> bool {
        let mut errors = self.cases.iter().filter_map(|case| case.error.as_ref());
        errors.any(super::TestError::is_stop)
    }
}

/// Tests all cases. `done` hears of each as soon as it is through, in any order, and of one at a
/// time. When `stop` is set, cases that have not begun are left out.
pub fn run_all(
    host: &Host,
    pipeline: &Pipeline,
    cases: &[Case],
    options: Options,
    stop: &Arc<AtomicBool>,
    done: impl FnMut(&CaseReport) + Send,
) -> Results {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let shared = Mutex::new((Vec::with_capacity(cases.len()), done));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(number) else { break };
            let report = run_case(host, pipeline, case, options, stop);
            let mut shared = shared.lock().expect("who prints does not panic");
            (shared.1)(&report);
            shared.0.push((number, report));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(cases.len()) {
            scope.spawn(work);
        }
        work();
    });
    let (mut reports, _) = shared.into_inner().expect("who prints does not panic");
    reports.sort_by_key(|(number, _)| *number);
    Results {
        cases: reports.into_iter().map(|(_, report)| report).collect(),
    }
}
