//! Telling the history of features which writes of a lane were taken back.
//!
//! The lane's database says it before anything is put back, and a task of the lane tells it on, for as long as the place of
//! the history does not take it. So a place that is away holds up no rollback, and nothing is forgotten.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::keeper::UNTOLD;
use crate::config::StorePlace;
use crate::store::StoreError;
use crate::store::embedded::LaneState;
use crate::store::offline::{OfflineStore, TakenBack};

/// How often it is tried.
const EVERY: Duration = Duration::from_secs(10);

/// The task of a lane, which ends with this.
pub(super) struct Withdrawing(JoinHandle<()>);

impl Withdrawing {
    /// Begins to tell what there is to tell of a lane.
    pub(super) fn begin(
        (pipeline, lane): (&str, u32),
        state: LaneState,
        place: &StorePlace,
        io: &Handle,
    ) -> Self {
        let (pipeline, place) = (pipeline.to_owned(), place.clone());
        Self(io.spawn(async move {
            let mut times = interval(EVERY);
            loop {
                times.tick().await;
                match tell(&pipeline, lane, &state, &place).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!(pipeline, lane, %error, "the history of features does not hear yet what was taken back; it is tried again");
                    }
                }
            }
        }))
    }
}

impl Drop for Withdrawing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn tell(
    pipeline: &str,
    lane: u32,
    state: &LaneState,
    place: &StorePlace,
) -> Result<(), StoreError> {
    let untold = state.pairs(UNTOLD, None).await?;
    if untold.is_empty() {
        return Ok(());
    }
    let history = OfflineStore::open(place)?;
    for (key, at) in untold {
        // What is damaged would be told wrongly.
        if let Some((after, until, at)) = decoded(&key, &at) {
            let writes = TakenBack {
                pipeline: pipeline.to_owned(),
                lane,
                after,
                until,
                at,
            };
            history.take_back(&writes).await?;
        } else {
            tracing::error!(
                pipeline,
                lane,
                "what was taken back of the history is damaged, and not told"
            );
        }
        let mut told = state.batch();
        told.remove(&key);
        state.apply(told).await?;
    }
    Ok(())
}

fn decoded(key: &[u8], at: &[u8]) -> Option<(u64, u64, i64)> {
    let epochs: [u8; 16] = key.strip_prefix(UNTOLD)?.try_into().ok()?;
    let (after, until) = epochs.split_at(8);
    Some((
        u64::from_be_bytes(after.try_into().ok()?),
        u64::from_be_bytes(until.try_into().ok()?),
        i64::from_be_bytes(at.try_into().ok()?),
    ))
}
