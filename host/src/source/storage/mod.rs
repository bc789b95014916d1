//! Recorded files on object storage and the web: S3, Google Cloud Storage, Azure, HTTP, `file://`.
//!
//! In come URLs as people write them, with the options of their environment. Out come
//! [`Recording`]s: found by listing where a URL is a glob or a folder, read in ranges ahead of
//! whoever decodes them, and resumed where a connection broke. What records live streams writes to a
//! folder there ([`RemoteFolder`]). The only room of sources that knows `object_store`; what stores
//! are called and how they are opened is in `objects`.
//!
//! An object that changes while it is read gives an error, never rows of two versions. No error
//! shows a secret. Requests run on the I/O runtime; whoever reads blocks, and so must never be one
//! of its tasks.

mod fetch;
mod listing;
mod object;
mod reader;
mod writing;

use std::collections::HashMap;
use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use self::fetch::Traffic;
use self::listing::Wanted;
use self::object::RemoteObject;
pub use self::writing::{Put, RemoteFolder};
use super::recording::Recording;
use crate::config::StoreOptions;
use crate::objects::{Hidden, StoreUrl, at, open, retries};
pub use crate::objects::{KNOWN_OPTIONS, StorageError, StorageFault, unknown_options};

/// The object stores of an environment.
pub struct Objects {
    options: StoreOptions,
    hidden: Arc<Hidden>,
    io: Handle,
    traffic: Arc<Traffic>,
    /// Opened stores, by scheme and authority.
    stores: HashMap<String, Arc<dyn ObjectStore>>,
}

impl Objects {
    /// Stores that are opened with `options`, beside the environment variables that are usual for
    /// each (`AWS_…`, `GOOGLE_…`, `AZURE_…`), and asked on the runtime of `io`.
    pub fn new(options: &StoreOptions, io: &Handle) -> Self {
        Self {
            hidden: Arc::new(Hidden::gather(options)),
            options: options.clone(),
            io: io.clone(),
            traffic: Arc::default(),
            stores: HashMap::new(),
        }
    }

    /// The files that a URL stands for, sorted by path; at least one. `is_recording` says of the
    /// names in a folder which are wanted.
    ///
    /// # Errors
    ///
    /// The URL means nothing, nothing matches it, or the store does not answer, or refuses.
    pub fn find(
        &mut self,
        url: &str,
        is_recording: impl Fn(&str) -> bool,
    ) -> Result<Vec<Arc<dyn Recording>>, StorageError> {
        let url = StoreUrl::parse(url)?;
        let store = self.store(&url)?;
        let hidden = Arc::clone(&self.hidden);
        let wanted = Wanted::of(&url)?;
        let found = self.io.block_on(async {
            match &wanted {
                Wanted::Object(path) => store.head(path).await.map(|found| vec![found]),
                wanted => wanted.list(&store).await,
            }
        });
        let mut found = match (found, &wanted) {
            (Ok(found), _) => found,
            (Err(error), Wanted::Object(path)) => {
                // A missing bucket answers a HEAD just as a missing object does; a listing says which.
                let listed = self.io.block_on(listing::is_there(&store, path, &error));
                return Err(at(&url, &hidden, &listed.err().unwrap_or(error)));
            }
            (Err(error), _) => return Err(at(&url, &hidden, &error)),
        };
        if !matches!(wanted, Wanted::Object(_)) {
            listing::leave_out_markers(&mut found, &is_recording);
        }
        found.retain(|object| wanted.takes(object.location.as_ref(), &is_recording));
        found.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        if found.is_empty() {
            return Err(wanted.nothing(&url));
        }
        let objects = found.into_iter().map(|found| {
            let name = url.name_of(found.location.as_ref());
            Arc::new(RemoteObject::new(
                Arc::clone(&store),
                found,
                name,
                Arc::clone(&self.traffic),
                Arc::clone(&hidden),
                self.io.clone(),
            )) as Arc<dyn Recording>
        });
        Ok(objects.collect())
    }

    fn store(&mut self, url: &StoreUrl) -> Result<Arc<dyn ObjectStore>, StorageError> {
        if let Some(store) = self.stores.get(url.base()) {
            return Ok(Arc::clone(store));
        }
        let store =
            open(url, &self.options, retries()).map_err(|error| at(url, &self.hidden, &error))?;
        self.stores
            .insert(url.base().to_owned(), Arc::clone(&store));
        Ok(store)
    }
}

#[cfg(test)]
mod tests;
