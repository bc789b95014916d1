//! Pipelines over live streams, against a real broker: what they leave is what a run over the same events
//! leaves, whatever happens to them.

mod sinks;
