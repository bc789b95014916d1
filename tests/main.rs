//! Tests of whole pipelines and of the whole program. They want the transforms that
//! `cargo xtask transforms` builds.

mod contract;
mod input;
mod sandbox;
mod support;
mod windows;
