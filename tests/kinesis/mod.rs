//! The Kinesis source against a server that knows resharding and enhanced fan-out: what is read, in
//! which order, and what happens when it is not answered.

mod consume;
mod fan_out;
mod faults;
mod follower;
pub(crate) mod proxy;
mod reshard;
pub(crate) mod stream;
