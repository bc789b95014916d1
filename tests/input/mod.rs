//! Bad input: one clear error each, the right exit code, and nothing lost that was written.

mod components;
mod data;
mod disk;
mod event_time;
mod formats;
mod inferred;
mod object_storage;
mod places;
mod stopping;
