//! What the lanes of a store share: the disk or the bucket, and a cache of what was read from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::ObjectStore;
use object_store::prefix::PrefixStore;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::db_cache::{DbCache, SplitCache};

use super::counted::{Counted, StoreRequests};
use super::disk::Disk;
use super::folder::{Folder, LANES};
use crate::store::StoreError;

/// How many bytes of tables' indexes and filters all lanes of a store together keep in memory. Every read asks them,
/// and without a cache would load and check them whole.
const INDEX_BYTES: u64 = 48 << 20;

/// The same for blocks. They have a cache of their own: one that counts how often its entries are used never takes
/// an index of a megabyte in place of hundreds of blocks.
const BLOCK_BYTES: u64 = 6 << 20;

/// The objects and the cache of one open store.
#[derive(Clone)]
pub(super) struct Storage {
    /// The databases of the lanes, by their paths.
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) cache: Arc<dyn DbCache>,
    scopes: Arc<AtomicU64>,
}

impl Storage {
    /// Opens the folder of a store's lanes.
    pub(super) fn open(folder: &Folder) -> Result<Self, StoreError> {
        if folder.is_remote() {
            let objects = Arc::clone(folder.objects());
            return Ok(Self::on(Arc::new(PrefixStore::new(objects, LANES))));
        }
        let lanes = folder.path().join(LANES);
        let disk = Disk::open(&lanes).map_err(|e| StoreError::Io {
            doing: "open",
            path: lanes,
            source: std::io::Error::other(e),
        })?;
        Ok(Self::on(Arc::new(disk)))
    }

    /// Takes an object store whose root holds the lanes.
    pub(super) fn on(objects: Arc<dyn ObjectStore>) -> Self {
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
            objects,
            cache: Arc::new(caches.build()),
            scopes: Arc::default(),
        }
    }

    /// The objects, for one lane whose requests are counted.
    pub(super) fn counted(&self) -> (Arc<dyn ObjectStore>, Arc<StoreRequests>) {
        let counted = Counted::new(Arc::clone(&self.objects));
        let requests = Arc::clone(counted.requests());
        (Arc::new(counted), requests)
    }

    /// A part of the cache for a database, which shares it with no other.
    pub(super) fn scope(&self) -> u64 {
        self.scopes.fetch_add(1, Ordering::Relaxed)
    }
}
