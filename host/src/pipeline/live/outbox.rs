//! The outbox of a lane: what is sent once it is committed, and again after a restart, as often as it
//! takes for it to be there once.
//!
//! A commit holds, for each destination, the entries that are to be sent after it; the next one takes
//! them away. A lane that is opened sends what its last owner left. Destinations tell what they have:
//! a file by its length, a topic by its last message of the lane.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::keeper::Keeper;
use crate::store::StoreError;

const OUTBOX: u8 = 3;

/// Bytes of lines that are an entry, about.
const ENTRY_BYTES: usize = 1 << 20;

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    /// What was refused.
    Rejects,
    /// What came too late.
    Late,
    /// Values that broke their validation.
    Invalid,
}

impl Destination {
    pub(super) const ALL: [Self; 3] = [Self::Rejects, Self::Late, Self::Invalid];

    fn number(self) -> u8 {
        match self {
            Self::Rejects => 0,
            Self::Late => 1,
            Self::Invalid => 2,
        }
    }
}

/// What a commit says of a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The first entry that is to be sent after the commit.
    first: u64,
    /// The one after the last.
    next: u64,
    /// The length of the file before the first of them.
    length: u64,
}

/// Why something cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The lane's database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was to be sent is not there.
    #[error("entry {entry} of what lane {lane} is to send is missing; its state is damaged")]
    Missing {
        /// The lane.
        lane: u32,
        /// The entry.
        entry: u64,
    },
    /// A file cannot be written.
    #[error("cannot {doing} {}: {source}; check that the disk has room and can be written to", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// What a lane has to send to files, a file for each destination.
pub(super) struct Outbox {
    files: BTreeMap<Destination, Queue>,
}

/// What is to be sent to one file.
struct Queue {
    file: AppendFile,
    kept: Kept,
    /// What is to be part of the next commit.
    lines: Vec<u8>,
    /// What the last commit holds and was not sent yet.
    entries: Vec<Bytes>,
}

impl Outbox {
    /// For one lane, of which the last commit says what it still has to send.
    pub(super) fn new(
        lane: u32,
        paths: impl Fn(Destination) -> PathBuf,
        kept: &BTreeMap<u8, Kept>,
        keeper: &Keeper,
    ) -> Result<Self, OutboxError> {
        let mut files = BTreeMap::new();
        for destination in Destination::ALL {
            let number = destination.number();
            let kept = kept.get(&number).copied().unwrap_or_default();
            let mut queue = Queue {
                file: AppendFile::new(paths(destination), kept.length),
                kept,
                lines: Vec::new(),
                entries: Vec::new(),
            };
            for entry in kept.first..kept.next {
                let found = keeper.get(&key(number, entry))?;
                let found = found.ok_or(OutboxError::Missing { lane, entry })?;
                queue.entries.push(found);
            }
            files.insert(destination, queue);
        }
        Ok(Self { files })
    }

    /// Takes lines that are to be sent after the next commit.
    pub(super) fn put(&mut self, destination: Destination, lines: impl AsRef<[u8]>) {
        let queue = self.files.get_mut(&destination).expect("all are there");
        queue.lines.extend_from_slice(lines.as_ref());
    }

    /// Makes what waits a part of the next commit, and takes what was sent out of it.
    pub(super) fn commit(&mut self, keeper: &mut Keeper) -> BTreeMap<u8, Kept> {
        let mut all = BTreeMap::new();
        for (destination, queue) in &mut self.files {
            let number = destination.number();
            let batch = keeper.batch();
            for entry in queue.kept.first..queue.kept.next {
                batch.remove(&key(number, entry));
            }
            let lines = Bytes::from(std::mem::take(&mut queue.lines));
            let mut entries = Vec::new();
            let mut rest = lines;
            while !rest.is_empty() {
                let entry = rest.split_to(rest.len().min(ENTRY_BYTES));
                batch.put(&key(number, queue.kept.next + entries.len() as u64), &entry);
                entries.push(entry);
            }
            queue.kept = Kept {
                first: queue.kept.next,
                next: queue.kept.next + entries.len() as u64,
                length: queue.file.length,
            };
            queue.entries = entries;
            all.insert(number, queue.kept);
        }
        all
    }

    /// Sends what the last commit holds. What was sent of it before is not sent twice.
    pub(super) fn send(&mut self) -> Result<(), OutboxError> {
        for queue in self.files.values_mut() {
            if !queue.entries.is_empty() {
                queue.file.append(queue.kept.length, &queue.entries)?;
                queue.entries.clear();
            }
        }
        Ok(())
    }
}

fn key(destination: u8, entry: u64) -> Vec<u8> {
    [&[OUTBOX, destination][..], &entry.to_be_bytes()].concat()
}

/// A file that grows.
struct AppendFile {
    path: PathBuf,
    /// None before the first line.
    file: Option<File>,
    /// How long it is, as far as this lane knows.
    length: u64,
}

impl AppendFile {
    fn new(path: PathBuf, length: u64) -> Self {
        Self {
            path,
            file: None,
            length,
        }
    }

    /// Makes the file hold these bytes from `at` on, and nothing after them, durably. A file that is
    /// shorter was taken away, by a rotation say, and a new one begins.
    fn append(&mut self, at: u64, entries: &[Bytes]) -> Result<(), OutboxError> {
        let path = self.path.clone();
        let failed = |doing| {
            let path = path.clone();
            move |source| OutboxError::File {
                doing,
                path,
                source,
            }
        };
        let is_there = path.exists();
        let file = match self.file.take().filter(|_| is_there) {
            Some(file) => file,
            None => open(&path).map_err(failed("open"))?,
        };
        let file = self.file.insert(file);
        let length = file.metadata().map_err(failed("look at"))?.len();
        let at = if length < at { 0 } else { at };
        let write = |file: &mut File| {
            file.set_len(at)?;
            file.seek(SeekFrom::Start(at))?;
            let mut length = at;
            for entry in entries {
                file.write_all(entry)?;
                length += entry.len() as u64;
            }
            file.sync_data()?;
            Ok(length)
        };
        self.length = write(file).map_err(failed("write"))?;
        Ok(())
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).open(path)
}
