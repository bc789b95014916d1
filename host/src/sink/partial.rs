//! A file that comes into its place only when it is whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::SinkError;

/// A file under way: it is written as `<name>.partial` and stays there when it is dropped.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
}

impl Partial {
    /// Creates the partial file, over the one of an earlier run that failed.
    pub(super) fn create(path: &Path) -> Result<Self, SinkError> {
        let partial = partial_path(path);
        let file = File::create(&partial).map_err(|source| SinkError::Io {
            doing: "create",
            path: partial.clone(),
            partial: None,
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            file: BufWriter::with_capacity(1 << 18, file),
        })
    }

    /// Renames the file into its place, durably, and gives its size in bytes.
    pub(super) fn finish(self) -> Result<u64, SinkError> {
        let Self {
            path,
            partial,
            file,
        } = self;
        let place = || {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            let bytes = file.metadata()?.len();
            fs::rename(&partial, &path)?;
            sync_folder(&path)?;
            Ok(bytes)
        };
        place().map_err(|source| SinkError::Io {
            doing: "finish",
            path: path.clone(),
            partial: Some(partial.clone()),
            source,
        })
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Where a file is written before it is whole.
pub(super) fn partial_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".partial");
    PathBuf::from(name)
}

/// Makes a rename or a removal in a file's folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
