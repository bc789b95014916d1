//! What hosts found of versions that are tried beside those at work: a text a host, `shadows/<pipeline>/<shadow>/<host>`,
//! whose content means nothing here.

use super::EmbeddedStore;
use super::folder::encode_name;
use crate::store::StoreError;

impl EmbeddedStore {
    /// Says what a host has found of a shadow, over what it said before.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be written.
    pub async fn say_of_shadow(
        &self,
        pipeline: &str,
        shadow: u64,
        host: &str,
        text: String,
    ) -> Result<(), StoreError> {
        let name = format!("{}/{}", folder(pipeline, shadow), encode_name(host));
        self.folder.write(&name, text.into()).await
    }

    /// What all hosts have said of a shadow.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read.
    pub async fn said_of_shadow(
        &self,
        pipeline: &str,
        shadow: u64,
    ) -> Result<Vec<String>, StoreError> {
        let within = folder(pipeline, shadow);
        let mut said = Vec::new();
        for name in self.folder.names(&within).await? {
            if let Some(found) = self.folder.read(&format!("{within}/{name}")).await? {
                said.push(String::from_utf8_lossy(&found.bytes).into_owned());
            }
        }
        Ok(said)
    }

    /// Forgets what was said of a shadow.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be removed.
    pub async fn forget_shadow(&self, pipeline: &str, shadow: u64) -> Result<(), StoreError> {
        let within = folder(pipeline, shadow);
        for name in self.folder.names(&within).await? {
            self.folder.remove(&format!("{within}/{name}")).await?;
        }
        Ok(())
    }
}

fn folder(pipeline: &str, shadow: u64) -> String {
    format!("shadows/{}/{shadow}", encode_name(pipeline))
}
