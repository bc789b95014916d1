//! Penstock: a WebAssembly plugin host for streaming feature transforms.
//!
//! `docs/architecture.md` has the bird's eye view; [`pipeline::lane`] is where to start reading.

mod aws;
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(test)]
mod fuzz;
pub mod kafka;
pub mod objects;
pub mod pipeline;
pub mod record;
pub mod registry;
pub mod sandbox;
pub mod serve;
pub mod simulate;
pub mod sink;
pub mod source;
pub mod stage;
pub mod store;
pub mod testing;
pub mod text;
pub mod transform;
pub mod window;
