//! The files of an event, wherever they are: local ones as they were found, those elsewhere looked for.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;

use super::wiring::WiringError;
use crate::config::{
    ConfigError, Environment, FileFormat, FormatOfFiles, Located, RecordedEvent, RecordedPlace,
};
use crate::source::decode::Format;
use crate::source::recording::{LocalFile, Recording};
use crate::source::storage::{KNOWN_OPTIONS, Objects, StorageError, unknown_options};

/// The files of an event, in the order in which they are read, each once, and their format.
pub(super) fn find(
    io: &Handle,
    environment: &Environment,
    recorded: &RecordedEvent<'_>,
) -> Result<(Vec<Arc<dyn Recording>>, Format), WiringError> {
    check_options(environment)?;
    let options = &environment.store_options;
    let mut format = recorded.files.format.clone();
    let mut objects = Objects::new(options, io);
    let mut recordings: Vec<Arc<dyn Recording>> = Vec::new();
    for place in &recorded.files.places {
        match place {
            RecordedPlace::Local(path) => recordings.push(Arc::new(LocalFile::new(path))),
            RecordedPlace::Url(url) => {
                recordings.extend(elsewhere(&mut objects, environment, url, &mut format)?);
            }
        }
    }
    let mut seen = HashSet::new();
    recordings.retain(|recording| seen.insert(identity(recording.as_ref())));
    let format = match format.get() {
        // Every pattern gave a file, and every file showed a format.
        Some(FileFormat::Ndjson) | None => Format::Ndjson,
        Some(FileFormat::Csv) => Format::Csv,
        Some(FileFormat::Parquet) => Format::Parquet,
        Some(FileFormat::Arrow) => Format::ArrowIpc,
    };
    Ok((recordings, format))
}

/// Refuses options of object stores that no store knows.
pub(super) fn check_options(environment: &Environment) -> Result<(), ConfigError> {
    match unknown_options(&environment.store_options).first() {
        Some(name) => Err(environment.unknown_option(name, KNOWN_OPTIONS).into()),
        None => Ok(()),
    }
}

/// The same for two recordings that are one, however they are written.
fn identity(recording: &dyn Recording) -> PathBuf {
    let local = recording.local_path();
    local
        .map(|path| path.canonicalize().unwrap_or(path))
        .unwrap_or_else(|| {
            let name = recording.name();
            match name.strip_prefix("s3a://") {
                Some(rest) => PathBuf::from(format!("s3://{rest}")),
                None => PathBuf::from(name),
            }
        })
}

fn elsewhere(
    objects: &mut Objects,
    environment: &Environment,
    url: &Located<String>,
    format: &mut FormatOfFiles,
) -> Result<Vec<Arc<dyn Recording>>, WiringError> {
    let any = format.is_declared();
    let is_recording = |name: &str| any || FileFormat::of_path(Path::new(name)).is_some();
    let found = objects
        .find(url, is_recording)
        .map_err(|error| refuse(environment, url, error))?;
    for recording in &found {
        if let Err(problem) = format.admit(&recording.name()) {
            let finding = environment.diagnostic(url.span, problem, FormatOfFiles::HINT);
            return Err(ConfigError::from(finding).into());
        }
    }
    Ok(found)
}

fn refuse(environment: &Environment, url: &Located<String>, error: StorageError) -> WiringError {
    let of_the_system = error.is_of_the_system();
    let finding = environment.diagnostic(url.span, error.message, error.hint);
    WiringError::Storage {
        error: finding.into(),
        of_the_system,
    }
}
