//! Looking at what lanes keep, while this or another process may be writing it.

use bytes::Bytes;

use super::folder::LaneName;
use super::keys::{Keyspace, item_parts, taken_back};
use super::reader::EmbeddedReader;
use super::state::Pairs;
use super::{LaneSize, runs};
use crate::store::{Before, StoreError};

/// What the log of a database is in.
const LOG: &str = "wal";

impl EmbeddedReader {
    /// Where the store is, as people write it.
    pub fn place(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// The pipelines that have lanes, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn pipelines(&self) -> Result<Vec<String>, StoreError> {
        self.folder.pipelines().await
    }

    /// What is said of the run of a pipeline that is not over, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn run(&self, pipeline: &str) -> Result<Option<String>, StoreError> {
        runs::read(&self.folder, pipeline).await
    }

    /// The lanes of a pipeline that can be read, in ascending order.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store cannot be read.
    pub async fn lanes(&self, pipeline: &str) -> Result<Vec<u32>, StoreError> {
        let mut made = Vec::new();
        for lane in self.folder.lanes_of(pipeline).await? {
            if self.folder.is_made(&lane).await? {
                made.push(lane.number);
            }
        }
        Ok(made)
    }

    /// What a lane keeps at a key.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn kept(
        &self,
        pipeline: &str,
        lane: u32,
        keyspace: Keyspace,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError> {
        let key = [&keyspace.prefix(), key].concat();
        self.lanes.get_of(&name(pipeline, lane), &key).await
    }

    /// All pairs that a lane keeps of a group, by rising keys: see [`super::LaneState::groups`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn kept_group(
        &self,
        pipeline: &str,
        lane: u32,
        keyspace: Keyspace,
        group: &[u8],
    ) -> Result<Pairs, StoreError> {
        self.some_kept(pipeline, lane, keyspace, group, usize::MAX)
            .await
    }

    /// The pairs that a lane keeps whose keys begin so, by rising keys: `most` of them, if there are so many. A beginning is
    /// that of a group, or one byte.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn some_kept(
        &self,
        pipeline: &str,
        lane: u32,
        keyspace: Keyspace,
        prefix: &[u8],
        most: usize,
    ) -> Result<Pairs, StoreError> {
        let keyspace = keyspace.prefix();
        let prefix = [&keyspace, prefix].concat();
        let lane = name(pipeline, lane);
        let pairs = self.lanes.some_of(&lane, &prefix, None, most).await?;
        let bare = pairs.into_iter();
        Ok(bare
            .map(|(key, value)| (key.slice(keyspace.len()..), value))
            .collect())
    }

    /// Items that a lane had served in a generation when it was taken back, from behind one of them on: `most` of them, if
    /// there are so many. Each has a mark, to go on behind it. They are there until the lane is put back again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn taken_back(
        &self,
        (pipeline, lane): (&str, u32),
        generation: u64,
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<(Bytes, Before)>, StoreError> {
        let (lane, prefix) = (name(pipeline, lane), taken_back(generation));
        let pairs = self.lanes.some_of(&lane, &prefix, after, most).await?;
        let items = pairs.into_iter().map(|(key, item)| {
            let parts = item_parts(&key[prefix.len()..]);
            let [group, entity, pipeline, window] = parts.ok_or_else(|| StoreError::Damaged {
                path: self.folder.lane(&lane),
                reason: "the key of an item that was taken back cannot be read".to_owned(),
            })?;
            let item = Before {
                group,
                pipeline,
                window,
                entity,
                item: Some(item),
            };
            Ok((key, item))
        });
        items.collect()
    }

    /// What a lane's database takes, and when its log was written last.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be listed.
    pub async fn size(&self, pipeline: &str, lane: u32) -> Result<LaneSize, StoreError> {
        let files = self.folder.files_of(&name(pipeline, lane)).await?;
        let mut size = LaneSize::default();
        for file in files {
            size.files += 1;
            size.bytes += file.size;
            let mut parts = file.location.parts().rev();
            let folder = parts.nth(1);
            // An empty one is a fence: it says that the lane was opened.
            if file.size > 0 && folder.is_some_and(|folder| folder.as_ref() == LOG) {
                let written = file.last_modified.timestamp_micros();
                size.log_written = size.log_written.max(Some(written));
            }
        }
        Ok(size)
    }
}

fn name(pipeline: &str, number: u32) -> LaneName {
    LaneName {
        pipeline: pipeline.to_owned(),
        number,
    }
}
