//! A call that failed, made again in parts until it is known what of it fails.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use futures::executor::block_on;

use super::circuit::Circuit;
use super::{Open, Recovery, poison, thread_cpu};
use crate::transform::{CallError, Figures, Reject, Windowed};

/// What a thread that looks for poison leaves to others: nothing of it is urgent.
const NICE: i32 = 10;

/// What a call was handed, and what has come of it so far: rows, or groups.
pub(super) trait Work: Send {
    /// What a call with some of it gives.
    type Part;
    /// What the call with all of it would have given.
    type Output: Send + 'static;

    /// The function that is called.
    const CALL: &'static str;
    /// Whether what fails, and what does not, is counted against the transform here.
    const COUNTS: bool = true;

    /// How many rows or groups there are.
    fn len(&self) -> usize;

    /// Makes the call with some of them.
    fn call(
        &self,
        transform: &mut dyn Windowed,
        range: Range<usize>,
    ) -> Result<Result<Self::Part, CallError>, ArrowError>;

    /// Takes over what a call gave. Ranges come in order.
    fn add(&mut self, range: Range<usize>, part: Self::Part) -> Result<(), ArrowError>;

    /// Goes on without one that fails.
    fn leave_out(&mut self, poison: Reject) -> Result<(), ArrowError>;

    /// What was left out or refused, with the number of each.
    fn left_out(&self) -> &[Reject];

    /// What the call with all of it would have given.
    fn done(self) -> Result<Self::Output, ArrowError>;
}

/// How it ended.
pub(super) struct Ended<T> {
    pub(super) output: Result<T, CallError>,
    pub(super) circuit: Circuit,
    /// A fresh instance, or one that did nothing but well; none if it was given up.
    pub(super) transform: Option<Box<dyn Windowed>>,
    /// What instances have told that are gone.
    pub(super) figures: Figures,
    pub(super) failed_calls: u64,
    /// CPU time that it took.
    pub(super) took: Duration,
}

/// A call at which the transform failed.
pub(super) struct Incident {
    open: Open,
    digest: Arc<str>,
    circuit: Circuit,
    /// What it may take.
    recovery: Recovery,
    /// Whether nothing is held against the transform: what is not found out in time fails.
    is_forgiven: bool,
    transform: Option<Box<dyn Windowed>>,
    figures: Figures,
    failed_calls: u64,
}

impl Incident {
    pub(super) fn new(open: Open, digest: Arc<str>, circuit: Circuit, recovery: Recovery) -> Self {
        Self {
            open,
            digest,
            circuit,
            recovery,
            is_forgiven: false,
            transform: None,
            figures: Figures::default(),
            failed_calls: 0,
        }
    }

    /// One for which nothing is held against the transform.
    pub(super) fn forgiven(open: Open, digest: Arc<str>, recovery: Recovery) -> Self {
        Self {
            is_forgiven: true,
            ..Self::new(open, digest, Circuit::of_windows(u64::MAX), recovery)
        }
    }

    /// Does the work in order, in parts. Its first call, with all of it, failed with `error`.
    pub(super) fn run<W: Work>(
        mut self,
        work: W,
        error: &CallError,
        is_given_up: impl Fn() -> bool,
    ) -> Ended<W::Output> {
        // Of this thread alone, as the system counts. Where that is not allowed it is as urgent as anything.
        let thread = rustix::thread::gettid();
        let _ = rustix::process::setpriority_process(Some(thread), NICE);
        let began = thread_cpu();
        let output = self.work(work, error, is_given_up);
        Ended {
            took: thread_cpu().saturating_sub(began),
            transform: output.is_ok().then_some(self.transform).flatten(),
            output,
            circuit: self.circuit,
            figures: self.figures,
            failed_calls: self.failed_calls,
        }
    }

    fn work<W: Work>(
        &mut self,
        mut work: W,
        error: &CallError,
        is_given_up: impl Fn() -> bool,
    ) -> Result<W::Output, CallError> {
        let broken = |error: ArrowError| CallError::Trap {
            call: W::CALL,
            reason: format!("columns cannot be put together: {error}"),
        };
        let began = thread_cpu();
        let mut todo: Vec<_> = std::iter::once(0..work.len()).collect();
        // A call that took too long is made once more as it was: the machine may have been at fault.
        let is_timeout = matches!(error, CallError::Limit { name, .. } if *name == "cpu_per_call");
        if !is_timeout {
            split(&mut todo);
        }
        let mut last = error.clone();
        while let Some(range) = todo.last().cloned() {
            if is_given_up() {
                return Err(last);
            }
            if thread_cpu().saturating_sub(began) >= self.recovery.cpu {
                let late = self.recovery.takes_too_long(W::CALL, &last);
                if !self.is_forgiven {
                    return Err(late);
                }
                for row in range {
                    let poison = poison(row as u32, &late, &self.digest);
                    work.leave_out(poison).map_err(broken)?;
                }
                todo.pop();
                continue;
            }
            match self.call(&work, range.clone())?.map_err(broken)? {
                Ok(part) => {
                    if W::COUNTS {
                        self.circuit.passed(range.len());
                    }
                    work.add(range, part).map_err(broken)?;
                    todo.pop();
                }
                Err(error) if range.len() == 1 => {
                    match self.call(&work, range.clone())?.map_err(broken)? {
                        Ok(part) => work.add(range, part).map_err(broken)?,
                        Err(error) => {
                            if W::COUNTS {
                                self.circuit.failed(&error)?;
                            }
                            let poison = poison(range.start as u32, &error, &self.digest);
                            work.leave_out(poison).map_err(broken)?;
                        }
                    }
                    last = error;
                    todo.pop();
                }
                Err(error) => {
                    last = error;
                    split(&mut todo);
                }
            }
        }
        if !work.left_out().iter().any(Reject::is_poison) {
            // Nobody knows why it failed. It must not go on so for ever.
            self.circuit.failed(error)?;
        }
        if self.transform.is_none() {
            self.transform = Some(block_on((self.open)())?);
        }
        work.done().map_err(broken)
    }

    /// Makes a call with some of the work. The outer error is one that nothing in it is to blame for.
    fn call<W: Work>(
        &mut self,
        work: &W,
        range: Range<usize>,
    ) -> Result<Result<Result<W::Part, CallError>, ArrowError>, CallError> {
        let mut transform = match self.transform.take() {
            Some(transform) => transform,
            None => block_on((self.open)())?,
        };
        let called = match work.call(transform.as_mut(), range) {
            Ok(called) => called,
            Err(error) => return Ok(Err(error)),
        };
        match called {
            Ok(part) => {
                self.transform = Some(transform);
                Ok(Ok(Ok(part)))
            }
            Err(error) if error.is_pressure() => Err(error),
            Err(error) => {
                self.failed_calls += 1;
                self.figures += &transform.figures();
                Ok(Ok(Err(error)))
            }
        }
    }
}

/// Takes the last of the ranges apart, the first half to be done first.
fn split(todo: &mut Vec<Range<usize>>) {
    let Some(range) = todo.pop_if(|range| range.len() > 1) else {
        return;
    };
    let middle = range.start + range.len() / 2;
    todo.push(middle..range.end);
    todo.push(range.start..middle);
}
