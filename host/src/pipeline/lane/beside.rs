//! A lane with another version of its transform beside it: what the lane hands to that, and how that begins.
//!
//! The one beside gets each batch that the lane judges, and whoever compares the two what the lane emits for it. Nothing
//! of that ever makes the lane wait: if there is no room, the one beside is behind, and is done with.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{FromLane, Lane, LaneBatch, LaneError, Output, Place, ToLane};
use crate::pipeline::delivery::ToDelivery;
use crate::pipeline::live::Wanted;
use crate::pipeline::queue::Sender;
use crate::window::{Progress, Records};

/// A version that is tried on this host, as those who work for it see it.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Trial {
    is_over: AtomicBool,
    /// Why it could not go on.
    failure: Mutex<Option<String>>,
    /// Rows that it was handed.
    pub(in crate::pipeline) rows: AtomicU64,
    /// Lanes that have it beside them, and whose state it has.
    pub(in crate::pipeline) lanes: AtomicU64,
}

impl Trial {
    /// Ends it.
    pub(in crate::pipeline) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Ends it for a reason, unless it is over already.
    pub(in crate::pipeline) fn fail(&self, reason: impl fmt::Display) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_over.swap(true, Ordering::Relaxed) {
            *failure = Some(reason.to_string());
        }
    }

    pub(in crate::pipeline) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(in crate::pipeline) fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone()
    }
}

/// What a lane has beside it.
pub(in crate::pipeline) struct Beside {
    pub(in crate::pipeline) trial: Arc<Trial>,
    /// To the one beside.
    pub(in crate::pipeline) rows: Sender<ToLane>,
    /// To whoever compares the two.
    pub(in crate::pipeline) emitted: Sender<ToDelivery>,
    /// Has the state set aside that the one beside begins with.
    pub(in crate::pipeline) wanted: Option<Wanted>,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version beside")
    }
}

impl Beside {
    fn is_over(&self) -> bool {
        self.trial.is_over()
    }

    fn show(&self, batch: &LaneBatch, place: Option<&Place>) {
        let rows = batch.rows.num_rows();
        let bytes = batch.rows.get_array_memory_size() + 24 * rows;
        let batch = ToLane::Batch(Box::new(batch.again(place)));
        match self.rows.try_send(batch, bytes) {
            true => drop(self.trial.rows.fetch_add(rows as u64, Ordering::Relaxed)),
            false => self.falls_behind(),
        }
    }

    /// Hears what the lane sends on.
    pub(super) fn hear(&self, message: &FromLane, bytes: usize) {
        let message = match message {
            FromLane::Emitted(output) => FromLane::Emitted(Output {
                length: output.length,
                rows: output.rows.clone(),
                marks: Vec::new(),
                failed: output.failed.clone(),
            }),
            FromLane::Progress {
                closed_up_to,
                sequence,
                watermark,
            } => FromLane::Progress {
                closed_up_to: *closed_up_to,
                sequence: *sequence,
                watermark: *watermark,
            },
            _ => return,
        };
        if !self.emitted.try_send(ToDelivery::Lane(0, message), bytes) {
            self.falls_behind();
        }
    }

    fn falls_behind(&self) {
        self.trial
            .fail("it fell behind the version at work, further than there is room for what it has still to do");
    }
}

impl LaneBatch {
    /// The same rows once more, less what never became rows.
    fn again(&self, place: Option<&Place>) -> Self {
        Self {
            rows: self.rows.clone(),
            event_times: self.event_times.clone(),
            watermarks: self.watermarks.clone(),
            picked: self.picked.clone(),
            source_row: self.source_row.clone(),
            sequences: self.sequences.clone(),
            origins: Arc::clone(&self.origins),
            watermark: self.watermark,
            place: place.cloned(),
            unreached: None,
        }
    }
}

impl Lane {
    /// Hands a batch that the lane is about to judge to the one beside it, if there is one.
    pub(super) fn show(&mut self, batch: &LaneBatch, place: Option<&Place>) {
        self.out.beside.take_if(|beside| beside.is_over());
        if let Some(beside) = &self.out.beside {
            beside.show(batch, place);
        }
    }

    /// Has one work beside the lane from here on, if it is to and a commit may end here. It begins with what is committed.
    pub(super) async fn begin_beside_if_whole(&mut self) -> Result<(), LaneError> {
        let Some(mut beside) = self.beside.take_if(|_| self.commits.is_whole()) else {
            return Ok(());
        };
        if self.commits.has_some() {
            self.commit().await?;
        }
        if let Some(wanted) = beside.wanted.take() {
            self.out.send(FromLane::SetAside(wanted), 0).await?;
        }
        self.out.beside = Some(*beside);
        Ok(())
    }

    /// Goes on where another lane is, of whose keys nothing is here yet.
    pub(in crate::pipeline) fn go_on(&mut self, progress: Progress, watermark: i64) {
        self.windows.resume(progress);
        self.watermark = watermark;
        self.report.watermark = watermark;
    }

    /// Takes in what is kept of some keys, all of each.
    ///
    /// # Errors
    ///
    /// It is not of such windows, or takes more room than there is.
    pub(in crate::pipeline) async fn load(&mut self, records: &Records) -> Result<(), LaneError> {
        self.windows.load(records, &mut self.calls).await?;
        let (bytes, keys) = (self.windows.bytes() as u64, self.windows.keys() as u64);
        Ok(self.share.set(bytes, keys)?)
    }
}
