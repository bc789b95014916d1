//! Decoding ahead of the merge: a few threads that keep batches of the splits ready.
//!
//! The merge asks for a split's next batch and gets it, whichever thread decoded it; a split is
//! decoded by one thread at a time, so its batches come in their order. Of the splits that may be
//! read ahead, the one whose ready batches end earliest in event time goes first, because it is the
//! first to be asked for. What is ready is bounded in bytes; a split that the merge waits for is read
//! whatever the bound says, or both would wait for each other.
//!
//! Nothing here decides what comes out: an error waits in its split's queue for its turn.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::ReplayError;
use crate::source::SplitNames;
use crate::source::decode::SplitReader;
use crate::source::prepared::{Preparation, Prepared};

/// Bytes that are ready, over all splits, before reading ahead pauses.
const READY_BYTES: usize = 48 << 20;
/// Batches of one split that are ready before reading it ahead pauses.
const READY_BATCHES: usize = 2;

/// How often somebody who waits looks whether to stop.
pub(super) const GLANCE: Duration = Duration::from_millis(100);

/// The threads that decode ahead. They end when this is dropped, and are waited for, unless a stop
/// was asked for: one may hang in a read that takes minutes to fail.
pub(super) struct Ahead {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    preparation: Preparation,
    names: SplitNames,
    state: Mutex<State>,
    /// There may be a split to read.
    work: Condvar,
    /// A batch is ready.
    ready: Condvar,
}

struct State {
    splits: Vec<Slot>,
    /// What is ready, in bytes.
    bytes: usize,
    /// The split that the merge waits for.
    awaited: Option<usize>,
    stopped: bool,
}

/// A split on its way.
struct Slot {
    /// Away while a thread reads, and gone after the end.
    reader: Option<Box<dyn SplitReader>>,
    ready: VecDeque<(Next, usize)>,
    /// The last event time that was decoded.
    up_to: i64,
    ended: bool,
}

/// What comes next of a split; none at its end.
type Next = Result<Option<Prepared>, ReplayError>;

impl Ahead {
    /// Starts `threads` threads over the readers of all splits.
    pub(super) fn start(
        readers: Vec<Box<dyn SplitReader>>,
        preparation: Preparation,
        names: SplitNames,
        threads: usize,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, ReplayError> {
        let splits = readers.into_iter().map(|reader| Slot {
            reader: Some(reader),
            ready: VecDeque::with_capacity(READY_BATCHES),
            up_to: i64::MIN,
            ended: false,
        });
        let state = State {
            splits: splits.collect(),
            bytes: 0,
            awaited: None,
            stopped: false,
        };
        let shared = Arc::new(Shared {
            preparation,
            names,
            state: Mutex::new(state),
            work: Condvar::new(),
            ready: Condvar::new(),
        });
        let mut ahead = Self {
            shared,
            stop: Arc::clone(stop),
            threads: Vec::with_capacity(threads),
        };
        for _ in 0..threads {
            let shared = Arc::clone(&ahead.shared);
            let thread = std::thread::Builder::new().name("decode".into());
            let thread = thread.spawn(move || shared.work());
            ahead.threads.push(thread.map_err(ReplayError::Thread)?);
        }
        Ok(ahead)
    }

    /// The next batch of a split; none at its end. Waits for it, or for a stop, which is an error.
    pub(super) fn next(&self, split: usize) -> Next {
        let shared = &self.shared;
        let mut state = shared.lock();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(ReplayError::Stopped);
            }
            if let Some((next, bytes)) = state.splits[split].ready.pop_front() {
                state.bytes -= bytes;
                state.awaited = None;
                drop(state);
                shared.work.notify_one();
                return next;
            }
            if state.splits[split].ended {
                return Ok(None);
            }
            if state.awaited != Some(split) {
                state.awaited = Some(split);
                shared.work.notify_one();
            }
            state = shared
                .ready
                .wait_timeout(state, GLANCE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.work.notify_all();
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        for thread in self.threads.drain(..) {
            // Its panics were caught and told as errors; there is nobody left to tell of others.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does until it is stopped.
    fn work(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let Some((split, mut reader)) = state.take() else {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let next = self.decode(split, reader.as_mut());
            state = self.lock();
            state.put(split, reader, next);
            self.ready.notify_one();
        }
    }

    fn decode(&self, split: usize, reader: &mut dyn SplitReader) -> Next {
        let step = || -> Next {
            let Some(decoded) = reader.next_batch()? else {
                return Ok(None);
            };
            let mut prepared = self.preparation.prepare(split as u32, decoded)?;
            prepared.bytes_read = reader.bytes_read();
            Ok(Some(prepared))
        };
        // A thread that is gone would leave the merge waiting for ever.
        catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| {
            Err(ReplayError::Panicked {
                file: self.names[split].clone(),
            })
        })
    }
}

impl State {
    /// The split to read next, if one may be read, with its reader.
    fn take(&mut self) -> Option<(usize, Box<dyn SplitReader>)> {
        let awaited = self.awaited.filter(|split| {
            let slot = &self.splits[*split];
            slot.reader.is_some() && slot.ready.is_empty()
        });
        let split = match awaited {
            Some(split) => split,
            None if self.bytes >= READY_BYTES => return None,
            None => {
                let splits = self.splits.iter().enumerate();
                let may_be_read =
                    |slot: &Slot| slot.reader.is_some() && slot.ready.len() < READY_BATCHES;
                let earliest = splits
                    .filter(|(_, slot)| may_be_read(slot))
                    .min_by_key(|(number, slot)| (slot.up_to, *number));
                earliest?.0
            }
        };
        Some((split, self.splits[split].reader.take()?))
    }

    fn put(&mut self, split: usize, reader: Box<dyn SplitReader>, next: Next) {
        let slot = &mut self.splits[split];
        let bytes = match &next {
            Ok(Some(prepared)) => {
                slot.up_to = prepared.event_times.last().copied().unwrap_or(slot.up_to);
                // Only now may another thread have it: batches of a split keep their order.
                slot.reader = Some(reader);
                prepared.bytes()
            }
            // What comes after an error is in no known state, and after the end there is nothing.
            Ok(None) | Err(_) => {
                slot.ended = true;
                0
            }
        };
        slot.ready.push_back((next, bytes));
        self.bytes += bytes;
    }
}
