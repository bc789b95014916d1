//! How often windows were emitted otherwise than once at their close.

use std::collections::{BTreeMap, HashMap};

use super::emission::{Moment, Revision};

/// What became of a window that was emitted, beside what follows from its panes.
#[derive(Debug, Clone, Copy, Default)]
struct Emitted {
    /// How often it was, not counting once when it closed.
    times: u32,
    /// Whether the transform gave no row for it the last time.
    silent: bool,
    /// Whether a record of this is kept.
    kept: bool,
}

/// A window: where it ends, its length and its key.
type Window = (i64, (usize, u32));

/// How often windows were emitted, by end, length and key: those that were so before they closed
/// or after, or that gave no row.
pub(super) struct Revisions {
    windows: BTreeMap<i64, HashMap<(usize, u32), Emitted>>,
    wanted: bool,
    /// Those that changed since changes were taken, if that is to be noted.
    changed: Option<Vec<Window>>,
}

impl Revisions {
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            windows: BTreeMap::new(),
            wanted,
            changed: None,
        }
    }

    /// The revision of a window that closes, if revisions are wanted.
    pub(super) fn at_close(
        &self,
        end: i64,
        of_window: (usize, u32),
        moment: Moment,
    ) -> Option<Revision> {
        let emitted = || self.windows.get(&end)?.get(&of_window).copied();
        self.wanted.then(|| {
            let Emitted { times, silent, .. } = emitted().unwrap_or_default();
            Revision {
                number: times,
                stands: times > 0 && !silent,
                moment,
            }
        })
    }

    /// Counts an emission of a window, which was emitted at its close or was not.
    pub(super) fn count(
        &mut self,
        end: i64,
        of_window: (usize, u32),
        at_close: bool,
        moment: Moment,
    ) -> Revision {
        let windows = self.windows.entry(end).or_default();
        let emitted = windows.entry(of_window).or_default();
        let number = emitted.times + u32::from(at_close);
        emitted.times += 1;
        (self.changed.iter_mut()).for_each(|changed| changed.push((end, of_window)));
        Revision {
            number,
            stands: number > 0 && !emitted.silent,
            moment,
        }
    }

    /// Counts another emission of a window that was emitted before.
    pub(super) fn count_again(&mut self, end: i64, of_window: (usize, u32)) {
        let windows = self.windows.entry(end).or_default();
        windows.entry(of_window).or_default().times += 1;
        (self.changed.iter_mut()).for_each(|changed| changed.push((end, of_window)));
    }

    /// Whether they are wanted.
    pub(super) fn are_wanted(&self) -> bool {
        self.wanted
    }

    /// Notes whether a window gave rows when it was emitted, if that is not what stood before.
    pub(super) fn note(
        &mut self,
        end: i64,
        of_window: (usize, u32),
        revision: Revision,
        silent: bool,
    ) {
        // Of a window that was not emitted before nothing is noted unless it stays silent.
        if silent || (revision.number > 0 && !revision.stands) {
            let windows = self.windows.entry(end).or_default();
            windows.entry(of_window).or_default().silent = silent;
            (self.changed.iter_mut()).for_each(|changed| changed.push((end, of_window)));
        }
    }

    /// Forgets the windows with such ends, of which the least come first. Gives those of which a
    /// record is kept.
    pub(super) fn forget(&mut self, gone: impl Fn(i64) -> bool) -> Vec<Window> {
        let mut kept = Vec::new();
        while let Some(entry) = self.windows.first_entry()
            && gone(*entry.key())
        {
            let (end, windows) = entry.remove_entry();
            let windows = windows.into_iter().filter(|(_, emitted)| emitted.kept);
            kept.extend(windows.map(|(of_window, _)| (end, of_window)));
        }
        kept
    }

    /// About what is known takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let entry = 2 * size_of::<((usize, u32), Emitted)>();
        self.windows
            .values()
            .map(|windows| windows.len() * entry)
            .sum()
    }

    /// From now on changes are noted.
    pub(super) fn keep(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// The windows of which records are to be kept that changed since this was asked: how often
    /// each was emitted, and whether it is silent.
    pub(super) fn changes(&mut self) -> Vec<(i64, (usize, u32), u32, bool)> {
        let mut changed = self.changed.as_mut().map_or(Vec::new(), std::mem::take);
        changed.sort_unstable();
        changed.dedup();
        let mut changes = Vec::with_capacity(changed.len());
        for (end, of_window) in changed {
            let windows = self.windows.get_mut(&end);
            // It may have been forgotten since.
            if let Some(emitted) = windows.and_then(|windows| windows.get_mut(&of_window)) {
                emitted.kept = true;
                changes.push((end, of_window, emitted.times, emitted.silent));
            }
        }
        changes
    }

    /// Takes in what is kept of a window.
    pub(super) fn load(&mut self, end: i64, of_window: (usize, u32), times: u32, silent: bool) {
        let emitted = Emitted {
            times,
            silent,
            kept: true,
        };
        let windows = self.windows.entry(end).or_default();
        windows.insert(of_window, emitted);
    }

    /// Lets go of the windows of some keys.
    pub(super) fn put_away(&mut self, is_away: impl Fn(u32) -> bool) {
        self.windows.retain(|_, windows| {
            windows.retain(|(_, key), _| !is_away(*key));
            !windows.is_empty()
        });
    }
}
