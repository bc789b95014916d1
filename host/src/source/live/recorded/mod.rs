//! A recorded topic: what `penstock record` wrote, read as if it came out of the stream.
//!
//! In come the files of one partition and an offset. Out come [`RecordedMessages`], in the order of their offsets:
//! messages that are decoded already, which [`LiveSplit::read_recorded`](super::LiveSplit::read_recorded) makes the
//! same batches of as it would have made of the messages themselves. Messages that could not be decoded when they were
//! recorded are decoded again where they were kept, because the pipeline may read fewer columns than were recorded.
//!
//! What it must never do: pass over an offset that the recording does not have without saying so, or take a column for
//! what it is not, such as hashes for what was hashed.

mod error;
mod file;
pub mod layout;
mod messages;
mod reader;
mod rejects;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::error::RecordedError;
pub use self::messages::RecordedMessages;
pub use self::reader::{Piece, RecordedReader};
use super::LiveSpec;
use crate::source::recording::Recording;

/// Why a message is refused whose key is no text where its column is one.
pub const BAD_KEY: &str = "the message's key is no UTF-8, and its column is `utf8`";

/// The files of one partition.
#[derive(Debug, Clone, Default)]
pub struct RecordedPartition {
    files: BTreeMap<i64, RecordedFile>,
}

/// A file of rows, and that of the rejects beside it.
#[derive(Debug, Clone, Default)]
struct RecordedFile {
    rows: Option<Arc<dyn Recording>>,
    rejects: Option<Arc<dyn Recording>>,
}

impl RecordedPartition {
    /// Takes a file in, if its name, without the folder, is one of a recording's.
    pub fn add(&mut self, name: &str, recording: Arc<dyn Recording>) {
        if let Some(first) = layout::first_of_rows(name) {
            self.files.entry(first).or_default().rows = Some(recording);
        } else if let Some(first) = layout::first_of_rejects(name) {
            self.files.entry(first).or_default().rejects = Some(recording);
        }
    }

    /// The first offset that the recording covers; none if there is nothing whole in it.
    pub fn first(&self) -> Option<i64> {
        self.whole().next().map(|(first, _)| first)
    }

    /// Checks that the newest file has what `spec` asks for.
    ///
    /// # Errors
    ///
    /// It has not, or cannot be read.
    pub fn check(&self, spec: &Arc<LiveSpec>, partition: u32) -> Result<(), RecordedError> {
        let Some((first, file)) = self.whole().last() else {
            return Ok(());
        };
        file::OpenFile::open(spec, partition, first, &file).map(drop)
    }

    /// The files of rows, each with its rejects. Rejects without rows are of what was never recorded whole.
    fn whole(&self) -> impl Iterator<Item = (i64, file::Files)> {
        self.files.iter().filter_map(|(first, file)| {
            let files = file::Files {
                rows: Arc::clone(file.rows.as_ref()?),
                rejects: file.rejects.clone(),
            };
            Some((*first, files))
        })
    }
}

#[cfg(test)]
mod tests;
