//! A recorded file, wherever it is kept: what decoders read from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// A recorded file that can be read from its start or at any place, as often as wanted.
///
/// Calls block. A recording does not change while it is read; one that does gives an error, or
/// rows of both versions.
pub trait Recording: fmt::Debug + Send + Sync {
    /// Its path or URL, as it is shown to people and kept beside rejected rows.
    fn name(&self) -> String;

    /// Where it is on this machine, if it is there.
    fn local_path(&self) -> Option<PathBuf> {
        None
    }

    /// Its size in bytes.
    ///
    /// # Errors
    ///
    /// It is not there, or not to be reached.
    fn size(&self) -> io::Result<u64>;

    /// Its bytes from the start on.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    fn stream(&self) -> io::Result<Box<dyn Read + Send>>;

    /// Exactly `length` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// It cannot be read, or ends before.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;
}

/// A file of this machine.
#[derive(Debug)]
pub struct LocalFile {
    path: PathBuf,
}

impl LocalFile {
    /// The file at `path`, which is opened only when it is read.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> io::Result<File> {
        let file = File::open(&self.path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(file)
    }
}

impl Recording for LocalFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn local_path(&self) -> Option<PathBuf> {
        Some(self.path.clone())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.open()?.metadata()?.len())
    }

    fn stream(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.open()?))
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.open()?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }
}
