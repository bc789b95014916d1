//! What is said of a pipeline's run that keeps what it does, as long as it is not over.
//!
//! A file a pipeline, `runs/<pipeline>`, whose text means nothing here. It is there from the beginning of such a run to
//! its end, so that it tells an interrupted run from one that is over, whatever lanes have kept.

use std::fs::{self, File};
use std::io::ErrorKind;

use super::folder::{Folder, encode_name, io, make_folder, write_atomically};
use crate::store::StoreError;

/// What is said of the run of a pipeline, if there is one. Blocks on the file system.
pub(super) fn read(folder: &Folder, pipeline: &str) -> Result<Option<String>, StoreError> {
    let path = folder.path().join("runs").join(encode_name(pipeline));
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", &path)(error)),
    }
}

/// Says something of the run of a pipeline, durably, or that there is none. Blocks on the file system.
pub(super) fn write(folder: &Folder, pipeline: &str, run: Option<&str>) -> Result<(), StoreError> {
    let runs = folder.path().join("runs");
    let path = runs.join(encode_name(pipeline));
    if let Some(run) = run {
        make_folder(&runs)?;
        return write_atomically(&path, run.as_bytes());
    }
    match fs::remove_file(&path) {
        Ok(()) => {
            let synced = File::open(&runs).and_then(|folder| folder.sync_all());
            synced.map_err(io("sync", &runs))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("remove", &path)(error)),
    }
}
