//! What is said of a pipeline's run that keeps what it does, as long as it is not over.
//!
//! A file a pipeline, `runs/<pipeline>`, whose text means nothing here. It is there from the beginning of such a run to
//! its end, so that it tells an interrupted run from one that is over, whatever lanes have kept.

use super::folder::{Folder, encode_name};
use crate::store::StoreError;

fn file(pipeline: &str) -> String {
    format!("runs/{}", encode_name(pipeline))
}

/// What is said of the run of a pipeline, if there is one.
pub(super) async fn read(folder: &Folder, pipeline: &str) -> Result<Option<String>, StoreError> {
    let name = file(pipeline);
    let Some(found) = folder.read(&name).await? else {
        return Ok(None);
    };
    let text = String::from_utf8(found.bytes.into());
    text.map(Some).map_err(|_| StoreError::Damaged {
        path: folder.path().join(name),
        reason: "it is no text".to_owned(),
    })
}

/// Says something of the run of a pipeline, durably, or that there is none.
pub(super) async fn write(
    folder: &Folder,
    pipeline: &str,
    run: Option<String>,
) -> Result<(), StoreError> {
    let name = file(pipeline);
    match run {
        Some(run) => folder.write(&name, run.into()).await,
        None => folder.remove(&name).await,
    }
}
