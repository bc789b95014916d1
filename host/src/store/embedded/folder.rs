//! The folder that a store lives in:
//!
//! ```text
//! store.json                                  {"layout":2}: what makes the folder a store
//! declarations/<group>/<feature>@<version>.json
//! epochs/<pipeline>                           the last epoch of a pipeline
//! runs/<pipeline>                             what is said of a run that is not over
//! lanes/<pipeline>/<n>/                       the database of lane n of a pipeline
//! lanes/<pipeline>/<n>.lock                   locked by the process that writes to it
//! ```
//!
//! Names of pipelines, groups and features are percent-encoded where they hold anything but ASCII letters, digits,
//! `_` and `-`. Files are written beside their place and renamed into it, so that a reader in another process sees all
//! of a file or nothing of it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::StoreError;

/// The layout of the folder that this code writes, and the only one that it reads.
pub(super) const LAYOUT: u64 = 2;

/// A lane of a pipeline, which has a database of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LaneName {
    pub(super) pipeline: String,
    pub(super) number: u32,
}

impl LaneName {
    /// The place of its database below the folder of all lanes.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", encode_name(&self.pipeline), self.number)
    }
}

/// A store's folder.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder a store unless it is one.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        let folder = Self(path.to_owned());
        let marker = folder.marker();
        if !marker.exists() {
            make_folder(path)?;
            // A stray file would be taken for a part of the store, or the store for a part of something else. What a
            // start that was killed left of its own marker is no stray.
            let stray = names(path)?
                .into_iter()
                .find(|name| !name.ends_with(".partial"));
            if let Some(stray) = stray {
                return Err(StoreError::NotAStore {
                    folder: path.to_owned(),
                    reason: format!(
                        "it holds {stray:?} and no store.json; a new store needs an empty folder"
                    ),
                });
            }
            write_atomically(&marker, format!("{{\"layout\":{LAYOUT}}}\n").as_bytes())?;
        }
        let folder = Self::open(path)?;
        make_folder(&folder.lanes())?;
        make_folder(&folder.declarations())?;
        Ok(folder)
    }

    /// Takes a folder that is a store already.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let folder = Self(path.to_owned());
        let marker = folder.marker();
        let text = match fs::read_to_string(&marker) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                let reason = match path.exists() {
                    true => "it has no store.json".to_owned(),
                    false => "it does not exist".to_owned(),
                };
                return Err(StoreError::NotAStore {
                    folder: path.to_owned(),
                    reason,
                });
            }
            Err(e) => return Err(io("read", &marker)(e)),
        };
        let layout = serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|value| value.get("layout")?.as_u64())
            .ok_or_else(|| StoreError::Damaged {
                path: marker.clone(),
                reason: "it names no layout".to_owned(),
            })?;
        if layout != LAYOUT {
            return Err(StoreError::Layout {
                path: marker,
                found: layout,
                expected: LAYOUT,
            });
        }
        Ok(folder)
    }

    /// Locks a lane for writing until the file is dropped, or the process ends.
    pub(super) fn lock(&self, lane: &LaneName) -> Result<File, StoreError> {
        let path = self.lanes().join(format!("{}.lock", lane.path()));
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(io("open", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy {
                folder: self.0.clone(),
                pipeline: lane.pipeline.clone(),
                lane: lane.number,
            }),
            // Some network file systems know no locks; there the database notices a second writer.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn lanes(&self) -> PathBuf {
        self.0.join("lanes")
    }

    pub(super) fn lane(&self, lane: &LaneName) -> PathBuf {
        self.lanes().join(lane.path())
    }

    pub(super) fn declarations(&self) -> PathBuf {
        self.0.join("declarations")
    }

    /// The lanes whose databases exist, in ascending order. One that is just being made does not count: it has no
    /// manifest yet, and nothing to read.
    pub(super) fn existing_lanes(&self) -> Result<Vec<LaneName>, StoreError> {
        let mut found = Vec::new();
        for pipeline in names(&self.lanes())? {
            let lanes = names(&self.lanes().join(&pipeline))?;
            let Some(pipeline) = decode_name(&pipeline) else {
                continue;
            };
            for number in lanes.iter().filter_map(|name| name.parse().ok()) {
                let lane = LaneName {
                    pipeline: pipeline.clone(),
                    number,
                };
                if !names(&self.lane(&lane).join("manifest"))?.is_empty() {
                    found.push(lane);
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn marker(&self) -> PathBuf {
        self.0.join("store.json")
    }
}

/// The names in a folder, unordered; none when it does not exist.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(io("read", folder)(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(io("read", folder))?.file_name();
        names.extend(name.into_string().ok());
    }
    Ok(names)
}

/// Creates a folder and the folders above it.
pub(super) fn make_folder(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(io("create", path))
}

/// Writes a file whole: beside its place, synced, renamed into it, and the folder synced.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    // Two processes, or two tasks of one, may write the same file at once: each needs a name of its own.
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let beside = path.with_extension(format!(
        "{}-{}.partial",
        std::process::id(),
        WRITES.fetch_add(1, Ordering::Relaxed)
    ));
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        path.parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(|source| {
        // The first failure is the one to report; what is left of the attempt is only litter.
        let _ = fs::remove_file(&beside);
        io("write", path)(source)
    })
}

/// Turns a file system's error into the store's.
pub(super) fn io(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        doing,
        path: path.clone(),
        source,
    }
}

/// A name as a file name.
pub(super) fn encode_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The name that a file name was made from.
pub(super) fn decode_name(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}
