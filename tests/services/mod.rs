//! The servers that other tests rely on: they take and give data, keep what they say they keep, and end when told to.

mod aws;
mod kafka;
