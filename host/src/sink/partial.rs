//! A file that comes into its place only when it is whole.
//!
//! It is locked while it is written, so that two runs never write one file. The lock goes with the process,
//! however that ends.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{FileSummary, SinkError};

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
        let file = open_locked(&partial).and_then(|file| {
            // Only now is it nobody else's.
            file.set_len(0)?;
            Ok(file)
        });
        let file = file.map_err(|source| refused("create", &partial, source))?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            file: BufWriter::with_capacity(1 << 18, file),
        })
    }

    /// Makes it whole on the disk, under its other name still. It has `rows`.
    pub(super) fn complete(self, rows: u64) -> Result<Whole, SinkError> {
        let Self {
            path,
            partial,
            file,
        } = self;
        let complete = || {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            let bytes = file.metadata()?.len();
            if path.is_dir() {
                return Err(ErrorKind::IsADirectory.into());
            }
            Ok((file, bytes))
        };
        match complete() {
            Ok((file, bytes)) => Ok(Whole {
                made: Some(Made { file, rows, bytes }),
                path,
            }),
            Err(source) => Err(SinkError::Io {
                doing: "finish",
                path,
                partial: Some(partial),
                source,
            }),
        }
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

/// A file that is whole, and only needs to come into its place; or that no file belongs there.
#[derive(Debug)]
#[must_use = "it is not in its place yet"]
pub struct Whole {
    path: PathBuf,
    made: Option<Made>,
}

#[derive(Debug)]
struct Made {
    /// Open, because it is locked.
    file: File,
    rows: u64,
    bytes: u64,
}

impl Whole {
    /// There is nothing to be in a file: one of an earlier run is to go, and what a run that failed
    /// left of one.
    ///
    /// # Errors
    ///
    /// [`SinkError`] when another run is writing there, or the place is taken by something else.
    pub fn none(path: PathBuf) -> Result<Self, SinkError> {
        let partial = partial_path(&path);
        let free = || {
            if path.is_dir() {
                return Err(ErrorKind::IsADirectory.into());
            }
            match partial.exists() {
                true => open_locked(&partial).and_then(|_locked| fs::remove_file(&partial)),
                false => Ok(()),
            }
        };
        match free() {
            Ok(()) => Ok(Self { path, made: None }),
            Err(source) => Err(refused("remove what an earlier run left of", &path, source)),
        }
    }

    /// Puts the file into its place, durably, or takes that of an earlier run away.
    ///
    /// # Errors
    ///
    /// [`SinkError::Io`] when the file system refuses.
    pub fn place(self) -> Result<Option<FileSummary>, SinkError> {
        let Self { path, made } = self;
        let Some(made) = made else {
            return match fs::remove_file(&path).and_then(|()| sync_folder(&path)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(refused("remove the file of an earlier run,", &path, error))
                }
                _ => Ok(None),
            };
        };
        let partial = partial_path(&path);
        let placed = fs::rename(&partial, &path).and_then(|()| sync_folder(&path));
        drop(made.file);
        match placed {
            Ok(()) => Ok(Some(FileSummary {
                path,
                rows: made.rows,
                bytes: made.bytes,
            })),
            Err(source) => Err(SinkError::Io {
                doing: "finish",
                path,
                partial: Some(partial),
                source,
            }),
        }
    }
}

fn refused(doing: &'static str, path: &Path, source: io::Error) -> SinkError {
    match source.kind() {
        ErrorKind::WouldBlock => SinkError::Busy {
            path: path.to_owned(),
        },
        _ => SinkError::Io {
            doing,
            path: path.to_owned(),
            partial: None,
            source,
        },
    }
}

/// Opens a file, which is made if it is not there, and locks it; `WouldBlock` if somebody else has.
fn open_locked(path: &Path) -> io::Result<File> {
    loop {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::WouldBlock.into()),
            // Some network file systems know no locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // Whoever had it may have put it into its place meanwhile: then it is no partial file.
        let (opened, there) = (file.metadata()?, fs::metadata(path));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino())) {
            return Ok(file);
        }
    }
}

/// Where a file is written before it is whole.
pub(super) fn partial_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".partial");
    PathBuf::from(name)
}

/// Makes a rename or a removal in a file's folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_at_a_time_writes_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.csv");
        let mut first = Partial::create(&path).unwrap();
        first.write_all(b"first").unwrap();
        let busy = |error: SinkError| {
            assert!(
                error.to_string().contains("another run is writing"),
                "{error}"
            );
        };
        busy(Partial::create(&path).unwrap_err());
        busy(Whole::none(path.clone()).unwrap_err());
        let summary = first.complete(1).unwrap().place().unwrap().unwrap();
        assert_eq!((summary.rows, summary.bytes), (1, 5));
        let second = Partial::create(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        drop(second);
        assert_eq!(Whole::none(path.clone()).unwrap().place().unwrap(), None);
        assert!(!path.exists() && !partial_path(&path).exists());
    }

    #[test]
    fn what_cannot_come_into_its_place_is_told_before_anything_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("late.ndjson");
        fs::create_dir(&path).unwrap();
        assert!(Whole::none(path.clone()).is_err());
        assert!(Partial::create(&path).unwrap().complete(0).is_err());
    }
}
