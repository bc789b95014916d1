//! The epoch of each pipeline: a number that rises with every run and never falls.
//!
//! A file a pipeline, `epochs/<pipeline>`, with the last epoch in decimal. Writes of a later run carry a greater
//! epoch, so that they replace those of an earlier run at the same event time. It is written on the condition that
//! nobody else has written it since it was read, so that no two processes have one epoch.

use super::folder::{Folder, encode_name};
use crate::store::StoreError;

/// Takes the next epoch of a pipeline, durably.
pub(super) async fn begin(folder: &Folder, pipeline: &str) -> Result<u64, StoreError> {
    let name = format!("epochs/{}", encode_name(pipeline));
    loop {
        let found = folder.read(&name).await?;
        let last = match &found {
            None => 0,
            Some(found) => {
                let text = String::from_utf8_lossy(&found.bytes);
                text.trim().parse().map_err(|_| StoreError::Damaged {
                    path: folder.path().join(&name),
                    reason: format!("it holds {text:?} where a number belongs"),
                })?
            }
        };
        let next: u64 = last + 1;
        // Where somebody else was faster, or the answer to what we wrote was lost, the one after it is taken.
        if folder
            .put_if(&name, format!("{next}\n").into(), found)
            .await?
        {
            return Ok(next);
        }
    }
}
