//! A file that grows by a line for each message.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::{Entries, OutboxError};

/// The file, which is made with the first line.
pub(super) struct AppendFile {
    path: PathBuf,
    file: Option<File>,
    length: u64,
}

impl AppendFile {
    pub(super) fn new(path: PathBuf, length: u64) -> Self {
        Self {
            path,
            file: None,
            length,
        }
    }

    /// How long it is, as far as this lane knows.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Makes the file hold these messages from `at` on, and nothing after them, durably. A file that is
    /// shorter was taken away, by a rotation say, and a new one begins. Gives the number of the entry
    /// behind them.
    pub(super) fn append(&mut self, at: u64, entries: &Entries<'_>) -> Result<u64, OutboxError> {
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
        let mut length = if length < at { 0 } else { at };
        let begun = file.set_len(length);
        let begun = begun.and_then(|()| file.seek(SeekFrom::Start(length)));
        begun.map_err(failed("write"))?;
        let mut lines = BufWriter::new(&*file);
        for number in entries.numbers.clone() {
            let entry = entries.load(number)?;
            for message in entries.messages(number, &entry)? {
                let line = message.value.unwrap_or_default();
                let written = lines.write_all(line).and_then(|()| lines.write_all(b"\n"));
                written.map_err(failed("write"))?;
                length += line.len() as u64 + 1;
            }
        }
        let flushed = lines.flush();
        drop(lines);
        let written = flushed.and_then(|()| file.sync_data());
        written.map_err(failed("write"))?;
        self.length = length;
        Ok(entries.numbers.end)
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).open(path)
}
