//! Transforms that fail on some rows, or on some windows: which those are, and going on without them.
//!
//! In goes a call that failed; out comes what the transform gives for all rows or groups but those that are poison, and
//! these as rejects whose code begins with [`POISON`]. A call is made again in halves, on fresh
//! instances and a thread of its own, until a row or group fails alone, twice. So which rows are poison depends on
//! the rows before them, which windows on their states, and neither on where batches were cut.
//!
//! What it must never do: take what the host lacks for the transform's fault, or go on for ever. A
//! transform that fails too often is given up (`circuit`).

mod circuit;
mod groups;
mod incident;
mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};

pub(super) use self::circuit::Circuit;
use self::groups::{Finishing, Merging};
use self::incident::{Incident, Work};
use self::rows::Folding;
use super::opener::Opener;
use super::swap::Probation;
use crate::config::Limits;
use crate::transform::{
    CallError, Figures, Finished, Groups, Merged, POISON, Reject, Rows, Updated, Windowed,
};

/// Bytes of what is said of a row; the rest is cut.
const DETAIL_BYTES: usize = 4 << 10;

/// How much a transform may fail.
#[derive(Debug, Clone)]
pub(super) struct Recovery {
    /// Rows, and likewise windows, on which a lane's transform may fail before it is given up. With none, the first failed
    /// call is an error.
    pub(super) failures: u64,
    /// CPU time of finding out what of a call fails.
    pub(super) cpu: Duration,
    /// One thread of a pipeline looks for poison at a time.
    quarantine: Arc<Semaphore>,
    /// Of the generation, where it took another's place.
    probation: Option<Arc<Probation>>,
}

impl Recovery {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            failures: limits.failures.into(),
            cpu: Duration::from_micros(limits.recovery_cpu.unsigned_abs()),
            quarantine: Arc::new(Semaphore::new(1)),
            probation: None,
        }
    }

    /// The same of a transform that is on probation, if it is.
    pub(super) fn on_probation(self, probation: Option<Arc<Probation>>) -> Self {
        Self { probation, ..self }
    }

    /// A lane's account of rows on which a function fails, none yet.
    pub(super) fn circuit(&self, call: &'static str) -> Circuit {
        Circuit::of_rows(call, self.failures).on_probation(self.probation.clone())
    }

    /// A lane's account of windows, none yet.
    fn circuit_of_windows(&self) -> Circuit {
        Circuit::of_windows(self.failures).on_probation(self.probation.clone())
    }

    /// That finding it out takes too long.
    pub(super) fn takes_too_long(&self, call: &'static str, last: &CallError) -> CallError {
        CallError::Limit {
            call,
            name: "recovery_cpu",
            limit: format!("{:?}", self.cpu),
            current: "all of it".into(),
            requested: format!("time (the last: {last})"),
        }
    }

    /// Whether it is found out what of a call fails that failed so.
    pub(super) fn is_for(&self, error: &CallError) -> bool {
        self.failures > 0 && is_its_own(error)
    }
}

/// CPU time of this thread.
pub(super) fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Whether it may be for what a call was handed that it failed so.
fn is_its_own(error: &CallError) -> bool {
    match error {
        CallError::Limit { .. }
        | CallError::Trap { .. }
        | CallError::Waits { .. }
        | CallError::Failure { .. }
        | CallError::Hostile { .. } => true,
        CallError::Exhausted { .. }
        | CallError::NoMemory { .. }
        | CallError::NotExported { .. } => false,
    }
}

/// A row or group that failed alone, as one that was refused. What is said of it is the same wherever batches were cut.
pub(super) fn poison(row: u32, error: &CallError, transform: &str) -> Reject {
    let (what, detail) = match error {
        CallError::Limit {
            call, name, limit, ..
        } => (
            *name,
            format!("{call}: the transform ran into its limit `{name}` of {limit}"),
        ),
        CallError::Trap { .. } => ("trap", error.to_string()),
        CallError::Waits { .. } => ("wall_without_progress", error.to_string()),
        CallError::Failure { .. } => ("failure", error.to_string()),
        _ => ("contract", error.to_string()),
    };
    let mut detail = format!("transform {transform}: {detail}");
    detail.truncate(detail.floor_char_boundary(DETAIL_BYTES));
    Reject {
        row,
        code: format!("{POISON}{what}"),
        detail,
    }
}

/// Opens a fresh instance.
type Open = Arc<dyn Fn() -> BoxFuture<'static, Result<Box<dyn Windowed>, CallError>> + Send + Sync>;

/// A transform that goes on where it fails on some rows or windows.
pub(super) struct Recovering {
    /// None while, or after, an incident went wrong.
    transform: Option<Box<dyn Windowed>>,
    open: Open,
    /// The digest of its component.
    digest: Arc<str>,
    recovery: Recovery,
    rows: Circuit,
    windows: Circuit,
    /// CPU time that is left for finding out what of calls fails that nothing is held against it for; none where
    /// everything is.
    forgiven: Option<Duration>,
    /// What instances have told that are gone.
    figures: Figures,
    /// How many names of metrics there may be.
    metric_names: usize,
    failed_calls: u64,
}

impl Recovering {
    /// Around an instance that `opener` opened.
    pub(super) fn new(transform: Box<dyn Windowed>, opener: &Opener, label: &str) -> Self {
        let (again, label): (Opener, Arc<str>) = (opener.clone(), label.into());
        let open: Open = Arc::new(move || {
            let (opener, label) = (again.clone(), Arc::clone(&label));
            Box::pin(async move {
                let instance = opener.open(&label).await?;
                Ok(Box::new(instance) as Box<dyn Windowed>)
            })
        });
        let recovery = opener.recovery().clone();
        Self {
            metric_names: opener.metric_names(),
            ..Self::around(transform, open, opener.digest(), recovery)
        }
    }

    fn around(transform: Box<dyn Windowed>, open: Open, digest: &str, recovery: Recovery) -> Self {
        Self {
            transform: Some(transform),
            open,
            digest: digest.into(),
            rows: recovery.circuit("accumulate"),
            windows: recovery.circuit_of_windows(),
            forgiven: None,
            recovery,
            figures: Figures::default(),
            metric_names: usize::MAX,
            failed_calls: 0,
        }
    }

    /// Whether it is found out which windows a call fails on that failed so.
    ///
    /// # Errors
    ///
    /// It is on probation, and no window may fail.
    fn looks(&self, error: &CallError) -> Result<bool, CallError> {
        if self.forgiven.is_some() {
            return Ok(is_its_own(error));
        }
        match self.recovery.is_for(error) {
            true => self.windows.look(error).map(|()| true),
            false => Ok(false),
        }
    }

    fn transform(&mut self, call: &'static str) -> Result<&mut dyn Windowed, CallError> {
        match &mut self.transform {
            Some(transform) => Ok(transform.as_mut()),
            None => Err(CallError::Trap {
                call,
                reason: "it was given up before".into(),
            }),
        }
    }

    /// Finds out what of a call is poison, on a thread of its own, and does the rest.
    async fn recover<W: Work + 'static>(
        &mut self,
        work: W,
        error: CallError,
        circuit: fn(&mut Self) -> &mut Circuit,
    ) -> Result<W::Output, CallError> {
        self.failed_calls += 1;
        // The instance is spent; what it told in calls that went well counts.
        if let Some(spent) = self.transform.take() {
            self.figures.take_in(&spent.figures(), self.metric_names);
        }
        let permit = Arc::clone(&self.recovery.quarantine).acquire_owned().await;
        let permit = permit.expect("nobody closes it");
        let incident = match self.forgiven {
            None => Incident::new(
                Arc::clone(&self.open),
                Arc::clone(&self.digest),
                circuit(self).clone(),
                self.recovery.clone(),
            ),
            Some(left) => Incident::forgiven(
                Arc::clone(&self.open),
                Arc::clone(&self.digest),
                Recovery {
                    cpu: left,
                    ..self.recovery.clone()
                },
            ),
        };
        let (done, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("quarantine".into());
        let started = thread.spawn(move || {
            let ended = incident.run(work, &error, || done.is_closed());
            // A lane that has gone in the meantime wants to know nothing.
            let _ = done.send(ended);
            drop(permit);
        });
        let broken = |what: String| CallError::Trap {
            call: W::CALL,
            reason: format!("what it fails on cannot be found out: {what}"),
        };
        started.map_err(|error| broken(error.to_string()))?;
        let ended = ended.await;
        let ended = ended.map_err(|_| broken("a fault of Penstock; please report it".into()))?;
        match &mut self.forgiven {
            None => *circuit(self) = ended.circuit,
            Some(left) => *left = left.saturating_sub(ended.took),
        }
        self.figures.take_in(&ended.figures, self.metric_names);
        self.failed_calls += ended.failed_calls;
        self.transform = ended.transform;
        ended.output
    }
}

/// Says that the transform fails on some of what it was handed.
fn warn(call: &str, refused: &[Reject]) {
    let poisoned = refused.iter().filter(|reject| reject.is_poison());
    if let Some(first) = poisoned.clone().next() {
        tracing::warn!(
            call,
            count = poisoned.count(),
            first = first.detail,
            "the transform fails on rows or windows; they are in the rejects or the invalid values, and the others count"
        );
    }
}

impl Windowed for Recovering {
    fn figures(&self) -> Figures {
        let mut figures = self.figures.clone();
        if let Some(transform) = &self.transform {
            figures.take_in(&transform.figures(), self.metric_names);
        }
        figures
    }

    fn failed_calls(&self) -> u64 {
        self.failed_calls
    }

    fn forgive(&mut self, is_forgiven: bool) {
        self.forgiven = is_forgiven.then_some(self.recovery.cpu);
    }

    fn lose(&mut self, last: &Reject) -> Result<(), CallError> {
        if self.forgiven.is_some() {
            return Ok(());
        }
        self.windows.failed(&CallError::Trap {
            call: "merge",
            reason: last.detail.clone(),
        })
    }

    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        Box::pin(async move {
            let called = self.transform("accumulate")?.accumulate(rows, groups).await;
            match called {
                Ok(updated) => {
                    self.rows.passed(rows.group_of_row.len());
                    Ok(updated)
                }
                Err(error) if self.recovery.is_for(&error) => {
                    self.rows.look(&error)?;
                    let work = Folding::new(rows, groups);
                    let updated = self.recover(work, error, |it| &mut it.rows).await?;
                    warn("accumulate", &updated.rejects);
                    Ok(updated)
                }
                Err(error) => Err(error),
            }
        })
    }

    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Merged, CallError>> {
        Box::pin(async move {
            let transform = self.transform("merge")?;
            let schema = transform.state();
            match transform.merge(earlier, later).await {
                Err(error) if self.looks(&error)? => {
                    let work = Merging::new(earlier, later, schema);
                    let merged = self.recover(work, error, |it| &mut it.windows).await?;
                    warn("merge", &merged.failed);
                    Ok(merged)
                }
                called => called,
            }
        })
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        Box::pin(async move {
            let transform = self.transform("finish")?;
            let schema = transform.state();
            match transform.finish(groups, bounds).await {
                Ok(finished) => {
                    if self.forgiven.is_none() {
                        self.windows.passed(groups.len);
                    }
                    Ok(finished)
                }
                Err(error) if self.looks(&error)? => {
                    let work = Finishing::new(groups, bounds, schema);
                    let finished = self.recover(work, error, |it| &mut it.windows).await?;
                    warn("finish", &finished.failed);
                    Ok(finished)
                }
                Err(error) => Err(error),
            }
        })
    }
}
