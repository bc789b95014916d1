//! The accounts of a part, published as it works, for anybody to read.
//!
//! The part's [`Accounting`] stays what counts: this is a copy of it, taken batch by batch, so that the
//! two never differ at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::pipeline::accounting::{Accounting, Mapped, Reason};

/// What a part has counted. One writes, anybody reads; a reader may see one number of a batch and not
/// yet another.
#[derive(Debug, Default)]
pub struct Accounts {
    read: AtomicU64,
    applied: AtomicU64,
    filtered: AtomicU64,
    partly_late: AtomicU64,
    late: AtomicU64,
    quarantined: AtomicU64,
    poisoned: AtomicU64,
    forwarded: AtomicU64,
    received: AtomicU64,
    partials: AtomicU64,
    maps: AtomicBool,
    rows_in: AtomicU64,
    mapped: AtomicU64,
    rows_out: AtomicU64,
    untimed: AtomicU64,
    poisoned_by_map: AtomicU64,
    rejected_in_all: AtomicU64,
    /// Locked by the writer only when a row was rejected since it published last.
    rejected: Mutex<BTreeMap<Reason, u64>>,
    /// What an earlier process had counted.
    before: Mutex<Accounting>,
}

impl Accounts {
    /// Notes what the part took over from an earlier process, or from another one: it is not counted here again.
    pub fn resume(&self, before: &Accounting) {
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = before.clone();
        self.publish(before);
    }

    /// Publishes what the part has counted in all.
    pub fn publish(&self, all: &Accounting) {
        let store = |at: &AtomicU64, value: u64| at.store(value, Ordering::Relaxed);
        store(&self.read, all.read);
        store(&self.applied, all.applied);
        store(&self.filtered, all.filtered);
        store(&self.partly_late, all.partly_late);
        store(&self.late, all.late);
        store(&self.quarantined, all.quarantined);
        store(&self.poisoned, all.poisoned);
        store(&self.forwarded, all.forwarded);
        store(&self.received, all.received);
        store(&self.partials, all.partials);
        if let Some(mapped) = &all.mapped {
            store(&self.rows_in, mapped.rows_in);
            store(&self.mapped, mapped.mapped);
            store(&self.rows_out, mapped.rows_out);
            store(&self.untimed, mapped.untimed);
            store(&self.poisoned_by_map, mapped.poisoned);
            self.maps.store(true, Ordering::Relaxed);
        }
        let rejected = all.rejected_in_all();
        if self.rejected_in_all.swap(rejected, Ordering::Relaxed) != rejected {
            let mut published = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
            published.clone_from(&all.rejected);
        }
    }

    /// What was counted since the part began in this process.
    pub fn here(&self) -> Accounting {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let less = |at: &AtomicU64, before: u64| at.load(Ordering::Relaxed).saturating_sub(before);
        let mapped = before.mapped.unwrap_or_default();
        let mut rejected = self
            .rejected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (reason, count) in &before.rejected {
            if let Some(all) = rejected.get_mut(reason) {
                *all = all.saturating_sub(*count);
            }
        }
        rejected.retain(|_, count| *count > 0);
        Accounting {
            read: less(&self.read, before.read),
            applied: less(&self.applied, before.applied),
            filtered: less(&self.filtered, before.filtered),
            partly_late: less(&self.partly_late, before.partly_late),
            late: less(&self.late, before.late),
            quarantined: less(&self.quarantined, before.quarantined),
            poisoned: less(&self.poisoned, before.poisoned),
            forwarded: less(&self.forwarded, before.forwarded),
            received: less(&self.received, before.received),
            partials: less(&self.partials, before.partials),
            rejected,
            mapped: self.maps.load(Ordering::Relaxed).then(|| Mapped {
                rows_in: less(&self.rows_in, mapped.rows_in),
                mapped: less(&self.mapped, mapped.mapped),
                rows_out: less(&self.rows_out, mapped.rows_out),
                untimed: less(&self.untimed, mapped.untimed),
                poisoned: less(&self.poisoned_by_map, mapped.poisoned),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Stage;

    fn counted(times: u64) -> Accounting {
        let mut accounting = Accounting {
            read: 21 * times,
            applied: 2 * times,
            filtered: 3 * times,
            partly_late: times,
            late: 4 * times,
            quarantined: 5 * times,
            poisoned: 6 * times,
            mapped: Some(Mapped {
                rows_in: 7 * times,
                mapped: 8 * times,
                rows_out: 9 * times,
                untimed: times,
                poisoned: 2 * times,
            }),
            ..Accounting::default()
        };
        for _ in 0..times {
            accounting.reject(Stage::Key, "null_key");
        }
        accounting
    }

    #[test]
    fn what_is_published_comes_back_less_what_was_before() {
        let accounts = Accounts::default();
        assert_eq!(accounts.here(), Accounting::default());
        accounts.publish(&counted(2));
        assert_eq!(accounts.here(), counted(2));
        accounts.resume(&counted(2));
        assert_eq!(accounts.here().rejected, BTreeMap::new());
        let mut all = counted(5);
        all.reject(Stage::Transform, "new");
        accounts.publish(&all);
        let mut here = counted(3);
        here.reject(Stage::Transform, "new");
        assert_eq!(accounts.here(), here);
    }
}
