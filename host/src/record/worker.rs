//! A thread that decodes the messages of some partitions, and writes their files.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::segment::Segment;
use super::{Progress, RecordError, RecordSpec, Recorded};
use crate::source::decode::message::{DecodedMessages, MessageDecoder};
use crate::source::kafka::Batch;
use crate::source::messages::Messages;

/// Jobs that wait for a worker, at most. Messages hold room in their partition's window besides.
const WAITING: usize = 16;
/// How often a worker looks whether files are due.
const GLANCE: Duration = Duration::from_millis(500);
/// How long a registry that does not answer is left alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a worker is told, in the order of the stream.
pub(super) enum Job {
    /// A partition is read from an offset on.
    Begin { partition: u32, next: i64 },
    /// The first `count` of these messages are to be recorded.
    Messages { batch: Box<Batch>, count: usize },
    /// Everything before an offset was read.
    AtEnd { partition: u32, next: i64 },
    /// Nothing more comes of a partition: its files are made whole. `done` is dropped when they are.
    Finish {
        partition: u32,
        done: SyncSender<()>,
    },
    /// A partition was taken: what is under way of it is somebody else's to record.
    Forget(u32),
}

/// What workers and the thread that reads have in common.
pub(super) struct Shared {
    pub(super) spec: RecordSpec,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) progress: Arc<Progress>,
    recorded: Mutex<Recorded>,
    /// Up to which offset each partition's files go, of those that got some since it was last asked.
    durable: Mutex<BTreeMap<u32, i64>>,
    failed: Mutex<Option<RecordError>>,
}

impl Shared {
    pub(super) fn new(spec: RecordSpec, stop: Arc<AtomicBool>, progress: Arc<Progress>) -> Self {
        Self {
            spec,
            stop,
            progress,
            recorded: Mutex::default(),
            durable: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    pub(super) fn recorded(&self) -> MutexGuard<'_, Recorded> {
        held(&self.recorded)
    }

    pub(super) fn take_durable(&self) -> BTreeMap<u32, i64> {
        std::mem::take(&mut held(&self.durable))
    }

    pub(super) fn take_failure(&self) -> Option<RecordError> {
        held(&self.failed).take()
    }
}

/// Each lock guards values that are whole between any two statements, so a panic spoils none.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker, which ends when it is dropped.
pub(super) struct Worker {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(number: usize, shared: &Arc<Shared>) -> Result<Self, RecordError> {
        let spec = &shared.spec;
        let decoder = MessageDecoder::new(&spec.stream.format, spec.layout.body())?;
        let (jobs, told) = sync_channel(WAITING);
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new()
            .name(format!("record-{number}"))
            .spawn(move || {
                let mut work = Work {
                    shared: Arc::clone(&shared),
                    decoder,
                    parts: BTreeMap::new(),
                };
                if let Err(error) = work.run(&told) {
                    held(&shared.failed).get_or_insert(error);
                }
            })
            .map_err(|source| RecordError::File {
                doing: "start a thread for",
                path: spec.stream.event.clone(),
                source,
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Hands a job over, and waits for room. A worker that has failed takes none.
    pub(super) fn tell(&self, job: Job) -> bool {
        let jobs = self.jobs.as_ref().expect("it is there until it is dropped");
        jobs.send(job).is_ok()
    }

    /// Whether it ended in a panic, for which it must have no jobs any more.
    pub(super) fn end(mut self) -> bool {
        self.jobs = None;
        self.thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed.
            let _ = thread.join();
        }
    }
}

struct Work {
    shared: Arc<Shared>,
    decoder: MessageDecoder,
    parts: BTreeMap<u32, Part>,
}

/// A partition.
struct Part {
    /// The offset behind everything that was read of it.
    next: i64,
    /// The file under way; none before there is a message.
    segment: Option<Segment>,
}

impl Work {
    fn run(&mut self, told: &Receiver<Job>) -> Result<(), RecordError> {
        loop {
            match told.recv_timeout(GLANCE) {
                Ok(job) => self.work(job)?,
                Err(RecvTimeoutError::Timeout) => {}
                // Whoever wants files whole has said so before.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.roll()?;
        }
    }

    fn work(&mut self, job: Job) -> Result<(), RecordError> {
        match job {
            Job::Begin { partition, next } => {
                self.finish(partition)?;
                let segment = None;
                self.parts.insert(partition, Part { next, segment });
            }
            Job::Messages { batch, count } => self.record(&batch.messages, count)?,
            Job::AtEnd { partition, next } => {
                if let Some(part) = self.parts.get_mut(&partition) {
                    part.next = part.next.max(next);
                }
            }
            Job::Finish { partition, done } => {
                self.finish(partition)?;
                self.parts.remove(&partition);
                drop(done);
            }
            Job::Forget(partition) => {
                self.parts.remove(&partition);
            }
        }
        Ok(())
    }

    fn record(&mut self, messages: &Messages, count: usize) -> Result<(), RecordError> {
        let messages = first_of(messages, count);
        let mut first = 0;
        while first < messages.len() {
            let Some(decoded) = self.decode(&messages, first)? else {
                return Ok(());
            };
            let spec = &self.shared.spec;
            let Some(part) = self.parts.get_mut(&messages.split) else {
                return Ok(());
            };
            let segment = match &mut part.segment {
                Some(segment) => segment,
                none => none.insert(Segment::begin(spec, messages.split, part.next)?),
            };
            segment.add(spec, &messages, first, &decoded)?;
            let progress = &self.shared.progress;
            let read = decoded.next.saturating_sub(first);
            progress.read.fetch_add(read as u64, Ordering::Relaxed);
            progress
                .rows
                .fetch_add(decoded.rows.num_rows() as u64, Ordering::Relaxed);
            progress
                .rejects
                .fetch_add(decoded.rejects.len() as u64, Ordering::Relaxed);
            first = decoded.next;
            part.next = messages.offsets[first - 1] + 1;
        }
        Ok(())
    }

    /// Decodes messages; none if a registry does not answer and somebody stops the recording.
    fn decode(
        &mut self,
        messages: &Messages,
        first: usize,
    ) -> Result<Option<DecodedMessages>, RecordError> {
        let mut told = false;
        loop {
            match self.decoder.decode(messages, first) {
                Ok(decoded) if decoded.next > first => return Ok(Some(decoded)),
                Ok(_) => {
                    let reason = "a decoder did not get on".to_owned();
                    return Err(RecordError::Broken(reason));
                }
                Err(error) if !error.is_temporary() => return Err(error.into()),
                Err(error) => {
                    if !told {
                        tracing::warn!(partition = messages.split, "{error}; the recording waits");
                        told = true;
                    }
                    let clock = &self.shared.spec.clock;
                    clock.wait(clock.now() + PATIENCE, &self.shared.stop);
                    if self.shared.stop.load(Ordering::Relaxed) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Ends the files that are due.
    fn roll(&mut self) -> Result<(), RecordError> {
        let spec = &self.shared.spec;
        let is_due = |part: &Part| {
            part.segment
                .as_ref()
                .is_some_and(|segment| segment.is_due(spec))
        };
        let due: Vec<u32> = self
            .parts
            .iter()
            .filter(|(_, part)| is_due(part))
            .map(|(number, _)| *number)
            .collect();
        due.into_iter()
            .try_for_each(|partition| self.finish(partition))
    }

    /// Makes the file of a partition whole, if there is one under way.
    fn finish(&mut self, partition: u32) -> Result<(), RecordError> {
        let Some(part) = self.parts.get_mut(&partition) else {
            return Ok(());
        };
        let Some(segment) = part.segment.take() else {
            return Ok(());
        };
        let next = part.next;
        let finished = segment.finish(&self.shared.spec, next)?;
        self.shared.progress.files.fetch_add(1, Ordering::Relaxed);
        let mut recorded = self.shared.recorded();
        recorded.counts += finished.counts;
        recorded.files += 1;
        recorded.bytes += finished.bytes;
        for (code, count) in finished.rejected_by_code {
            *recorded.rejected_by_code.entry(code).or_default() += count;
        }
        let part = recorded.partitions.entry(partition).or_default();
        part.files += 1;
        part.rows += finished.counts.rows;
        part.to = next;
        drop(recorded);
        held(&self.shared.durable).insert(partition, next);
        Ok(())
    }
}

/// The first messages of some.
fn first_of(messages: &Messages, count: usize) -> Messages {
    Messages {
        split: messages.split,
        offsets: messages.offsets.slice(0, count),
        timestamps: messages.timestamps.slice(0, count),
        keys: messages.keys.slice(0, count),
        values: messages.values.slice(0, count),
        headers: messages
            .headers
            .as_ref()
            .map(|headers| headers.slice(0, count)),
    }
}
