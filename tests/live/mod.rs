//! Pipelines over live streams, on real servers: what they leave is what an undisturbed run leaves.

mod idle;
mod killed;
mod pipeline;
mod rebalanced;
mod refused;
mod repartition;
mod served;
mod sinks;
mod topic;
