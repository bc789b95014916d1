//! The thread that reads: it follows the group, hands messages to workers, and says when it is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::cut::Cut;
use super::worker::{Job, Shared, Worker};
use super::{Progress, RecordError, RecordSpec, Recorded, resume};
use crate::config::OnMissing;
use crate::source::kafka::{KafkaEvent, KafkaSettings, KafkaSource};
use crate::source::live::StreamOptions;

/// Workers, at most: each holds a file for each of its partitions.
const MOST_WORKERS: usize = 4;
/// How long nothing is waited for at a time.
const GLANCE: Duration = Duration::from_millis(200);
/// How long leaving the group may take.
const LEAVING: Duration = Duration::from_secs(10);

/// Records until what was asked for has been read, or `stop` is set; then what is under way is made whole.
///
/// # Errors
///
/// See [`RecordError`]. What is under way is given up then, and is recorded again by the next recording.
pub fn record(
    spec: RecordSpec,
    stop: &Arc<AtomicBool>,
    progress: &Arc<Progress>,
) -> Result<Recorded, RecordError> {
    let settings = settings(&spec)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let shared = Arc::new(Shared::new(spec, Arc::clone(stop), Arc::clone(progress)));
    let workers = (0..threads.min(MOST_WORKERS)).map(|number| Worker::start(number, &shared));
    let workers = workers.collect::<Result<Vec<_>, _>>()?;
    let source = KafkaSource::connect(&settings, Arc::clone(&shared.spec.clock), stop)?;
    let mut recorder = Recorder {
        cut: Cut::new(shared.spec.until),
        ours: BTreeSet::new(),
        begun: BTreeSet::new(),
        source,
        workers,
        shared,
    };
    let ended = recorder.run();
    let Recorder {
        source,
        workers,
        shared,
        ..
    } = recorder;
    let panicked = workers
        .into_iter()
        .map(Worker::end)
        .fold(false, |any, one| any | one);
    // What a worker has met is the reason why it takes no jobs.
    let failure = shared.take_failure();
    source.leave(LEAVING);
    if panicked {
        return Err(RecordError::Broken(
            "a thread that writes files has failed".to_owned(),
        ));
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    ended?;
    let mut recorded = std::mem::take(&mut *shared.recorded());
    recorded.stopped = stop.load(Ordering::Relaxed);
    Ok(recorded)
}

/// The settings of the client, with what a recording has of its own.
fn settings(spec: &RecordSpec) -> Result<KafkaSettings, RecordError> {
    let StreamOptions::Kafka(declared) = &spec.stream.stream else {
        return Err(RecordError::asked(
            format!(
                "event `{}` is a stream of Kinesis, and only topics of Kafka can be recorded so far",
                spec.stream.event
            ),
            "record it by a consumer of its own",
        ));
    };
    Ok(KafkaSettings {
        // A pipeline that reads the topic keeps all of its partitions.
        group: spec.group.clone(),
        start: spec.from,
        headers: spec.layout.wants_headers(),
        ..declared.clone()
    })
}

struct Recorder {
    source: KafkaSource,
    workers: Vec<Worker>,
    shared: Arc<Shared>,
    cut: Cut,
    /// The partitions that are read here.
    ours: BTreeSet<u32>,
    /// Those of them of which something was recorded before.
    begun: BTreeSet<u32>,
}

impl Recorder {
    fn run(&mut self) -> Result<(), RecordError> {
        loop {
            let status = self.source.status();
            let lag = status.iter().filter_map(|status| status.lag()).sum();
            self.shared.progress.lag.store(lag, Ordering::Relaxed);
            self.tell_kafka();
            let stopped = self.shared.stop.load(Ordering::Relaxed);
            if stopped || self.cut.is_reached(self.ours.len(), &status) {
                break;
            }
            if let Some(event) = self.source.next(GLANCE)? {
                self.take(event)?;
            }
        }
        let ours: Vec<u32> = self.ours.iter().copied().collect();
        self.finish(&ours)?;
        self.tell_kafka();
        Ok(())
    }

    fn take(&mut self, event: KafkaEvent) -> Result<(), RecordError> {
        match event {
            KafkaEvent::Assigned(partitions) => {
                for partition in partitions {
                    self.assigned(partition)?;
                }
            }
            KafkaEvent::Started { partition, offset } => self.started(partition, offset)?,
            KafkaEvent::Messages(batch) => {
                let partition = batch.messages.split;
                let count = self.cut.admit(&batch.messages);
                if count > 0 {
                    self.tell(partition, Job::Messages { batch, count })?;
                }
            }
            KafkaEvent::AtEnd { partition, next } => {
                // With an end by time, what was cut off must not count as read.
                if self.cut.at_end(partition, next) {
                    self.tell(partition, Job::AtEnd { partition, next })?;
                }
            }
            KafkaEvent::Missing {
                partition,
                wanted,
                low,
                high,
            } => self.missing(partition, wanted, low, high)?,
            KafkaEvent::Revoked(partitions) => {
                self.finish(&partitions)?;
                self.tell_kafka();
                for partition in partitions {
                    self.let_go(partition);
                    self.source.release(partition);
                }
            }
            KafkaEvent::Lost(partitions) => {
                tracing::warn!(
                    ?partitions,
                    "other recorders have these partitions now, and record again what was under way"
                );
                for partition in partitions {
                    self.let_go(partition);
                    self.tell(partition, Job::Forget(partition))?;
                }
            }
            // The source has told of these itself.
            KafkaEvent::Grown { .. }
            | KafkaEvent::Unreachable(_)
            | KafkaEvent::Reachable
            | KafkaEvent::Rested(_)
            | KafkaEvent::Trouble(_) => {}
        }
        Ok(())
    }

    fn assigned(&mut self, partition: u32) -> Result<(), RecordError> {
        let spec = &self.shared.spec;
        let cursor = resume::resume(&spec.place, partition, spec.layout.description())?;
        self.ours.insert(partition);
        if cursor.is_some() {
            self.begun.insert(partition);
        }
        self.source.start(partition, cursor);
        Ok(())
    }

    fn started(&mut self, partition: u32, offset: i64) -> Result<(), RecordError> {
        let spec = &self.shared.spec;
        if self.begun.insert(partition) {
            // A restart before the first whole file must not begin elsewhere.
            resume::begin(&spec.place, partition, offset, spec.layout.description())?;
        }
        let mut recorded = self.shared.recorded();
        let part = recorded.partitions.entry(partition).or_default();
        if part.files == 0 && part.passed_over == 0 {
            (part.from, part.to) = (offset, offset);
        }
        drop(recorded);
        self.cut.begin(partition, offset);
        self.tell(
            partition,
            Job::Begin {
                partition,
                next: offset,
            },
        )
    }

    fn missing(
        &mut self,
        partition: u32,
        wanted: i64,
        low: i64,
        high: i64,
    ) -> Result<(), RecordError> {
        let deleted = wanted < low;
        if self.shared.spec.stream.on_missing != OnMissing::Earliest || !deleted {
            return Err(RecordError::Missing {
                partition,
                wanted,
                low,
                high,
            });
        }
        tracing::warn!(
            partition,
            wanted,
            low,
            "the topic no longer holds what comes next; the recording goes on with what there is"
        );
        let mut recorded = self.shared.recorded();
        let part = recorded.partitions.entry(partition).or_default();
        if part.files == 0 && part.passed_over == 0 {
            (part.from, part.to) = (wanted, wanted);
        }
        part.passed_over += low.abs_diff(wanted);
        drop(recorded);
        self.source.start(partition, Some(low));
        Ok(())
    }

    fn let_go(&mut self, partition: u32) {
        self.ours.remove(&partition);
        self.begun.remove(&partition);
        self.cut.forget(partition);
    }

    /// Has the files of partitions made whole, and waits for that.
    fn finish(&self, partitions: &[u32]) -> Result<(), RecordError> {
        let mut waiting = Vec::new();
        for partition in partitions {
            let (done, finished) = sync_channel(0);
            self.tell(
                *partition,
                Job::Finish {
                    partition: *partition,
                    done,
                },
            )?;
            waiting.push(finished);
        }
        for finished in waiting {
            // Nothing is sent: the other side goes when it is done, or has failed.
            let _ = finished.recv();
        }
        match self.shared.take_failure() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn tell(&self, partition: u32, job: Job) -> Result<(), RecordError> {
        let worker = &self.workers[partition as usize % self.workers.len()];
        if worker.tell(job) {
            return Ok(());
        }
        let unknown = || RecordError::Broken("a thread that writes files has failed".to_owned());
        Err(self.shared.take_failure().unwrap_or_else(unknown))
    }

    /// Tells the group how far files go, for tools that show lag.
    fn tell_kafka(&self) {
        for (partition, next) in self.shared.take_durable() {
            self.source.commit(partition, next);
        }
    }
}
