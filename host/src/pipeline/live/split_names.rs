//! What splits are called where a row's origin is shown.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The names of splits by their numbers in this run, with the stream's in front. The reader adds to them,
/// and deliveries look them up for rows that were refused.
#[derive(Debug)]
pub(super) struct SplitNames {
    stream: String,
    names: RwLock<BTreeMap<u32, Arc<str>>>,
}

impl SplitNames {
    /// For splits of a stream.
    pub(super) fn new(stream: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            names: RwLock::default(),
        }
    }

    /// Adds one.
    pub(super) fn add(&self, number: u32, name: &str) {
        let name = format!("{}/{name}", self.stream).into();
        let names = self.names.write();
        // The map is whole between any two statements, so a panic of another holder spoils nothing.
        let mut names = names.unwrap_or_else(PoisonError::into_inner);
        names.insert(number, name);
    }

    /// What a split is called.
    pub(super) fn of(&self, number: u32) -> Arc<str> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        match names.get(&number) {
            Some(name) => Arc::clone(name),
            None => format!("{}/{number}", self.stream).into(),
        }
    }
}
