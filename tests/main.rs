//! Tests of whole pipelines and of the whole program. They want the transforms that
//! `cargo xtask transforms` builds.

// In a test a panic is the message.
#![allow(clippy::unwrap_used)]

mod contract;
mod crash;
mod examples;
mod hostile;
mod input;
mod kafka;
mod kinesis;
mod languages;
mod live;
mod map;
mod record;
mod sandbox;
mod services;
mod serving;
mod store;
mod support;
mod swap;
mod testing;
mod windows;
