//! The kinds of windows, and the one that a lane has.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use super::aligned::Aligned;
use super::calls::Calls;
use super::emission::{Emit, Emitter};
use super::panes::Panes;
use super::rows::{Outcome, RowBatch};
use super::session::Sessions;
use super::state::{Changes, Progress, Records, Schedule};
use super::states::{NONE, States};
use super::unbounded::Unbounded;
use super::{WindowError, emitted_schema};
use crate::transform::WindowedSpec;

/// What windows a pipeline has, and when they are emitted. Durations are in microseconds.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Their kind.
    pub kind: Kind,
    /// How long after its end a window is still corrected by rows that come late; not negative.
    pub lateness: i64,
    /// Whether running values are emitted after each batch.
    pub per_batch: bool,
}

/// A kind of windows.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Windows that are the same for all keys: tumbling and hopping.
    Aligned {
        /// The panes that they are made of.
        panes: Panes,
        /// Their lengths, the shortest first; at least one.
        lengths: Vec<Length>,
    },
    /// Windows that last as long as events follow each other closely.
    Session {
        /// An event this long after the last one, or longer, opens a new session.
        gap: i64,
        /// How often open sessions that changed are emitted, in event time.
        every: Option<i64>,
    },
    /// One window for each key, that never closes.
    Unbounded {
        /// How long after its last event a key's state is forgotten.
        ttl: i64,
        /// The instants at which changed values are emitted, as boundaries of panes.
        every: Option<Panes>,
    },
}

/// The windows of one length, in panes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// How many panes a window has at most; above zero.
    pub panes: i64,
    /// How many panes lie between one emission and the next; above zero, and at most `panes`.
    pub step: i64,
    /// Whether windows follow each other without overlapping, and each is emitted at every step
    /// as far as it has come. Otherwise each is emitted once, and the next begins a step later.
    pub growing: bool,
}

impl Length {
    /// Where the window starts that is emitted at a boundary, if one is.
    pub(super) fn emitted_at(self, boundary: i64) -> Option<i64> {
        if self.growing {
            let start = (boundary - 1).div_euclid(self.panes) * self.panes;
            return (boundary.rem_euclid(self.step) == 0).then_some(start);
        }
        let start = boundary - self.panes;
        (start.rem_euclid(self.step) == 0).then_some(start)
    }

    /// The same windows, of which those that grow are emitted when they are whole only.
    pub(super) fn whole(self) -> Self {
        match self.growing {
            true => Self {
                step: self.panes,
                ..self
            },
            false => self,
        }
    }

    /// The first boundary after `boundary` at which a window is emitted. With the number of a pane
    /// it is the first emission that has the pane in it.
    pub(super) fn next_emission(self, boundary: i64) -> i64 {
        let phase = if self.growing { 0 } else { self.panes };
        let next = boundary + 1;
        next + (phase - next).rem_euclid(self.step)
    }

    /// The boundaries up to `upto` at which windows are emitted that have a pane in it, from the
    /// first after `after` on, which is not before the pane.
    pub(super) fn emissions(self, pane: i64, after: i64, upto: i64) -> Emissions {
        Emissions {
            next: self.next_emission(after.max(pane)),
            last: upto.min(self.last_end(pane)),
            step: self.step,
        }
    }

    /// The boundary at which the first window closes that has a pane in it.
    pub(super) fn first_end(self, pane: i64) -> i64 {
        match self.growing {
            true => self.last_end(pane),
            false => self.next_emission(pane),
        }
    }

    /// The boundary at which the last window ends that has a pane in it.
    pub(super) fn last_end(self, pane: i64) -> i64 {
        if self.growing {
            return (pane.div_euclid(self.panes) + 1) * self.panes;
        }
        pane.div_euclid(self.step) * self.step + self.panes
    }
}

/// Boundaries at which windows are emitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Emissions {
    next: i64,
    last: i64,
    step: i64,
}

impl Emissions {
    /// How many there are, at the same cost however many.
    pub(super) fn count(self) -> usize {
        match self.last.checked_sub(self.next) {
            Some(from_first @ 0..) => (from_first / self.step) as usize + 1,
            _ => 0,
        }
    }
}

impl Iterator for Emissions {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        let boundary = (self.next <= self.last).then_some(self.next)?;
        self.next += self.step;
        Some(boundary)
    }
}

impl Shape {
    /// Whether a window may be emitted more than once, so that rows say which time it is.
    pub fn revises(&self) -> bool {
        let early = matches!(self.kind, Kind::Session { every: Some(_), .. });
        self.lateness > 0 || self.per_batch || early
    }

    /// Whether the watermark at each row matters, even if no row is behind it.
    pub fn needs_watermarks(&self) -> bool {
        match &self.kind {
            Kind::Aligned { .. } => false,
            Kind::Session { every, .. } => every.is_some(),
            Kind::Unbounded { .. } => true,
        }
    }

    /// Whether a transform's states are ever merged.
    pub fn merges(&self) -> bool {
        match &self.kind {
            Kind::Aligned { lengths, .. } => lengths.iter().any(|length| length.panes > 1),
            Kind::Session { .. } => true,
            Kind::Unbounded { every, .. } => every.is_some(),
        }
    }

    /// Whether such windows can be made of partial states, which are merged in no certain order.
    pub fn takes_partials(&self) -> bool {
        matches!(self.kind, Kind::Aligned { .. }) && !self.per_batch
    }

    /// The schema of what is emitted.
    pub fn emitted_schema(&self, key: &SchemaRef, spec: &WindowedSpec) -> SchemaRef {
        emitted_schema(key, self.revises(), &spec.output)
    }
}

/// The windows of a lane, with all their state.
pub enum Windows {
    /// Tumbling and hopping windows.
    Aligned(Box<Aligned>),
    /// Sessions.
    Sessions(Box<Sessions>),
    /// Unbounded windows.
    Unbounded(Box<Unbounded>),
}

impl Windows {
    /// No windows yet.
    ///
    /// # Errors
    ///
    /// A key column has a type that cannot be compared.
    pub fn new(shape: &Shape, key: &SchemaRef, spec: &WindowedSpec) -> Result<Self, WindowError> {
        let states = States::new(key, &spec.initial)?;
        let emitter = Emitter::new(shape.emitted_schema(key, spec), spec.output.fields().len());
        Ok(match &shape.kind {
            Kind::Aligned { panes, lengths } => {
                let aligned = Aligned::new(panes, lengths, shape, states, emitter);
                Self::Aligned(Box::new(aligned))
            }
            Kind::Session { gap, every } => {
                let sessions = Sessions::new(*gap, *every, shape, states, emitter);
                Self::Sessions(Box::new(sessions))
            }
            Kind::Unbounded { ttl, every } => {
                let unbounded = Unbounded::new(*ttl, every.clone(), states, emitter);
                Self::Unbounded(Box::new(unbounded))
            }
        })
    }

    /// Takes a batch of rows, and emits what its watermarks close.
    ///
    /// # Errors
    ///
    /// See [`WindowError`]; the windows are not to be used after that.
    pub async fn batch(
        &mut self,
        batch: &RowBatch,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<Outcome, WindowError> {
        match self {
            Self::Aligned(aligned) => aligned.batch(batch, calls, out).await,
            Self::Sessions(sessions) => sessions.batch(batch, calls, out).await,
            Self::Unbounded(unbounded) => unbounded.batch(batch, calls, out).await,
        }
    }

    /// The input is over: emits all that is open. Says how many windows closed.
    ///
    /// # Errors
    ///
    /// As [`Windows::batch`].
    pub async fn end(&mut self, calls: &mut Calls, out: &mut dyn Emit) -> Result<u64, WindowError> {
        match self {
            Self::Aligned(aligned) => aligned.end(calls, out).await,
            Self::Sessions(sessions) => sessions.end(calls, out).await,
            Self::Unbounded(unbounded) => unbounded.end(calls, out).await,
        }
    }

    /// From now on changes are noted, for [`Windows::changes`] to take.
    pub fn keep(&mut self) {
        match self {
            Self::Aligned(aligned) => aligned.keep(),
            Self::Sessions(sessions) => sessions.keep(),
            Self::Unbounded(unbounded) => unbounded.keep(),
        }
    }

    /// Goes on where windows stopped that had come so far. Nothing may have come to these yet.
    pub fn resume(&mut self, progress: Progress) {
        match self {
            Self::Aligned(aligned) => aligned.resume(progress),
            Self::Sessions(sessions) => sessions.resume(progress),
            Self::Unbounded(unbounded) => unbounded.resume(progress),
        }
    }

    /// What changed since this was asked. Between two batches only.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub fn changes(&mut self) -> Result<Changes, WindowError> {
        match self {
            Self::Aligned(aligned) => aligned.changes(),
            Self::Sessions(sessions) => sessions.changes(),
            Self::Unbounded(unbounded) => unbounded.changes(),
        }
    }

    /// Takes in what is kept of some keys: all records of each, of which none are here. They are
    /// as these windows' progress left them.
    ///
    /// # Errors
    ///
    /// [`WindowError::State`] if the records are not of such windows, others as for
    /// [`Windows::batch`].
    pub async fn load(&mut self, records: &Records, calls: &mut Calls) -> Result<(), WindowError> {
        match self {
            Self::Aligned(aligned) => aligned.load(records, calls).await,
            Self::Sessions(sessions) => sessions.load(records),
            Self::Unbounded(unbounded) => unbounded.load(records),
        }
    }

    /// How far they have come.
    pub fn progress(&self) -> Progress {
        match self {
            Self::Aligned(aligned) => aligned.progress(),
            Self::Sessions(sessions) => sessions.progress(),
            Self::Unbounded(unbounded) => unbounded.progress(),
        }
    }

    /// About what they take in memory, in bytes: states, dead rows among them, keys, and what is
    /// known of both.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Aligned(aligned) => aligned.bytes(),
            Self::Sessions(sessions) => sessions.bytes(),
            Self::Unbounded(unbounded) => unbounded.bytes(),
        }
    }

    /// How many records differ from those that are kept, about.
    pub fn changed(&self) -> usize {
        self.states_ref().changes()
    }

    /// How many keys are here.
    pub fn keys(&self) -> usize {
        self.states_ref().keys.len()
    }

    /// From now on it is noted which keys are in use, for [`Windows::put_away_least_recent`], and
    /// states lie in pieces of about so many bytes.
    pub fn limit(&mut self, piece_bytes: usize) {
        self.states_mut().limit(piece_bytes);
    }

    /// Which of some keys are here: for each row of the key's columns.
    ///
    /// # Errors
    ///
    /// A key cannot be encoded.
    pub fn are_here(&mut self, keys: &[ArrayRef]) -> Result<Vec<bool>, WindowError> {
        let numbers = self.states_mut().keys.find(keys)?;
        Ok(numbers.into_iter().map(|number| number != NONE).collect())
    }

    /// When something of some keys that are here is due next, after their changes were taken. To
    /// be asked of keys whose instants have passed.
    ///
    /// # Errors
    ///
    /// A key cannot be encoded.
    pub fn reschedule(&mut self, keys: &[ArrayRef]) -> Result<Schedule, WindowError> {
        let numbers = self.states_mut().keys.find(keys)?;
        let dues = self.dues_of(numbers);
        Ok(self.states_mut().reschedule(dues, false)?)
    }

    /// The same for all keys that are here and whose instants have passed.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub fn reschedule_passed(&mut self) -> Result<Schedule, WindowError> {
        let watermark = self.progress().watermark;
        let numbers = self.states_mut().keys.due_up_to(watermark);
        if numbers.is_empty() {
            return Ok(Schedule::default());
        }
        let dues = self.dues_of(numbers);
        let schedule = self.states_mut().reschedule(dues, false)?;
        // A key of which nothing else was here is forgotten.
        self.states_mut().keys.sweep();
        Ok(schedule)
    }

    /// Lets go of some keys, after their changes were taken. They are here again when their records
    /// are loaded, before which no row of them may come.
    ///
    /// # Errors
    ///
    /// A key cannot be encoded.
    pub fn put_away(&mut self, keys: &[ArrayRef]) -> Result<Schedule, WindowError> {
        let numbers = self.states_mut().keys.find(keys)?;
        Ok(self.let_go(numbers)?.0)
    }

    /// Lets go of so many keys, those that were not in use for longest, as [`Windows::put_away`]
    /// does. Says also when the first of them is due; `i64::MAX` if none ever is.
    ///
    /// # Errors
    ///
    /// Arrow cannot hold the columns.
    pub fn put_away_least_recent(&mut self, count: usize) -> Result<(Schedule, i64), WindowError> {
        let numbers = self.states_mut().keys.least_recent(count);
        let gone = self.let_go(numbers)?;
        self.states_mut().tidy()?;
        Ok(gone)
    }

    fn let_go(&mut self, numbers: Vec<u32>) -> Result<(Schedule, i64), WindowError> {
        let dues = self.dues_of(numbers);
        let first = dues.iter().filter_map(|(_, due)| *due).min();
        let mut away = vec![false; self.states_mut().keys.bound()];
        dues.iter().for_each(|(key, _)| away[*key as usize] = true);
        let schedule = self.states_mut().reschedule(dues, true)?;
        match self {
            Self::Aligned(aligned) => aligned.put_away(&away),
            Self::Sessions(sessions) => sessions.put_away(&away),
            Self::Unbounded(unbounded) => unbounded.put_away(&away),
        }
        Ok((schedule, first.unwrap_or(i64::MAX)))
    }

    /// When something of those keys is due that are here; none if nothing ever is.
    fn dues_of(&self, mut numbers: Vec<u32>) -> Vec<(u32, Option<i64>)> {
        numbers.sort_unstable();
        numbers.dedup();
        let dues = match self {
            Self::Aligned(aligned) => aligned.dues(),
            Self::Sessions(sessions) => sessions.dues(),
            Self::Unbounded(unbounded) => unbounded.dues(),
        };
        let due = |key: u32| {
            // Of a key of which nothing but its schedule is here nothing is due.
            let due = dues.get(key as usize).copied();
            due.filter(|due| *due < i64::MAX)
        };
        let numbers = numbers.into_iter().filter(|number| *number != NONE);
        numbers.map(|key| (key, due(key))).collect()
    }

    /// Emits what is due up to a watermark, without rows; says how many windows closed.
    ///
    /// # Errors
    ///
    /// As [`Windows::batch`].
    pub async fn advance(
        &mut self,
        watermark: i64,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        let closed = match self {
            Self::Aligned(aligned) => aligned.close(watermark, calls, out).await?,
            Self::Sessions(sessions) => sessions.close(watermark, calls, out).await?,
            Self::Unbounded(unbounded) => unbounded.close(watermark, calls, out).await?,
        };
        self.states_mut().keys.sweep();
        Ok(closed)
    }

    /// Another transform works on them from now on, and what came of merges that failed is merged anew.
    ///
    /// # Errors
    ///
    /// As [`Windows::batch`].
    pub async fn mend(&mut self, calls: &mut Calls) -> Result<(), WindowError> {
        match self {
            Self::Aligned(aligned) => aligned.mend(calls).await,
            // Nothing is spoiled there between two batches.
            Self::Sessions(_) | Self::Unbounded(_) => Ok(()),
        }
    }

    fn states_ref(&self) -> &States {
        match self {
            Self::Aligned(aligned) => &aligned.states,
            Self::Sessions(sessions) => &sessions.states,
            Self::Unbounded(unbounded) => &unbounded.states,
        }
    }

    fn states_mut(&mut self) -> &mut States {
        match self {
            Self::Aligned(aligned) => &mut aligned.states,
            Self::Sessions(sessions) => &mut sessions.states,
            Self::Unbounded(unbounded) => &mut unbounded.states,
        }
    }

    /// How many states are kept.
    pub fn states(&self) -> usize {
        match self {
            Self::Aligned(aligned) => aligned.states(),
            Self::Sessions(sessions) => sessions.states(),
            Self::Unbounded(unbounded) => unbounded.states(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The arithmetic of boundaries agrees with the list of all windows.
        #[test]
        fn boundaries_agree_with_the_windows(
            step in 1..6_i64, more in 0..9_i64, growing in any::<bool>(), pane in -40..40_i64,
            after in -60..60_i64, upto in -60..60_i64,
        ) {
            let panes = if growing { step * (more % 4 + 1) } else { step + more };
            let length = Length { panes, step, growing };
            let windows: Vec<(i64, i64)> = if growing {
                (-60..60).flat_map(|k| {
                    (1..=panes / step).map(move |part| (k * panes, k * panes + part * step))
                }).collect()
            } else {
                (-100..100).map(|k| (k * step, k * step + panes)).collect()
            };
            let with = |pane: i64| {
                let windows = windows.iter().filter(move |(start, end)| *start <= pane && pane < *end);
                windows.map(|(_, end)| *end)
            };
            prop_assert_eq!(with(pane).min(), Some(length.next_emission(pane)));
            prop_assert_eq!(with(pane).max(), Some(length.last_end(pane)));
            let whole = windows.iter().filter(|(start, end)| !growing || end - start == panes);
            let whole = whole.filter(|(start, end)| *start <= pane && pane < *end);
            let whole: Vec<i64> = whole.map(|(_, end)| *end).collect();
            prop_assert_eq!(whole.iter().min(), Some(&length.first_end(pane)));
            prop_assert_eq!(whole.iter().min(), Some(&length.whole().next_emission(pane)));
            let mut between: Vec<i64> = with(pane).filter(|end| after < *end && *end <= upto).collect();
            between.sort_unstable();
            let emissions = length.emissions(pane, after, upto);
            prop_assert_eq!(emissions.count(), between.len());
            prop_assert_eq!(emissions.collect::<Vec<i64>>(), between);
            let at = windows.iter().find(|(_, end)| *end == pane);
            prop_assert_eq!(length.emitted_at(pane), at.map(|(start, _)| *start));
        }
    }
}
