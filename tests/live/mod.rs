//! Pipelines over live streams, on real servers: what they leave is what an undisturbed run leaves.

mod bootstrap;
mod faults;
mod idle;
mod killed;
mod kinesis;
mod lateness;
pub(crate) mod pipeline;
mod rebalanced;
mod refused;
mod remote;
mod repartition;
mod served;
mod shards;
mod sinks;
mod state;
mod table;
pub(crate) mod topic;
