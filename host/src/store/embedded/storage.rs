//! What the lanes of a store share: the disk, and a cache of what was read from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::ObjectStore;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::db_cache::{DbCache, SplitCache};

use super::disk::Disk;
use super::folder::Folder;
use crate::store::StoreError;

/// How many bytes of tables' indexes and filters all lanes of a store together keep in memory. Every read asks them,
/// and without a cache would load and check them whole.
const INDEX_BYTES: u64 = 48 << 20;

/// The same for blocks. They have a cache of their own: one that counts how often its entries are used never takes
/// an index of a megabyte in place of hundreds of blocks.
const BLOCK_BYTES: u64 = 12 << 20;

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
        let cache = |bytes| {
            let options = MokaCacheOptions {
                max_capacity: bytes,
                ..MokaCacheOptions::default()
            };
            Some(Arc::new(MokaCache::new_with_opts(options)) as Arc<dyn DbCache>)
        };
        let caches = SplitCache::new()
            .with_meta_cache(cache(INDEX_BYTES))
            .with_block_cache(cache(BLOCK_BYTES));
        Self {
            disk,
            cache: Arc::new(caches.build()),
            scopes: Arc::default(),
        }
    }

    /// A part of the cache for a database, which shares it with no other.
    pub(super) fn scope(&self) -> u64 {
        self.scopes.fetch_add(1, Ordering::Relaxed)
    }
}
