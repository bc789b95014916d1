//! Files of tables that stay open, so that a block is read with one call of the system.
//!
//! Most look-ups of a lane whose state is larger than its memory read one block of a table, and opening
//! the file again takes longer than reading does. A table never changes once it is written, so what was
//! opened holds what it held, also after the engine has deleted it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attributes, ObjectMeta};

/// Files that are open at a time, at most: systems allow a process 1,024 if nobody has asked for more.
const MOST: usize = 512;

/// The folder of a database that the engine writes tables to, each under a name of its own.
const FOLDER: &str = "compacted";

/// Open files of tables, by their paths.
#[derive(Debug, Default)]
pub(super) struct Tables(RwLock<HashMap<Path, Arc<Table>>>);

/// An open table.
#[derive(Debug)]
pub(super) struct Table {
    file: File,
    /// What the object store said of it.
    pub(super) meta: ObjectMeta,
    /// The same.
    pub(super) attributes: Attributes,
}

impl Table {
    /// An open file, with what the object store says of it.
    pub(super) fn new(file: File, meta: ObjectMeta, attributes: Attributes) -> Self {
        Self {
            file,
            meta,
            attributes,
        }
    }

    /// Some of its bytes.
    pub(super) fn read(&self, range: &Range<u64>) -> io::Result<Bytes> {
        read_exactly(&self.file, range)
    }

    /// Whether somebody has deleted it, and it only takes room.
    fn is_gone(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.nlink() == 0)
    }
}

/// Some of a file's bytes.
pub(super) fn read_exactly(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}

impl Tables {
    /// Whether an object is a table.
    pub(super) fn is_one(path: &Path) -> bool {
        let mut parts = path.parts().rev();
        parts
            .next()
            .is_some_and(|name| name.as_ref().ends_with(".sst"))
            && parts.next().is_some_and(|folder| folder.as_ref() == FOLDER)
    }

    /// A table that is open.
    pub(super) fn get(&self, path: &Path) -> Option<Arc<Table>> {
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tables.get(path).map(Arc::clone)
    }

    /// Keeps a table open, and closes those that another process has deleted, which nobody else says here.
    pub(super) fn keep(&self, path: &Path, table: Table) -> Arc<Table> {
        let table = Arc::new(table);
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|_, table| !table.is_gone());
        if tables.len() >= MOST {
            // Which are in use shows when they are opened again.
            let mut stays = false;
            tables.retain(|_, _| {
                stays = !stays;
                stays
            });
        }
        tables.insert(path.clone(), Arc::clone(&table));
        table
    }

    /// Closes a table, which takes room on the disk as long as it is open.
    pub(super) fn close(&self, path: &Path) {
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tables.remove(path);
    }
}
