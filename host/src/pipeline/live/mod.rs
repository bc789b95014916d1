//! Pipelines over live streams: for weeks, through crashes and rebalances.
//!
//! ```text
//! member thread ── assigned, revoked, lost ──► partitions at work
//! partition thread ── decode, map, key hash ──► lanes (tasks) ──► delivery threads ── commit, outbox
//! ```
//!
//! What is read is a topic of Kafka or a stream of Kinesis (`source`). A member of the group (`member`) has
//! the partitions that the group gives to this process, and each works by itself (`partition`): a thread
//! reads it, after recorded history if there is any (`bootstrap`), its lanes work on it, and each lane has a
//! delivery (`delivery`) that commits what the lane
//! did. All shards of a stream are at work as one partition is: `splits` says how far they are together. What a commit holds, and where a lane goes
//! on, is in `keeper`; what is sent after a commit, and to whom, in `outbox` and `outputs`. Whoever has a pipeline's first
//! lane compacts the history of its features (`compacting`); each lane tells it what was taken back (`withdrawing`).
//!
//! A pipeline over a topic that is not divided by its key is two such members, one after the other: `partial`
//! gives partial states to another topic, and `whole` has the windows (`stages`).
//!
//! A version that is tried has lanes of its own beside those at work (`shadowing`, and `watching` for what becomes of it).
//!
//! Data flows as in a run over recorded events, and the lanes are the same. What must never happen:
//! that something is sent which is not committed, that a lane works on after it was lost, or that one
//! slow partition holds up the member, and so the group.

mod bootstrap;
mod committed;
mod compacting;
mod decoding;
mod delivery;
mod error;
mod following;
mod gaps;
mod generations;
mod keeper;
mod member;
mod migrating;
mod opening;
mod outbox;
mod outputs;
mod partial;
mod partition;
mod rows;
mod run;
mod shadowing;
mod source;
mod split_names;
mod splits;
mod stages;
mod steps;
mod switching;
mod telling;
mod watching;
mod whole;
mod withdrawing;
mod working;

pub use self::error::PartitionError;
pub use self::keeper::KeeperError;
pub(in crate::pipeline) use self::keeper::come;
pub use self::migrating::MigrationError;
pub use self::opening::{OpenedLive, open};
pub use self::outbox::OutboxError;
pub use self::outputs::{file_of, unwritten, writes};
pub(super) use self::partial::check as check_repartition;
pub use self::run::{LaneAccount, LiveError, LiveReport, run};
pub(super) use self::shadowing::Wanted;
pub use self::source::StreamFault;
pub(super) use self::steps::done as step;
