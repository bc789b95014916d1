//! Looks for recorded history: whether it is what `penstock record` wrote, and which files of which partition.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;

use super::Bootstrap;
use crate::config::{self, ConfigError, Environment, Located, is_url};
use crate::pipeline::wiring::WiringError;
use crate::source::live::LiveSpec;
use crate::source::live::recorded::{RecordedError, RecordedPartition, layout};
use crate::source::recording::{LocalFile, Recording};
use crate::source::storage::{
    KNOWN_OPTIONS, Objects, StorageError, StorageFault, unknown_options,
};

/// The files of a recording, by partition.
type Partitions = BTreeMap<u32, RecordedPartition>;

/// Finds what `bootstrap` of an event names, and checks that it has what the pipeline reads.
///
/// # Errors
///
/// A finding at its place: there is nothing, it cannot be reached, or it is of no use here.
pub(in crate::pipeline::live) fn find(
    io: &Handle,
    environment: &Environment,
    bootstrap: &config::Bootstrap,
    spec: &Arc<LiveSpec>,
) -> Result<Bootstrap, WiringError> {
    let finding = Finding { environment, io };
    let patterns = &bootstrap.files.patterns;
    let place: Vec<&str> = patterns.iter().map(|it| it.as_str()).collect();
    let mut partitions = Partitions::new();
    for pattern in patterns {
        let found = finding.recording(pattern)?;
        if found.is_empty() {
            return Err(finding.refuse(
                pattern,
                format!("{} is no folder that `penstock record` has written", pattern.value),
                "name the folder that was given to it as --to",
            ));
        }
        if !partitions.is_empty() {
            return Err(finding.refuse(
                pattern,
                "`bootstrap` names two recordings, which may overlap".to_owned(),
                "name one of them; a recording goes on in its own folder",
            ));
        }
        for (partition, recorded) in &found {
            let checked = recorded.check(spec, *partition);
            checked.map_err(|error| finding.unfit(pattern, &error))?;
        }
        partitions = found;
    }
    Ok(Bootstrap {
        place: place.join(", ").into(),
        partitions,
    })
}

struct Finding<'a> {
    environment: &'a Environment,
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

    fn unreachable(&self, url: &Located<String>, error: StorageError) -> WiringError {
        let of_the_system = error.is_of_the_system();
        let finding = self.environment.diagnostic(url.span, error.message, error.hint);
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
        partitions.entry(partition).or_default().add(file, recording);
    }
}

/// Those of which anything whole is there.
fn whole(mut partitions: Partitions) -> Partitions {
    partitions.retain(|_, recorded| recorded.first().is_some());
    partitions
}
