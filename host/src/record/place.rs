//! Where recordings are written: a folder of this machine, or one of an object store.
//!
//! What is under way lies where nobody looks for recordings: beside its place under a name that begins with a dot,
//! or, for an object store, in a temporary file that has no name.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufWriter, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::RecordError;
use crate::config::StoreOptions;
use crate::source::recording::{LocalFile, Recording};
use crate::source::storage::{Put, RemoteFolder};

/// What the names of files under way end in.
const PARTIAL: &str = ".partial";

/// A place for recorded files.
#[derive(Debug)]
pub enum Place {
    /// A folder of this machine. It need not be there.
    Local(PathBuf),
    /// A folder of an object store.
    Remote(Box<RemoteFolder>),
}

impl Place {
    /// The place that a path or a URL names.
    ///
    /// # Errors
    ///
    /// The URL means nothing, or names a place that cannot be written to.
    pub fn open(text: &str, options: &StoreOptions, io: &Handle) -> Result<Self, RecordError> {
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(Self::Local(PathBuf::from(path)));
        }
        if text.contains("://") {
            let folder = RemoteFolder::open(text, options, io)?;
            return Ok(Self::Remote(Box::new(folder)));
        }
        Ok(Self::Local(PathBuf::from(text)))
    }

    /// What a file is called, for people.
    pub fn shown(&self, name: &str) -> String {
        match self {
            Self::Local(folder) => folder.join(name).display().to_string(),
            Self::Remote(folder) => folder.shown(name),
        }
    }

    /// The names of the files directly in a folder, none of them under way. What somebody who is gone left
    /// under way there is removed.
    pub(super) fn names(&self, within: &str) -> Result<Vec<String>, RecordError> {
        let folder = match self {
            Self::Remote(folder) => return Ok(folder.names(within)?),
            Self::Local(folder) => folder.join(within),
        };
        let refuse = |source| file_error("list", &folder, source);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(refuse)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(refuse)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with('.') && name.ends_with(PARTIAL) {
                // Somebody who is still there finds out when the file is to be put into its place.
                let _ = fs::remove_file(entry.path());
            } else {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// A file, to read it.
    pub(super) fn file(&self, name: &str) -> Result<Arc<dyn Recording>, RecordError> {
        Ok(match self {
            Self::Local(folder) => Arc::new(LocalFile::new(folder.join(name))),
            Self::Remote(folder) => folder.object(name)?,
        })
    }

    /// Writes a small file, whole. One that is there stays.
    pub(super) fn put(&self, name: &str, content: &str) -> Result<(), RecordError> {
        let put = match self {
            Self::Remote(folder) => {
                folder.put_bytes(name, Bytes::copy_from_slice(content.as_bytes()))?
            }
            Self::Local(_) => {
                let mut spool = self.spool(name)?;
                let written = spool.write_all(content.as_bytes());
                written.map_err(|source| self.failed("write", name, source))?;
                return self.place(spool).map(drop);
            }
        };
        self.must_be_done(name, put)
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str) -> Result<(), RecordError> {
        match self {
            Self::Remote(folder) => Ok(folder.remove(name)?),
            Self::Local(folder) => match fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(self.failed("remove", name, error))
                }
                _ => Ok(()),
            },
        }
    }

    /// Begins a file.
    pub(super) fn spool(&self, name: &str) -> Result<Spool, RecordError> {
        let began = match self {
            Self::Local(folder) => begin_beside(&folder.join(name)),
            Self::Remote(_) => begin_nameless(),
        };
        let (file, partial) = began.map_err(|source| self.failed("begin", name, source))?;
        Ok(Spool {
            name: name.to_owned(),
            file: BufWriter::with_capacity(1 << 18, file),
            partial,
        })
    }

    /// Puts a file that is complete into its place, durably, and gives its bytes. One that is there stays, and
    /// is an error.
    pub(super) fn place(&self, spool: Spool) -> Result<u64, RecordError> {
        let Spool {
            name,
            file,
            partial,
        } = spool;
        let flushed = file.into_inner().map_err(io::IntoInnerError::into_error);
        let mut file = flushed.map_err(|source| self.failed("write", &name, source))?;
        let bytes = file.stream_position();
        let bytes = bytes.map_err(|source| self.failed("write", &name, source))?;
        let put = match self {
            Self::Remote(folder) => {
                file.rewind()
                    .map_err(|source| self.failed("write", &name, source))?;
                folder.put(&name, &mut file, bytes)?
            }
            Self::Local(folder) => {
                let partial = partial.expect("files of this machine have names");
                let placed = file
                    .sync_all()
                    .and_then(|()| place_beside(&partial.0, &folder.join(&name)));
                placed.map_err(|source| self.failed("finish", &name, source))?
            }
        };
        self.must_be_done(&name, put)?;
        Ok(bytes)
    }

    fn must_be_done(&self, name: &str, put: Put) -> Result<(), RecordError> {
        match put {
            Put::Done => Ok(()),
            Put::Taken => Err(RecordError::Taken {
                path: self.shown(name),
            }),
        }
    }

    fn failed(&self, doing: &'static str, name: &str, source: io::Error) -> RecordError {
        RecordError::File {
            doing,
            path: self.shown(name),
            source,
        }
    }
}

/// A file under way. It is gone when it is dropped.
#[derive(Debug)]
pub(super) struct Spool {
    name: String,
    file: BufWriter<File>,
    partial: Option<Unfinished>,
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The name of a file under way, which goes with it.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After it was put into its place there is nothing under this name.
        let _ = fs::remove_file(&self.0);
    }
}

fn begin_beside(path: &Path) -> io::Result<(File, Option<Unfinished>)> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Two processes may believe for a while that a partition is theirs, and in different containers both may
    // have the same number.
    static TOKEN: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    let process = format!("{}-{:016x}", std::process::id(), *TOKEN);
    let partial = folder.join(format!(".{name}.{process}{PARTIAL}"));
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).open(&partial)?;
    Ok((file, Some(Unfinished(partial))))
}

/// Makes a folder, durably: a recording whose beginning is forgotten begins elsewhere.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let above = folder.ancestors().skip(1).take(2);
    for above in above.filter(|above| !above.as_os_str().is_empty()) {
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

fn begin_nameless() -> io::Result<(File, Option<Unfinished>)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("penstock-record-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok((file, None))
}

/// Gives a file its name, unless that is taken.
fn place_beside(partial: &Path, path: &Path) -> io::Result<Put> {
    match fs::hard_link(partial, path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Put::Taken),
        // Some file systems know no links. Between the look and the renaming nobody but another recorder
        // of this partition could come.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::Unsupported | ErrorKind::PermissionDenied
            ) =>
        {
            if path.exists() {
                return Ok(Put::Taken);
            }
            fs::rename(partial, path)?;
        }
        Err(error) => return Err(error),
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(Put::Done)
}

fn file_error(doing: &'static str, path: &Path, source: io::Error) -> RecordError {
    RecordError::File {
        doing,
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all_and_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Local(folder.path().join("rides"));
        assert!(place.names("p=0").unwrap().is_empty());
        let mut first = place.spool("p=0/1.parquet").unwrap();
        first.write_all(b"first").unwrap();
        let path = folder.path().join("rides/p=0/1.parquet");
        assert!(!path.exists());
        assert_eq!(place.place(first).unwrap(), 5);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        let mut second = place.spool("p=0/1.parquet").unwrap();
        second.write_all(b"second").unwrap();
        assert!(matches!(
            place.place(second),
            Err(RecordError::Taken { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"first");
        drop(place.spool("p=0/2.parquet").unwrap());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        place.put("p=0/_start.json", "{}").unwrap();
        fs::write(
            folder.path().join("rides/p=0/.3.parquet.77.partial"),
            "left",
        )
        .unwrap();
        let mut names = place.names("p=0").unwrap();
        names.sort();
        assert_eq!(names, ["1.parquet", "_start.json"]);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }
}
