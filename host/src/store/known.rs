//! Declarations as they were when they were last read, by group, so that lookups need not read them again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Declaration;

/// For how long what was read is good. Declarations do not change but for their documents, and what is new is looked
/// for when somebody asks for it.
pub(super) const GOOD_FOR: Duration = Duration::from_secs(10);

/// A group's declarations, by name and version.
pub(super) type Known = Arc<Vec<Arc<Declaration>>>;

/// What is known of groups, and since when.
#[derive(Debug, Default)]
pub(super) struct KnownGroups(Mutex<HashMap<String, (Instant, Known)>>);

impl KnownGroups {
    /// What is known of a group, if it was read not longer ago than so.
    pub(super) fn get(&self, group: &str, good_for: Duration) -> Option<Known> {
        let groups = self.groups();
        let (at, known) = groups.get(group)?;
        (at.elapsed() < good_for).then(|| Arc::clone(known))
    }

    /// What is known of a group, however long ago it was read.
    pub(super) fn any(&self, group: &str) -> Option<Known> {
        self.get(group, Duration::MAX)
    }

    /// Keeps what was asked for at some moment. That a group has none is not kept: it may be made at any time.
    pub(super) fn keep(&self, group: &str, asked: Instant, found: Vec<Declaration>) -> Known {
        let known: Known = Arc::new(found.into_iter().map(Arc::new).collect());
        if !known.is_empty() {
            self.groups()
                .insert(group.to_owned(), (asked, Arc::clone(&known)));
        }
        known
    }

    /// Forgets all of it.
    pub(super) fn clear(&self) {
        self.groups().clear();
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<String, (Instant, Known)>> {
        // Entries are whole before they come in.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
