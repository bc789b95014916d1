//! What the lanes of a store share: the disk, and a cache of what was read from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::ObjectStore;
use slatedb::db_cache::DbCache;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};

use super::disk::Disk;
use super::folder::Folder;
use crate::store::StoreError;

/// How many bytes of blocks and indexes all lanes of a store together keep in memory. Without a cache every read
/// would load and check a table's whole index.
const CACHE_BYTES: u64 = 48 << 20;

/// The disk and the cache of one open store.
#[derive(Clone)]
pub(super) struct Storage {
    pub(super) disk: Arc<dyn ObjectStore>,
    pub(super) cache: Arc<dyn DbCache>,
    scopes: Arc<AtomicU64>,
}

impl Storage {
    /// Opens the folder of a store's lanes.
    pub(super) fn open(folder: &Folder) -> Result<Self, StoreError> {
        let lanes = folder.lanes();
        let disk = Disk::open(&lanes).map_err(|e| StoreError::Io {
            doing: "open",
            path: lanes,
            source: std::io::Error::other(e),
        })?;
        Ok(Self::on(Arc::new(disk)))
    }

    /// Takes an object store whose root holds the lanes.
    pub(super) fn on(disk: Arc<dyn ObjectStore>) -> Self {
        let options = MokaCacheOptions {
            max_capacity: CACHE_BYTES,
            ..MokaCacheOptions::default()
        };
        Self {
            disk,
            cache: Arc::new(MokaCache::new_with_opts(options)),
            scopes: Arc::default(),
        }
    }

    /// A part of the cache for a database, which shares it with no other.
    pub(super) fn scope(&self) -> u64 {
        self.scopes.fetch_add(1, Ordering::Relaxed)
    }
}
