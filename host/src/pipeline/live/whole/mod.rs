//! The second stage of a pipeline in two: it reads the topic of partial states, and has the windows.
//!
//! In come messages of every upstream lane; each is checked, and taken once (`upstreams`). Partial states go
//! to the windows in the place of rows, in the order in which they came, each with the watermark that held
//! when it came; out comes what every lane gives. The watermark is the least of what the upstream lanes
//! have told. The first stage is [`partial`](super::partial).
//!
//! What must never happen: that a message is taken twice, or that one of another making is merged.

mod assembly;
mod error;
mod upstreams;

pub(super) use self::assembly::{Assembly, source_columns};
