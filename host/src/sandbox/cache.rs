//! The cache of ahead-of-time compiled components.
//!
//! What it holds is native code, so it is trusted like the program itself: the folder belongs to
//! this user alone, and every entry carries an HMAC-SHA-256 under a key that never leaves the
//! folder. An entry whose tag does not hold is treated as absent and replaced.
//!
//! Layout of a folder: `key` (32 random bytes), and for each entry a file
//! `<sha-256 of the component>-<compatibility of the engine>.aot`, which is the tag (32 bytes) and
//! then the code. The tag covers the file's name and the code.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::SandboxError;

const TAG_BYTES: usize = 32;

/// A private folder of compiled components.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    key: [u8; 32],
}

impl Cache {
    /// Opens the folder, and makes it with a fresh key when it is not there.
    ///
    /// # Errors
    ///
    /// The folder belongs to somebody else or others may write to it, or it cannot be made or read.
    pub(super) fn open(folder: &Path) -> Result<Self, SandboxError> {
        let fault = |what: String| {
            SandboxError::Cache(format!(
                "{what}; choose another folder with PENSTOCK_CACHE, or remove this one"
            ))
        };
        let shown = folder.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| fault(format!("cannot make the cache folder {shown}: {error}")))?;
        let metadata = fs::metadata(folder)
            .map_err(|error| fault(format!("cannot read the cache folder {shown}: {error}")))?;
        if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
            return Err(fault(format!(
                "the cache folder {shown} holds native code, so it must belong to this user and be closed to others (mode 0700)"
            )));
        }
        let key = read_key(&folder.join("key"))
            .map_err(|error| fault(format!("cannot read or make the key in {shown}: {error}")))?;
        Ok(Self {
            folder: folder.to_owned(),
            key,
        })
    }

    /// The code of an entry, or nothing if there is none that this host made.
    pub(super) fn get(&self, entry: &str) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.path(entry)).ok()?;
        if bytes.len() < TAG_BYTES {
            return None;
        }
        let code = bytes.split_off(TAG_BYTES);
        match self.tag(entry, &code).verify_slice(&bytes) {
            Ok(()) => Some(code),
            Err(_) => {
                tracing::warn!(
                    entry,
                    "a cached component was not made by this host; it is compiled anew"
                );
                None
            }
        }
    }

    /// Keeps the code of an entry. A cache that cannot be written costs time, not correctness.
    pub(super) fn put(&self, entry: &str, code: &[u8]) {
        if let Err(error) = self.write(entry, code) {
            tracing::warn!(%error, folder = %self.folder.display(), "cannot keep a compiled component");
        }
    }

    fn write(&self, entry: &str, code: &[u8]) -> std::io::Result<()> {
        let (mut file, unfinished) = create_beside(&self.path(entry))?;
        let written = file
            .write_all(&self.tag(entry, code).finalize().into_bytes())
            .and_then(|()| file.write_all(code))
            .and_then(|()| fs::rename(&unfinished, self.path(entry)));
        if written.is_err() {
            // What is half written must not stay; that it may not be removable changes nothing.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    fn path(&self, entry: &str) -> PathBuf {
        self.folder.join(format!("{entry}.aot"))
    }

    fn tag(&self, entry: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut tag =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of every length");
        tag.update(entry.as_bytes());
        tag.update(&[0]);
        tag.update(code);
        tag
    }
}

fn read_key(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut key = [0; 32];
    match fs::File::open(path) {
        Ok(mut file) => {
            file.read_exact(&mut key)?;
            return Ok(key);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    key = random()?;
    // Written aside and linked, so that of two processes that start at once both end with one whole
    // key; and on the disk before it has its name, so that no power cut leaves a key of nothing.
    let (mut file, unfinished) = create_beside(path)?;
    let linked = file
        .write_all(&key)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&unfinished, path));
    match fs::remove_file(&unfinished) {
        // Somebody cleaned up the folder; the key has its own name, or `linked` says why not.
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match linked {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::File::open(path)?.read_exact(&mut key)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

/// Makes a file in the folder of `path` that nobody else writes. Processes in different containers
/// that share the folder may well have the same id, so the name is random.
fn create_beside(path: &Path) -> std::io::Result<(fs::File, PathBuf)> {
    let unfinished = path.with_extension(format!("{:016x}", u64::from_ne_bytes(random()?)));
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    Ok((file, unfinished))
}

fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_entry_comes_back_until_somebody_touches_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("cache");
        let cache = Cache::open(&folder).unwrap();
        cache.put("a", b"code");
        assert_eq!(cache.get("a").as_deref(), Some(b"code".as_slice()));
        assert_eq!(cache.get("b"), None);
        assert_eq!(
            Cache::open(&folder).unwrap().get("a").as_deref(),
            Some(b"code".as_slice())
        );

        fs::rename(cache.path("a"), cache.path("b")).unwrap();
        assert_eq!(cache.get("b"), None, "an entry under another name");

        cache.put("a", b"code");
        let mut bytes = fs::read(cache.path("a")).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(cache.path("a"), bytes).unwrap();
        assert_eq!(cache.get("a"), None, "a flipped bit");

        fs::write(cache.path("a"), b"short").unwrap();
        assert_eq!(cache.get("a"), None, "a torn file");
    }

    #[test]
    fn processes_that_start_at_once_share_one_key_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("cache");
        let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let opened: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let cache = Cache::open(&folder).unwrap();
                        cache.put("a", b"code");
                        cache.key
                    })
                })
                .collect();
            opened.into_iter().map(|key| key.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        let mut names: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["a.aot", "key"]);
    }

    #[test]
    fn a_folder_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = Cache::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("0700") && error.contains("PENSTOCK_CACHE"),
            "{error}"
        );
    }
}
