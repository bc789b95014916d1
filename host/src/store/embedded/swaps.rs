//! What is said of the generations of a pipeline's transform, and the components that they are.
//!
//! A file a pipeline, `swaps/<pipeline>`, whose text means nothing here; and a file for each component that was ever
//! asked for, `components/<digest>`, so that hosts can go back to it whatever has become of where it came from. The
//! text is written on the condition that nobody else has written it since it was read. Whoever reads a component checks
//! its digest: the place is as little trusted as any other.

use bytes::Bytes;

use super::folder::{Folder, Found, encode_name};
use super::{EmbeddedReader, EmbeddedStore};
use crate::store::StoreError;

/// What was said of a pipeline's generations, as it was read.
pub struct SaidOfSwaps {
    /// The text; empty if nothing was said yet.
    pub text: String,
    found: Option<Found>,
}

impl EmbeddedStore {
    /// What is said of a pipeline's generations.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn swaps(&self, pipeline: &str) -> Result<SaidOfSwaps, StoreError> {
        read(&self.folder, pipeline).await
    }

    /// Says something of a pipeline's generations, durably, if nobody else has done so since `said` was read. Says
    /// whether it did; where an answer was lost it may have done so all the same.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be written.
    pub async fn set_swaps(
        &self,
        pipeline: &str,
        said: SaidOfSwaps,
        text: String,
    ) -> Result<bool, StoreError> {
        self.folder
            .put_if(&file(pipeline), text.into(), said.found)
            .await
    }

    /// The bytes that are kept under a digest; none if there are none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be read.
    pub async fn component(&self, digest: &str) -> Result<Option<Bytes>, StoreError> {
        let found = self.folder.read(&component(digest)).await?;
        Ok(found.map(|found| found.bytes))
    }

    /// Keeps the bytes of a component under their digest, durably, over whatever is there.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be written.
    pub async fn keep_component(&self, digest: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.folder.write(&component(digest), bytes).await
    }
}

impl EmbeddedReader {
    /// What is said of a pipeline's generations; empty if nothing is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn swaps(&self, pipeline: &str) -> Result<String, StoreError> {
        Ok(read(&self.folder, pipeline).await?.text)
    }
}

fn file(pipeline: &str) -> String {
    format!("swaps/{}", encode_name(pipeline))
}

fn component(digest: &str) -> String {
    format!("components/{}", encode_name(digest))
}

async fn read(folder: &Folder, pipeline: &str) -> Result<SaidOfSwaps, StoreError> {
    let name = file(pipeline);
    let found = folder.read(&name).await?;
    let text = match &found {
        None => String::new(),
        Some(found) => {
            let text = String::from_utf8(found.bytes.to_vec());
            text.map_err(|_| StoreError::Damaged {
                path: folder.path().join(&name),
                reason: "it is no text".to_owned(),
            })?
        }
    };
    Ok(SaidOfSwaps { text, found })
}
