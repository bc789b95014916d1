//! Why a lane cannot go on, or cannot commit.

use crate::pipeline::live::migrating::MigrationError;
use crate::store::StoreError;
use crate::window::StateError;

/// Why a lane cannot go on, or cannot commit.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What windows keep cannot be kept, or used.
    #[error("the state of lane {lane} cannot be used: {error}")]
    State {
        /// The lane.
        lane: u32,
        /// What is wrong.
        error: StateError,
    },
    /// What is kept is of another layout, or damaged.
    #[error(
        "the state of lane {lane} cannot be used: {reason}; use the build that wrote it, or begin anew with `--fresh`"
    )]
    Meta {
        /// The lane.
        lane: u32,
        /// What is wrong.
        reason: String,
    },
    /// The pipeline is not the one that left the state.
    #[error(
        "lane {lane} has state of this pipeline in which {what} was another: put that back, give the pipeline another name, or begin anew with `--fresh`"
    )]
    Other {
        /// The lane.
        lane: u32,
        /// What is not as it was.
        what: String,
    },
    /// The lane has gone on to a generation that this host does not know of yet.
    #[error(
        "lane {lane} is of generation {generation} already, and this host has generation {ours}: it looks again which one is wanted"
    )]
    Newer {
        /// The lane.
        lane: u32,
        /// Its generation.
        generation: u64,
        /// That of this host.
        ours: u64,
    },
    /// The lane's generation was taken back, and nobody knows what was before it.
    #[error(
        "lane {lane} began in generation {generation}, which was taken back: there is no snapshot from before it; begin anew with `--fresh`"
    )]
    NoWayBack {
        /// The lane.
        lane: u32,
        /// Its generation.
        generation: u64,
    },
    /// The new generation has other states.
    #[error(
        "lane {lane} has states of version {before}, and the transform that is wanted has version {now} and does not take them over; take the swap back with `penstock rollback`, or ask for it with `--fresh`"
    )]
    OtherState {
        /// The lane.
        lane: u32,
        /// The version of its states.
        before: u32,
        /// That of the transform.
        now: u32,
    },
    /// The new generation takes over the states of the one before, and fails on those of a lane.
    #[error("lane {lane}: the states of version {before} cannot be taken over: {error}")]
    Migration {
        /// The lane.
        lane: u32,
        /// The version of its states.
        before: u32,
        /// Why.
        error: MigrationError,
    },
    /// The stream is divided otherwise than when the state was made.
    #[error(
        "the stream had {before} partitions when lane {lane} began, and has {now}: its keys may be elsewhere now, so the state of each key would be in two halves; begin anew with `--fresh`, from recorded events or the start of the stream"
    )]
    Grown {
        /// The lane.
        lane: u32,
        /// How many partitions there were.
        before: u32,
        /// How many there are.
        now: u32,
    },
}
