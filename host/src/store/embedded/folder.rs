//! The place that a store lives in, a folder of this machine or a prefix of a bucket:
//!
//! ```text
//! store.json                                  {"layout":2}: what makes the folder a store
//! declarations/<group>/<feature>@<version>.json
//! epochs/<pipeline>                           the last epoch of a pipeline
//! runs/<pipeline>                             what is said of a run that is not over
//! swaps/<pipeline>                            what is said of the generations of its transform
//! components/<digest>                         the components that they are
//! lanes/<pipeline>/<n>/                       the database of lane n of a pipeline
//! lanes/<pipeline>/<n>.lock                   of a folder alone: locked by the process that writes to it
//! ```
//!
//! Names of pipelines, groups and features are percent-encoded where they hold anything but ASCII letters, digits,
//! `_` and `-`. A reader in another process sees all of a file or nothing of it. In a bucket there are no locks: a
//! lane is opened by whoever comes last, and its database then refuses what the one before writes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Error, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    UpdateVersion,
};
use slatedb_common::retry::should_retry;

use super::bucket::Bucket;
use super::disk::Disk;
use crate::config::StorePlace;
use crate::store::StoreError;

/// The layout of the folder that this code writes, and the only one that it reads.
pub(super) const LAYOUT: u64 = 2;

const MARKER: &str = "store.json";
pub(super) const LANES: &str = "lanes";

/// How often an object is asked for of a bucket that may not be there at all, before that is an error.
const TRIES: u32 = 5;
/// Time between two of them, which doubles up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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
pub(super) struct Folder {
    /// As it is shown; of a bucket its URL.
    shown: PathBuf,
    objects: Arc<dyn ObjectStore>,
    /// Of a bucket.
    bucket: Option<Arc<Bucket>>,
    /// Whether a bucket that does not answer is waited for however long it takes.
    waits: bool,
}

/// A small file as it was read.
pub(super) struct Found {
    pub(super) bytes: Bytes,
    version: UpdateVersion,
}

impl Folder {
    /// Makes the folder a store unless it is one.
    pub(super) async fn create(place: &StorePlace) -> Result<Self, StoreError> {
        if let Some(path) = place.folder() {
            make_folder(path)?;
        }
        let mut folder = Self::at(place)?;
        if folder.read(MARKER).await?.is_none() {
            // A stray file would be taken for a part of the store, or the store for a part of something else. What a
            // start that was killed left of its own marker is no stray.
            let stray = folder
                .names("")
                .await?
                .into_iter()
                .find(|name| !name.ends_with(".partial") && name != MARKER);
            // Another process may have made the store since it was looked for.
            if let Some(stray) = stray
                && folder.read(MARKER).await?.is_none()
            {
                return Err(StoreError::NotAStore {
                    folder: folder.shown,
                    reason: format!(
                        "it holds {stray:?} and no store.json; a new store needs an empty folder"
                    ),
                });
            }
            let marker = format!("{{\"layout\":{LAYOUT}}}\n");
            // Another process may make the same store at the same time, of whatever layout.
            folder.put_if(MARKER, marker.into(), None).await?;
        }
        folder.check_layout().await?;
        if let Some(path) = place.folder() {
            make_folder(&path.join(LANES))?;
        }
        folder.waits = true;
        Ok(folder)
    }

    /// Takes a folder that is a store already.
    pub(super) async fn open(place: &StorePlace) -> Result<Self, StoreError> {
        let not_a_store = |reason: &str| StoreError::NotAStore {
            folder: PathBuf::from(place.to_string()),
            reason: reason.to_owned(),
        };
        match place.folder() {
            Some(path) if !path.exists() => return Err(not_a_store("it does not exist")),
            Some(path) if !path.is_dir() => return Err(not_a_store("it is no folder")),
            _ => {}
        }
        let folder = Self::at(place)?;
        if folder.read(MARKER).await?.is_none() {
            // A bucket that is not there has no such object either; its listing says so.
            folder.names("").await?;
            return Err(not_a_store("it has no store.json"));
        }
        folder.check_layout().await?;
        Ok(folder)
    }

    fn at(place: &StorePlace) -> Result<Self, StoreError> {
        match place {
            StorePlace::Folder(path) => {
                let disk = Disk::open(path).map_err(|e| local("open", path, &e))?;
                Ok(Self {
                    shown: path.clone(),
                    objects: Arc::new(disk),
                    bucket: None,
                    waits: false,
                })
            }
            StorePlace::Objects { url, options } => {
                let bucket = Arc::new(Bucket::open(url, options)?);
                Ok(Self {
                    shown: PathBuf::from(bucket.shown()),
                    objects: Arc::clone(&bucket) as Arc<dyn ObjectStore>,
                    bucket: Some(bucket),
                    waits: false,
                })
            }
        }
    }

    async fn check_layout(&self) -> Result<(), StoreError> {
        let path = self.shown.join(MARKER);
        let marker = self.read(MARKER).await?;
        let layout = marker
            .and_then(|found| serde_json::from_slice::<serde_json::Value>(&found.bytes).ok())
            .and_then(|value| value.get("layout")?.as_u64())
            .ok_or_else(|| StoreError::Damaged {
                path: path.clone(),
                reason: "it names no layout".to_owned(),
            })?;
        match layout {
            LAYOUT => Ok(()),
            found => Err(StoreError::Layout {
                path,
                found,
                expected: LAYOUT,
            }),
        }
    }

    /// Locks a lane for writing until the file is dropped, or the process ends. There are no locks in a bucket.
    /// Blocks on the file system.
    pub(super) fn lock(&self, lane: &LaneName) -> Result<Option<File>, StoreError> {
        if self.is_remote() {
            return Ok(None);
        }
        let path = self.shown.join(LANES).join(format!("{}.lock", lane.path()));
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(|source| StoreError::Io {
            doing: "open",
            path: path.clone(),
            source,
        })?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy {
                folder: self.shown.clone(),
                pipeline: lane.pipeline.clone(),
                lane: lane.number,
            }),
            // Some network file systems know no locks; there the database notices a second writer.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(file)),
        }
    }

    /// As people write it.
    pub(super) fn path(&self) -> &FsPath {
        &self.shown
    }

    /// Whether it is in a bucket.
    pub(super) fn is_remote(&self) -> bool {
        self.bucket.is_some()
    }

    /// Everything in it, by paths from its root.
    pub(super) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// Where the database of a lane is, for messages.
    pub(super) fn lane(&self, lane: &LaneName) -> PathBuf {
        self.shown.join(LANES).join(lane.path())
    }

    /// The pipelines that have lanes, in order.
    pub(super) async fn pipelines(&self) -> Result<Vec<String>, StoreError> {
        let names = self.names(LANES).await?;
        let mut pipelines: Vec<String> =
            names.iter().filter_map(|name| decode_name(name)).collect();
        pipelines.sort_unstable();
        Ok(pipelines)
    }

    /// The lanes of a pipeline in ascending order, with some that are just being made: see [`Folder::is_made`].
    pub(super) async fn lanes_of(&self, pipeline: &str) -> Result<Vec<LaneName>, StoreError> {
        let within = format!("{LANES}/{}", encode_name(pipeline));
        let names = self.names(&within).await?;
        let mut lanes: Vec<LaneName> = names
            .iter()
            .filter_map(|name| {
                Some(LaneName {
                    pipeline: pipeline.to_owned(),
                    number: name.parse().ok()?,
                })
            })
            .collect();
        lanes.sort_unstable();
        Ok(lanes)
    }

    /// Whether a lane's database is there. One that is just being made has no manifest yet, and nothing to read.
    pub(super) async fn is_made(&self, lane: &LaneName) -> Result<bool, StoreError> {
        let within = format!("{LANES}/{}/manifest", lane.path());
        Ok(!self.names(&within).await?.is_empty())
    }

    /// All files of a lane's database.
    pub(super) async fn files_of(&self, lane: &LaneName) -> Result<Vec<ObjectMeta>, StoreError> {
        let within = format!("{LANES}/{}", lane.path());
        let path = parsed(&within);
        let listed = self
            .patiently(|| self.objects.list(Some(&path)).try_collect().boxed())
            .await;
        listed.map_err(|e| self.fault("read", &within, &e))
    }

    /// A small file; none if it is not there.
    pub(super) async fn read(&self, name: &str) -> Result<Option<Found>, StoreError> {
        let path = parsed(name);
        let read = || {
            let read = async {
                let found = self.objects.get(&path).await?;
                let version = UpdateVersion {
                    e_tag: found.meta.e_tag.clone(),
                    version: found.meta.version.clone(),
                };
                let bytes = found.bytes().await?;
                Ok(Found { bytes, version })
            };
            read.boxed()
        };
        match self.patiently(read).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.fault("read", name, &error)),
        }
    }

    /// Writes a small file whole, durably.
    pub(super) async fn write(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let path = parsed(name);
        let put = || self.objects.put(&path, bytes.clone().into()).boxed();
        self.patiently(put)
            .await
            .map(|_| ())
            .map_err(|e| self.fault("write", name, &e))
    }

    /// Writes a small file whole if it is as it was `found`, or is not there if none was; durably. Says whether it
    /// did. It may say that it did not where it did: an answer can get lost.
    pub(super) async fn put_if(
        &self,
        name: &str,
        bytes: Bytes,
        found: Option<Found>,
    ) -> Result<bool, StoreError> {
        let path = parsed(name);
        let mode = found.map_or(PutMode::Create, |found| PutMode::Update(found.version));
        let options = PutOptions::from(mode);
        let put = || {
            let payload = PutPayload::from_bytes(bytes.clone());
            self.objects.put_opts(&path, payload, options.clone())
        };
        match self.patiently(put).await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(self.fault("write", name, &error)),
        }
    }

    /// Removes a small file, durably; one that is not there is gone already.
    pub(super) async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = parsed(name);
        match self.patiently(|| self.objects.delete(&path).boxed()).await {
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.fault("remove", name, &error)),
            Ok(()) if self.is_remote() => Ok(()),
            Ok(()) => {
                // The object store syncs what is put, and not what is removed.
                let file = self.shown.join(name);
                let within = file.parent().unwrap_or(&self.shown);
                let synced = File::open(within).and_then(|folder| folder.sync_all());
                synced.map_err(|source| StoreError::Io {
                    doing: "sync",
                    path: within.to_owned(),
                    source,
                })
            }
        }
    }

    /// The names in a folder, unordered; none when it does not exist.
    pub(super) async fn names(&self, within: &str) -> Result<Vec<String>, StoreError> {
        let path = parsed(within);
        let prefix = (!within.is_empty()).then_some(&path);
        let list = || self.objects.list_with_delimiter(prefix);
        let listed = self
            .patiently(list)
            .await
            .map_err(|e| self.fault("read", within, &e))?;
        let files = listed.objects.iter().map(|file| &file.location);
        let names = files.chain(&listed.common_prefixes);
        Ok(names
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect())
    }

    /// Does something again as long as a bucket fails to answer. A disk's failures are final.
    async fn patiently<'a, T>(
        &self,
        ask: impl Fn() -> BoxFuture<'a, Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let (mut tries, mut pause) = (1, FIRST_PAUSE);
        loop {
            match ask().await {
                Err(error) if should_retry(&error) && (self.waits || tries < TRIES) => {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "nothing tells when a service is well again"
                    )]
                    tokio::time::sleep(pause).await;
                    (tries, pause) = (tries + 1, (2 * pause).min(LONGEST_PAUSE));
                }
                answer => return answer,
            }
        }
    }

    fn fault(&self, doing: &'static str, name: &str, error: &Error) -> StoreError {
        match &self.bucket {
            Some(bucket) => StoreError::Objects(bucket.explain(name, error)),
            None => local(doing, &self.shown.join(name), error),
        }
    }
}

/// What a disk said, without what is put around it.
fn local(doing: &'static str, path: &FsPath, error: &Error) -> StoreError {
    let mut cause: &dyn std::error::Error = error;
    let mut kind = ErrorKind::Other;
    while let Some(inner) = cause.source() {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            kind = io.kind();
        }
        cause = inner;
    }
    StoreError::Io {
        doing,
        path: path.to_owned(),
        source: std::io::Error::new(kind, cause.to_string()),
    }
}

/// Creates a folder and the folders above it.
fn make_folder(path: &FsPath) -> Result<(), StoreError> {
    std::fs::create_dir_all(path).map_err(|source| StoreError::Io {
        doing: "create",
        path: path.to_owned(),
        source,
    })
}

/// The path of a name whose parts are encoded.
pub(super) fn parsed(name: &str) -> Path {
    Path::parse(name).expect("encoded names have nothing that a path may not have")
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
