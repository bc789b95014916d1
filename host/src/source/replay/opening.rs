//! Opening all files of a replay, several at once, without waiting for one that hangs when a stop was
//! asked for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use super::ahead::GLANCE;
use super::{ReplayError, ReplaySpec};
use crate::source::decode::{self, SplitReader};

/// Rows of all splits together that are decoded ahead of the merge, at most; more splits get smaller batches each.
const ROWS_AHEAD: usize = 1 << 20;
/// A split's batches have this many rows at least, but never more than the pipeline asked for.
const LEAST_ROWS: usize = 1024;
/// Files that are opened at once: opening one far away is mostly waiting.
const OPENED_AT_ONCE: usize = 8;

/// The number of a file, and its reader.
type Opened = (usize, Result<Box<dyn SplitReader>, ReplayError>);

/// Opens all files. Of several that do not open, the first is told.
pub(super) fn open_all(
    spec: &ReplaySpec,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Box<dyn SplitReader>>, ReplayError> {
    let files = spec.recordings.len();
    let threads = OPENED_AT_ONCE.min(files);
    let opening = Arc::new(Opening {
        spec: spec.clone(),
        next: AtomicUsize::new(0),
        stop: Arc::clone(stop),
    });
    let (sender, receiver) = sync_channel(threads);
    for number in 0..threads {
        let (opening, sender) = (Arc::clone(&opening), sender.clone());
        let thread = std::thread::Builder::new().name("open".into());
        match thread.spawn(move || opening.work(&sender)) {
            // One is enough.
            Err(error) if number == 0 => return Err(ReplayError::Thread(error)),
            _ => {}
        }
    }
    drop(sender);
    let mut opened = receive_all(&receiver, stop)?;
    opened.sort_unstable_by_key(|(number, _)| *number);
    opened.into_iter().map(|(_, opened)| opened).collect()
}

fn receive_all(receiver: &Receiver<Opened>, stop: &AtomicBool) -> Result<Vec<Opened>, ReplayError> {
    let mut opened = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match receiver.recv_timeout(GLANCE) {
            Ok(one) => opened.push(one),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(opened),
        }
    }
    Err(ReplayError::Stopped)
}

/// What the threads that open files share.
struct Opening {
    spec: ReplaySpec,
    /// The file that nobody has taken yet.
    next: AtomicUsize,
    stop: Arc<AtomicBool>,
}

impl Opening {
    fn work(&self, opened: &SyncSender<Opened>) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.spec.recordings.len()
                || opened.send((number, self.open(number))).is_err()
            {
                return;
            }
        }
    }

    fn open(&self, number: usize) -> Result<Box<dyn SplitReader>, ReplayError> {
        let spec = &self.spec;
        let recording = &spec.recordings[number];
        let fair = (ROWS_AHEAD / spec.recordings.len().max(1)).max(LEAST_ROWS);
        let rows = spec.batch_rows.min(fair);
        let open = || decode::open(recording, spec.format, &spec.columns, rows);
        match catch_unwind(AssertUnwindSafe(open)) {
            Ok(opened) => Ok(opened?),
            Err(_) => Err(ReplayError::Panicked {
                file: recording.name(),
            }),
        }
    }
}
