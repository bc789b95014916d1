//! Notes what a transform was given and what it gave back, so that it can be asked again.
//!
//! Arrays are shared, not copied. A recording is bounded: after enough calls or bytes it ends, and
//! says so.

use std::sync::{Arc, Mutex};

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;
use futures::future::BoxFuture;

use crate::transform::{
    CallError, Figures, Finished, Groups, Mapped, Mapper, Merged, Reject, Rows, Updated, Windowed,
    bytes_of,
};

/// Calls that are noted.
const MOST_CALLS: usize = 4096;
/// Bytes of rows and states that are noted.
const MOST_BYTES: usize = 128 << 20;

/// A call of a mapper, and what came of it.
#[derive(Debug, Clone)]
pub(super) struct MapCall {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) rows: usize,
    pub(super) mapped: Mapped,
}

/// A call of a windowed transform, and what came of it.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Accumulate(Accumulated),
    Merge {
        keys: Vec<ArrayRef>,
        earlier: Vec<ArrayRef>,
        later: Vec<ArrayRef>,
        len: usize,
        merged: Vec<ArrayRef>,
    },
    Finish {
        keys: Vec<ArrayRef>,
        states: Vec<ArrayRef>,
        bounds: Vec<ArrayRef>,
        len: usize,
        finished: Finished,
    },
}

/// A call of `accumulate`.
#[derive(Debug, Clone)]
pub(super) struct Accumulated {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) group_of_row: ScalarBuffer<u32>,
    pub(super) keys: Vec<ArrayRef>,
    pub(super) states: Vec<ArrayRef>,
    pub(super) len: usize,
    pub(super) updated: Updated,
}

/// The calls of a run, in order.
#[derive(Debug)]
pub(super) struct Recording<C> {
    pub(super) calls: Vec<C>,
    bytes: usize,
    /// Whether there were more calls than these.
    pub(super) is_cut: bool,
}

impl<C> Default for Recording<C> {
    fn default() -> Self {
        Self {
            calls: Vec::new(),
            bytes: 0,
            is_cut: false,
        }
    }
}

impl<C> Recording<C> {
    fn note(&mut self, bytes: usize, call: impl FnOnce() -> C) {
        // What is noted stays a beginning of the run: nothing after a gap.
        self.is_cut |= self.calls.len() == MOST_CALLS || self.bytes + bytes > MOST_BYTES;
        if !self.is_cut {
            self.bytes += bytes;
            self.calls.push(call());
        }
    }
}

/// A transform whose calls are noted.
pub(super) struct Recorder {
    transform: Box<dyn Windowed>,
    recording: Arc<Mutex<Recording<Call>>>,
}

impl Recorder {
    pub(super) fn new(
        transform: Box<dyn Windowed>,
        recording: &Arc<Mutex<Recording<Call>>>,
    ) -> Self {
        Self {
            transform,
            recording: Arc::clone(recording),
        }
    }
}

fn note<C>(recording: &Mutex<Recording<C>>, columns: &[&[ArrayRef]], call: impl FnOnce() -> C) {
    let bytes = columns.iter().map(|columns| bytes_of(columns)).sum();
    let mut recording = recording.lock().expect("nobody panics while noting a call");
    recording.note(bytes, call);
}

impl Windowed for Recorder {
    fn figures(&self) -> Figures {
        self.transform.figures()
    }

    fn lose(&mut self, last: &Reject) -> Result<(), CallError> {
        self.transform.lose(last)
    }

    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        Box::pin(async move {
            let updated = self.transform.accumulate(rows, groups).await?;
            note(&self.recording, &[rows.columns, groups.states], || {
                Call::Accumulate(Accumulated {
                    columns: rows.columns.to_vec(),
                    group_of_row: rows.group_of_row.clone(),
                    keys: groups.keys.to_vec(),
                    states: groups.states.to_vec(),
                    len: groups.len,
                    updated: updated.clone(),
                })
            });
            Ok(updated)
        })
    }

    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Merged, CallError>> {
        Box::pin(async move {
            let merged = self.transform.merge(earlier, later).await?;
            note(&self.recording, &[earlier.states, later], || Call::Merge {
                keys: earlier.keys.to_vec(),
                earlier: earlier.states.to_vec(),
                later: later.to_vec(),
                len: earlier.len,
                merged: merged.states.clone(),
            });
            Ok(merged)
        })
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        Box::pin(async move {
            let finished = self.transform.finish(groups, bounds).await?;
            note(&self.recording, &[groups.states], || Call::Finish {
                keys: groups.keys.to_vec(),
                states: groups.states.to_vec(),
                bounds: bounds.to_vec(),
                len: groups.len,
                finished: finished.clone(),
            });
            Ok(finished)
        })
    }
}

/// A mapper whose calls are noted.
pub(super) struct MapRecorder {
    mapper: Box<dyn Mapper>,
    recording: Arc<Mutex<Recording<MapCall>>>,
}

impl MapRecorder {
    pub(super) fn new(mapper: Box<dyn Mapper>, recording: &Arc<Mutex<Recording<MapCall>>>) -> Self {
        Self {
            mapper,
            recording: Arc::clone(recording),
        }
    }
}

impl Mapper for MapRecorder {
    fn figures(&self) -> Figures {
        self.mapper.figures()
    }

    fn map<'a>(
        &'a mut self,
        columns: &'a [ArrayRef],
        rows: usize,
    ) -> BoxFuture<'a, Result<Mapped, CallError>> {
        Box::pin(async move {
            let mapped = self.mapper.map(columns, rows).await?;
            let output = mapped.output.columns();
            note(&self.recording, &[columns, output], || MapCall {
                columns: columns.to_vec(),
                rows,
                mapped: mapped.clone(),
            });
            Ok(mapped)
        })
    }
}
