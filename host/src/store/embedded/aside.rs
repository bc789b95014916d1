//! A lane's live state as it was at a moment, to be read while the lane works on.
//!
//! It is a checkpoint of the engine like a snapshot, under another name, and is forgotten when whoever reads it is done.
//! What a crash leaves behind is forgotten by the engine when its time is over.

use std::ops::Bound;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStore;
use slatedb::DbReader;
use slatedb::admin::AdminBuilder;
use slatedb::config::{CheckpointOptions, CheckpointScope};

use super::folder::parsed;
use super::keys::Keyspace;
use super::{EmbeddedStore, LiveLane, engine};
use crate::store::StoreError;

/// What the engine calls them.
const NAME: &str = "penstock-aside";

/// For how long it stays where nobody forgets it.
const LASTS: Duration = Duration::from_secs(15 * 60);

/// Pairs, and bytes of them, that are read at once.
const PAIRS: usize = 1 << 13;
const BYTES: usize = 4 << 20;

/// What a lane's live state was.
pub struct Aside {
    reader: DbReader,
    objects: Arc<dyn ObjectStore>,
    /// Where the lane's database is, and its checkpoint there.
    place: String,
    checkpoint: String,
    path: PathBuf,
}

impl EmbeddedStore {
    /// Sets aside what the live state of a lane is now, of everything that it wrote.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when that cannot be done.
    pub async fn set_aside(&self, lane: &LiveLane) -> Result<Aside, StoreError> {
        let opened = lane.state.lane();
        let fault = |e: &slatedb::Error| engine("set aside the state of", &opened.path, e);
        opened.flush().await?;
        let options = CheckpointOptions {
            name: Some(NAME.to_owned()),
            lifetime: Some(LASTS),
            ..CheckpointOptions::default()
        };
        let taken = opened.db.create_checkpoint(CheckpointScope::All, &options);
        let checkpoint = taken.await.map_err(|e| fault(&e))?.id.to_string();
        Ok(Aside {
            reader: self.snapshot(&lane.name, &checkpoint).await?,
            objects: Arc::clone(&self.storage.objects),
            place: lane.name.path(),
            checkpoint,
            path: opened.path.clone(),
        })
    }
}

impl Aside {
    /// The pairs whose keys begin with `prefix` and come after `after`, by rising keys: as many as are good to have in
    /// memory at once, and none when there are no more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn pairs(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let fault = |e: &slatedb::Error| engine("read what was set aside of", &self.path, e);
        let live = Keyspace::Live.prefix();
        let first = match after {
            Some(after) => Bound::Excluded([&live, after].concat()),
            None => Bound::Included([&live, prefix].concat()),
        };
        let range = (first, Bound::<Vec<u8>>::Unbounded);
        let mut found = self.reader.scan(range).await.map_err(|e| fault(&e))?;
        let (mut pairs, mut bytes) = (Vec::new(), 0);
        let all = [&live, prefix].concat();
        while pairs.len() < PAIRS
            && bytes < BYTES
            && let Some(pair) = found.next().await.map_err(|e| fault(&e))?
            && pair.key.starts_with(&all)
        {
            bytes += pair.key.len() + pair.value.len();
            pairs.push((pair.key.slice(live.len()..), pair.value));
        }
        Ok(pairs)
    }

    /// Forgets it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when that cannot be done; the engine forgets it when its time is over.
    pub async fn forget(self) -> Result<(), StoreError> {
        let fault = |e: &slatedb::Error| engine("forget what was set aside of", &self.path, e);
        // A reader has nothing to lose.
        let _ = self.reader.close().await;
        let checkpoint = FromStr::from_str(&self.checkpoint).map_err(|_| StoreError::Damaged {
            path: self.path.clone(),
            reason: format!("{:?} is no checkpoint", self.checkpoint),
        })?;
        let admin = AdminBuilder::new(parsed(&self.place), Arc::clone(&self.objects)).build();
        let gone = admin.delete_checkpoint(checkpoint).await;
        gone.map_err(|e| fault(&e))
    }
}
