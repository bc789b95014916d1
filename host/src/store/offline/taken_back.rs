//! Writes that do not count any more: those of a version that was taken back.
//!
//! Files are never changed, and what was served is never denied. So a file of its own says which writes a lane has taken
//! back, and when, one for each time:
//!
//! ```text
//! PLACE/_taken_back/PIPELINE/lLANE-AFTER-UNTIL.json
//! {"pipeline": "rides", "lane": 0, "after": 7, "until": 9, "at": 1767225600000000}
//! ```
//!
//! No group is called so. Names of pipelines are written as in those of the other files, so who reads compares the one in
//! the text.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use object_store::{Error, ObjectStoreExt as _, PutMode, PutPayload};
use serde::{Deserialize, Serialize};

use super::OfflineStore;
use super::writer::plain;
use crate::store::StoreError;

/// The folder of these files.
pub(super) const FOLDER: &str = "_taken_back";

/// Writes of a lane that were taken back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TakenBack {
    /// The pipeline.
    pub pipeline: String,
    /// Its lane.
    pub lane: u32,
    /// They bear epochs above this one,
    pub after: u64,
    /// up to this one.
    pub until: u64,
    /// When that was, in microseconds since 1970-01-01T00:00:00Z. Until then they had been served.
    pub at: i64,
}

impl TakenBack {
    /// Whether it is about a write.
    #[must_use]
    pub fn has(&self, pipeline: &str, lane: u32, epoch: u64) -> bool {
        lane == self.lane && epoch > self.after && epoch <= self.until && pipeline == self.pipeline
    }
}

impl OfflineStore {
    /// Says that writes were taken back. That they were said to be before is fine: the time of then stays.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be written.
    pub async fn take_back(&self, writes: &TakenBack) -> Result<(), StoreError> {
        let TakenBack {
            lane, after, until, ..
        } = writes;
        let folder = plain(&writes.pipeline);
        let name = format!("{FOLDER}/{folder}/l{lane}-{after}-{until}.json");
        let text = serde_json::to_vec(writes).expect("it has only texts and numbers");
        let (path, text) = (self.path(&name), PutPayload::from(text));
        let put = self.objects.put_opts(&path, text, PutMode::Create.into());
        match put.await {
            Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(self.explain(&name, &error)),
        }
    }

    /// The writes of a pipeline that were taken back.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read, or is damaged.
    pub async fn taken_back(&self, pipeline: &str) -> Result<BTreeSet<TakenBack>, StoreError> {
        let folder = format!("{FOLDER}/{}", plain(pipeline));
        let path = self.path(&folder);
        let listed: Vec<_> = match self.objects.list(Some(&path)).try_collect().await {
            Ok(listed) => listed,
            Err(Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(self.explain(&folder, &error)),
        };
        let mut found = BTreeSet::new();
        for object in listed {
            let name = format!(
                "{folder}/{}",
                object.location.filename().unwrap_or_default()
            );
            let got = self.objects.get(&object.location).await;
            let got = got.map_err(|error| self.explain(&name, &error))?;
            let bytes = got.bytes().await;
            let bytes = bytes.map_err(|error| self.explain(&name, &error))?;
            let read = serde_json::from_slice::<TakenBack>(&bytes);
            found.insert(read.map_err(|error| self.damaged(&name, error.to_string()))?);
        }
        found.retain(|writes: &TakenBack| writes.pipeline == pipeline);
        Ok(found)
    }
}
