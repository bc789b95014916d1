//! The history of features: every valid write, in Parquet files by group and day, for training.
//!
//! What comes in: the batches that are served, also rows that the online store refuses as older (a late correction
//! belongs in history). What goes out: files that anything reads that reads Parquet. The layout, version 1:
//!
//! ```text
//! PLACE/GROUP/YYYY-MM-DD/PIPELINE-WINDOW-….parquet        the day is that of the event time, in UTC
//!
//! the key's columns            as the pipeline has them
//! _event_time, _write_time     timestamps in UTC, in microseconds: what the values are of, and when they were written
//! _pipeline, _window           who wrote them, about which length
//! _lane, _epoch, _sequence     which write it is: no two rows with the same three, and the same pipeline, differ
//! NAME@VERSION …               the features; a null where the write removed the value
//! ```
//!
//! A row may be there twice, with the same lane, epoch and sequence: in a file and in the one that it was compacted into.
//! Readers keep one of them, and so does [`Compaction`].
//!
//! A file's name ends in a digest of its bytes. So whoever writes the same rows again, after a crash say, writes the same
//! file, and no two writers ever write over each other's rows: not a pipeline that began anew, and not two of one name.
//!
//! Writes of a version that was taken back are named beside the groups: see [`TakenBack`].
//!
//! What it must never do: take a row away before another file has it.

pub(crate) mod compact;
mod listing;
mod read;
pub mod rows;
mod taken_back;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutPayload};
use sha2::{Digest as _, Sha256};

pub use self::compact::{Compacted, Compaction};
pub use self::listing::{OfflineFile, Span};
pub use self::taken_back::TakenBack;
pub use self::writer::{OfflineWriter, check_schema};
use super::StoreError;
use crate::config::StorePlace;
use crate::objects::{self, Hidden, Kind, Place, StoreUrl};

/// What the names of files end in.
const EXTENSION: &str = ".parquet";

/// A place with the history of features.
pub struct OfflineStore {
    objects: Arc<dyn ObjectStore>,
    /// What the keys of objects begin with; empty in a folder.
    prefix: Path,
    shown: String,
    folder: Option<PathBuf>,
    kind: Kind,
    hidden: Hidden,
}

impl std::fmt::Debug for OfflineStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OfflineStore").field(&self.shown).finish()
    }
}

impl OfflineStore {
    /// Opens a place. A folder is made if it is not there; of a bucket nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the folder cannot be made, or the URL means nothing.
    pub fn open(place: &StorePlace) -> Result<Self, StoreError> {
        match place {
            StorePlace::Folder(folder) => {
                let io = |source| StoreError::Io {
                    doing: "make",
                    path: folder.clone(),
                    source,
                };
                std::fs::create_dir_all(folder).map_err(io)?;
                let opened = object_store::local::LocalFileSystem::new_with_prefix(folder);
                let objects = opened.map_err(|error| io(std::io::Error::other(error)))?;
                Ok(Self {
                    objects: Arc::new(objects.with_fsync(true)),
                    prefix: Path::default(),
                    shown: folder.display().to_string(),
                    folder: Some(folder.clone()),
                    kind: Kind::Local,
                    hidden: Hidden::default(),
                })
            }
            StorePlace::Objects { url, options } => {
                let url = StoreUrl::parse(&format!("{}/", url.trim_end_matches('/')))?;
                let hidden = Hidden::gather(options);
                let objects = objects::open(&url, options, objects::retries())
                    .map_err(|error| objects::at(&url, &hidden, &error))?;
                Ok(Self {
                    objects,
                    prefix: Path::from(url.key().trim_end_matches('/')),
                    shown: url.shown().trim_end_matches('/').to_owned(),
                    folder: None,
                    kind: url.kind(),
                    hidden,
                })
            }
        }
    }

    /// Where it is, for people.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Writes a file whose name begins with `start`, whole or not at all, and gives its name. If it is there already it
    /// has the same bytes.
    async fn put(&self, start: &str, bytes: Vec<u8>) -> Result<String, StoreError> {
        let digest = Sha256::digest(&bytes);
        let digest = digest[..8].iter().map(|byte| format!("{byte:02x}"));
        let name = format!("{start}-{}{EXTENSION}", digest.collect::<String>());
        let path = self.path(&name);
        let put = self.objects.put(&path, PutPayload::from(bytes)).await;
        put.map_err(|error| self.explain(&name, &error))?;
        Ok(name)
    }

    /// Removes a file, if it is there.
    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        match self.objects.delete(&self.path(name)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.explain(name, &error)),
        }
    }

    fn path(&self, name: &str) -> Path {
        match self.prefix.as_ref() {
            "" => Path::from(name),
            prefix => Path::from(format!("{prefix}/{name}")),
        }
    }

    fn explain(&self, name: &str, error: &Error) -> StoreError {
        let object = format!("{}/{name}", self.shown);
        let place = Place {
            object: &object,
            store: format!("the offline store {}", self.shown),
            kind: self.kind,
        };
        objects::explain(&place, &self.hidden, error).into()
    }
}

#[cfg(test)]
mod tests;
