//! The folder beside a result in which it is made.
//!
//! Whoever works in it holds a lock of its file `lock`: this process, and the program that joins, which may live longer when this
//! one is killed. A folder whose lock nobody holds was left behind, and the next run with the same result removes it.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::super::{Failure, logs};

/// What is locked.
const LOCK: &str = "lock";

/// A folder that is there for as long as this is.
pub(super) struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes the folder for a result, and removes those that other processes left behind.
    pub(super) fn make(out: &Path) -> Result<Self, Failure> {
        remove_left(out);
        let folder = out.with_added_extension(format!("scratch-{}", std::process::id()));
        let made = std::fs::create_dir(&folder).and_then(|()| {
            loop {
                match lock(&folder) {
                    // Somebody who removes what is left came before the lock.
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        std::fs::create_dir(&folder)?;
                    }
                    locked => return locked,
                }
            }
        });
        match made {
            Ok(lock) => Ok(Self {
                folder,
                _lock: lock,
            }),
            Err(error) => Err(Failure::Work(format!(
                "cannot make {}: {error}; the folder of --out must be there, and empty of what an earlier attempt left",
                folder.display()
            ))),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            logs::note(&format!(
                "{} is left behind: {error}",
                self.folder.display()
            ));
        }
    }
}

fn lock(folder: &Path) -> io::Result<File> {
    let path = folder.join(LOCK);
    let lock = File::create(&path)?;
    // Where there are no locks, nobody removes anything.
    let _ = lock.lock_shared();
    match path.exists() {
        true => Ok(lock),
        false => Err(ErrorKind::NotFound.into()),
    }
}

/// Removes the folders of processes that are gone.
fn remove_left(out: &Path) {
    let Some(name) = out.file_name() else {
        return;
    };
    let start = format!("{}.scratch-", name.to_string_lossy());
    let beside = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Ok(entries) = std::fs::read_dir(beside) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(&start) {
            continue;
        }
        let folder = entry.path();
        match remove_if_left(&folder) {
            Ok(true) => logs::note(&format!(
                "removed {}, which an earlier attempt left",
                folder.display()
            )),
            Ok(false) => {}
            Err(error) => logs::note(&format!("{} is left behind: {error}", folder.display())),
        }
    }
}

fn remove_if_left(folder: &Path) -> io::Result<bool> {
    let lock = match File::open(folder.join(LOCK)) {
        Ok(lock) => lock,
        // It is being made, or somebody removes it. Left at that moment it is empty, and so is gone with this.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(std::fs::remove_dir(folder).is_ok());
        }
        Err(error) => return Err(error),
    };
    match lock.try_lock() {
        Ok(()) => std::fs::remove_dir_all(folder).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn what_nobody_works_in_any_more_is_removed_and_nothing_else() {
        let beside = TempDir::new().unwrap();
        let path = |name: &str| beside.path().join(name);
        let out = path("train.parquet");
        let filled = |name: &str| {
            let folder = path(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("copy.parquet"), "rows").unwrap();
            folder
        };
        let left = filled("train.parquet.scratch-1");
        std::fs::write(left.join(LOCK), "").unwrap();
        let in_use = filled("train.parquet.scratch-2");
        let held = lock(&in_use).unwrap();
        // Not of this program, and without a lock to say that nobody is in it.
        let foreign = filled("train.parquet.scratch-mine");
        let other = filled("other.parquet.scratch-1");
        std::fs::write(other.join(LOCK), "").unwrap();
        let empty = path("train.parquet.scratch-3");
        std::fs::create_dir(&empty).unwrap();

        let scratch = Scratch::make(&out).unwrap();
        let own = scratch.path().to_owned();
        for (folder, is_there) in [
            (&left, false),
            (&in_use, true),
            (&foreign, true),
            (&other, true),
            (&empty, false),
            (&own, true),
        ] {
            assert_eq!(folder.exists(), is_there, "{}", folder.display());
        }
        // One at work is not removed by the next.
        remove_left(&out);
        assert!(own.exists());
        drop((scratch, held));
        assert!(!own.exists());
        remove_left(&out);
        assert!(!in_use.exists());
        let nowhere = Scratch::make(&path("nowhere/train.parquet"));
        assert!(nowhere.is_err());
    }
}
