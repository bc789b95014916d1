//! Looks for recorded history: whether it is what `penstock record` wrote, and which files of which partition.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;

use super::partitioning::Partitioning;
use super::{Bootstrap, History};
use crate::config::types::type_name;
use crate::config::{self, ConfigError, Environment, EventSource, Located, RecordedEvent, is_url};
use crate::pipeline::recordings;
use crate::pipeline::wiring::WiringError;
use crate::source::decode;
use crate::source::live::LiveSpec;
use crate::source::live::recorded::{RecordedError, RecordedPartition, layout};
use crate::source::prepared::TimeRange;
use crate::source::recording::{LocalFile, Recording};
use crate::source::replay::ReplaySpec;
use crate::source::storage::{KNOWN_OPTIONS, Objects, StorageError, StorageFault, unknown_options};

/// Rows of files that are read at once.
const BATCH_ROWS: usize = 8192;

/// The files of a recording, by partition.
type Partitions = BTreeMap<u32, RecordedPartition>;

/// Finds what `bootstrap` of an event names, and checks that it has what the pipeline reads, whose key this is.
///
/// # Errors
///
/// A finding at its place: there is nothing, it cannot be reached, or it is of no use here.
pub(in crate::pipeline::live) fn find(
    io: &Handle,
    environment: &Environment,
    event: &EventSource,
    bootstrap: &config::Bootstrap,
    (spec, key): (&Arc<LiveSpec>, &[Located<String>]),
) -> Result<Bootstrap, WiringError> {
    let finding = Finding {
        environment,
        bootstrap,
        spec,
        io,
    };
    let patterns = &bootstrap.files.patterns;
    let place: Vec<&str> = patterns.iter().map(|it| it.as_str()).collect();
    let mut recordings = Vec::new();
    for pattern in patterns {
        let found = finding.recording(pattern)?;
        if !found.is_empty() {
            recordings.push((pattern, found));
        }
    }
    let history = match recordings.pop() {
        None => finding.files(event, key)?,
        Some(_) if patterns.len() > 1 => {
            return Err(finding.refuse(
                &patterns[1],
                "`bootstrap` names a recording and something else, which may overlap".to_owned(),
                "name the recording's folder alone",
            ));
        }
        Some((pattern, found)) => {
            for (partition, recorded) in &found {
                let checked = recorded.check(spec, *partition);
                checked.map_err(|error| finding.unfit(pattern, &error))?;
            }
            History::Recorded(found)
        }
    };
    Ok(Bootstrap {
        place: place.join(", ").into(),
        history,
    })
}

struct Finding<'a> {
    environment: &'a Environment,
    bootstrap: &'a config::Bootstrap,
    spec: &'a Arc<LiveSpec>,
    io: &'a Handle,
}

impl Finding<'_> {
    fn refuse(&self, pattern: &Located<String>, message: String, hint: &str) -> WiringError {
        let finding = self.environment.diagnostic(pattern.span, message, hint);
        WiringError::Config(finding.into())
    }

    fn unfit(&self, pattern: &Located<String>, error: &RecordedError) -> WiringError {
        let finding = (self.environment).diagnostic(pattern.span, error.to_string(), "");
        WiringError::Storage {
            error: finding.into(),
            of_the_system: error.is_of_the_system(),
        }
    }

    /// The files of a recording in the folder that is named; none if it is none.
    fn recording(&self, pattern: &Located<String>) -> Result<Partitions, WiringError> {
        match is_url(pattern) {
            true => self.remote(pattern),
            false => {
                let folder = self.environment.source.folder().join(&pattern.value);
                if !folder.is_dir() {
                    return Ok(Partitions::new());
                }
                local(&folder).map_err(|error| {
                    self.refuse(
                        pattern,
                        format!("{} cannot be listed: {error}", folder.display()),
                        "relative paths start from the folder of this file",
                    )
                })
            }
        }
    }

    fn remote(&self, url: &Located<String>) -> Result<Partitions, WiringError> {
        let options = &self.environment.store_options;
        if let Some(name) = unknown_options(options).first() {
            let finding = self.environment.unknown_option(name, KNOWN_OPTIONS);
            return Err(ConfigError::from(finding).into());
        }
        if url.contains(['*', '?', '[']) {
            return Ok(Partitions::new());
        }
        let within = format!("{}/p=*/*", url.trim_end_matches('/'));
        let found = Objects::new(options, self.io).find(&within, |_| true);
        let found = match found {
            Ok(found) => found,
            Err(error) if error.fault == StorageFault::Missing => Vec::new(),
            Err(error) => return Err(self.unreachable(url, error)),
        };
        let mut partitions = Partitions::new();
        for recording in found {
            add(&mut partitions, &recording.name(), recording);
        }
        Ok(whole(partitions))
    }

    /// Any files of the event, and how their rows find their partitions.
    fn files(&self, event: &EventSource, key: &[Located<String>]) -> Result<History, WiringError> {
        let first = &self.bootstrap.files.patterns[0];
        let recorded = RecordedEvent {
            event,
            files: self.bootstrap.find(&self.environment.source)?,
        };
        let (recordings, format) = recordings::find(self.io, self.environment, &recorded)?;
        let is_of_recording = |recording: &Arc<dyn Recording>| {
            let mut partitions = Partitions::new();
            add(&mut partitions, &recording.name(), Arc::clone(recording));
            !whole(partitions).is_empty()
        };
        if recordings.iter().any(is_of_recording) {
            return Err(self.refuse(
                first,
                "these are files that `penstock record` has written".to_owned(),
                "name the folder that was given to it as --to: then history and topic meet at an offset, exactly",
            ));
        }
        let partitioning = self.partitioning(key)?;
        for recording in &recordings {
            decode::open(recording, format, &self.spec.columns, 1)?;
        }
        let spec = self.spec;
        Ok(History::Files {
            files: Box::new(ReplaySpec {
                recordings,
                format,
                columns: Arc::clone(&spec.columns),
                event_time: spec.event_time,
                arrival_time: spec.arrival_time,
                max_future: spec.max_future,
                range: TimeRange::ALL,
                pace: None,
                disorder: spec.disorder,
                batch_rows: BATCH_ROWS,
                every_watermark: false,
                stop_on_reject: spec.stop_on_reject,
            }),
            partitioning,
        })
    }

    fn partitioning(&self, key: &[Located<String>]) -> Result<Partitioning, WiringError> {
        let declared = self.bootstrap;
        let refuse = |span, message: String, hint: &str| {
            let finding = self.environment.diagnostic(span, message, hint);
            Err(WiringError::Config(finding.into()))
        };
        let Some(partitioner) = &declared.partitioner else {
            return refuse(
                declared.span,
                "`bootstrap` names files that do not say which partition their rows are of, and so it must be known how producers choose it".to_owned(),
                "add it: `bootstrap = { files = …, partitioner = \"murmur2\" }` for Java's clients, or \"consistent_random\" for librdkafka; or name a folder that `penstock record` has written",
            );
        };
        let name = match (&declared.key, key) {
            (Some(name), _) => name,
            (None, [name]) => &Located::new(name.value.clone(), declared.span),
            (None, _) => {
                return refuse(
                    declared.span,
                    "the key of the pipeline has several columns, and the messages' key is one text".to_owned(),
                    "name the column that producers write as the key: `key = \"driver_id\"`, beside `partitioner`",
                );
            }
        };
        let columns = &self.spec.columns;
        let names = || columns.fields().iter().map(|field| field.name().as_str());
        let Some((column, field)) = columns.column_with_name(name) else {
            let message = format!(
                "the pipeline reads no column `{}`, by which rows would find their partitions",
                name.value
            );
            let hint = config::did_you_mean(name, "it reads", names());
            return refuse(name.span, message, &hint);
        };
        if !Partitioning::can_be_key(field.data_type()) {
            let message = format!(
                "column `{}` is {}, which producers may write as a key in several ways",
                name.value,
                type_name(field.data_type())
            );
            return refuse(
                name.span,
                message,
                "name a column of texts, bytes or whole numbers as `key`",
            );
        }
        Ok(Partitioning {
            partitioner: partitioner.value,
            column,
            name: name.value.clone(),
        })
    }

    fn unreachable(&self, url: &Located<String>, error: StorageError) -> WiringError {
        let of_the_system = error.is_of_the_system();
        let finding = self
            .environment
            .diagnostic(url.span, error.message, error.hint);
        WiringError::Storage {
            error: finding.into(),
            of_the_system,
        }
    }
}

fn local(folder: &Path) -> std::io::Result<Partitions> {
    let mut partitions = Partitions::new();
    for partition in paths(folder)? {
        let name = partition.file_name().unwrap_or_default().to_string_lossy();
        if layout::partition_of(&name).is_none() || !partition.is_dir() {
            continue;
        }
        for path in paths(&partition)? {
            let name = path.display().to_string();
            add(&mut partitions, &name, Arc::new(LocalFile::new(path)));
        }
    }
    Ok(whole(partitions))
}

fn paths(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Takes a file in whose name ends in `p=N/FILE`.
fn add(partitions: &mut Partitions, name: &str, recording: Arc<dyn Recording>) {
    let mut parts = name.rsplit('/');
    let (Some(file), Some(folder)) = (parts.next(), parts.next()) else {
        return;
    };
    if let Some(partition) = layout::partition_of(folder) {
        partitions
            .entry(partition)
            .or_default()
            .add(file, recording);
    }
}

/// Those of which anything whole is there.
fn whole(mut partitions: Partitions) -> Partitions {
    partitions.retain(|_, recorded| recorded.first().is_some());
    partitions
}
