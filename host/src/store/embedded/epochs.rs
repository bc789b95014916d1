//! The epoch of each pipeline: a number that rises with every run and never falls.
//!
//! A file a pipeline, `epochs/<pipeline>`, with the last epoch in decimal. Writes of a later run carry a greater
//! epoch, so that they replace those of an earlier run at the same event time.

use std::fs;
use std::io::ErrorKind;

use super::folder::{Folder, encode_name, io, make_folder, write_atomically};
use crate::store::StoreError;

/// Takes the next epoch of a pipeline, durably. Blocks on the file system.
pub(super) fn begin(folder: &Folder, pipeline: &str) -> Result<u64, StoreError> {
    let epochs = folder.path().join("epochs");
    make_folder(&epochs)?;
    let path = epochs.join(encode_name(pipeline));
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| StoreError::Damaged {
            path: path.clone(),
            reason: format!("it holds {text:?} where a number belongs"),
        })?,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(io("read", &path)(error)),
    };
    let next: u64 = last + 1;
    write_atomically(&path, format!("{next}\n").as_bytes())?;
    Ok(next)
}
