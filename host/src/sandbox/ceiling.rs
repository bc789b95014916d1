//! Memory and tables of instances: what each may have, what those of one component have, and what all have together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use wasmtime::ResourceLimiter;

use super::limits::{LimitExceeded, Limits};

/// Linear memory of all instances of a host. Every page is taken here before it is there.
#[derive(Debug)]
pub(super) struct GuestMemory {
    most: AtomicUsize,
    used: AtomicUsize,
    peak: AtomicUsize,
    room: Notify,
}

impl GuestMemory {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: AtomicUsize::new(most),
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            room: Notify::new(),
        }
    }

    /// Allows another amount from now on.
    pub(super) fn allow(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Takes `bytes` for somebody who has `own` with them, or says how many are in use.
    fn take(&self, bytes: usize, own: usize) -> Result<(), usize> {
        let most = self.most.load(Ordering::Relaxed);
        let leaves_enough =
            |sum: &usize| *sum <= most && own <= (most - *sum).saturating_mul(TIMES_THE_REST);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(leaves_enough)
            })?;
        self.peak.fetch_max(taken + bytes, Ordering::Relaxed);
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.tell_room();
    }

    /// Wakes those that wait for room.
    pub(super) fn tell_room(&self) {
        self.room.notify_waiters();
    }

    /// Waits until there may be more room than there was: an instance has gone, or a while has passed.
    pub(super) async fn room(&self) {
        self.room.notified().await;
    }

    /// Bytes that are allowed, in use, and were in use at most.
    pub(super) fn figures(&self) -> (usize, usize, usize) {
        let read = |figure: &AtomicUsize| figure.load(Ordering::Relaxed);
        (read(&self.most), read(&self.used), read(&self.peak))
    }
}

/// What the instances of one component have of the memory of all.
///
/// A component has no more than [`TIMES_THE_REST`] times what is left to all others, so one that takes all it gets cannot
/// make another fail: that one still finds room to begin, and it is the large one that is refused. This is the dynamic
/// threshold by which switches share their buffers (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory
/// packet switches", 1998).
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<GuestMemory>,
    used: AtomicUsize,
}

/// With 3, a quarter is left when one component has taken all it gets, and a quarter of that when another has then.
const TIMES_THE_REST: usize = 3;

impl Share {
    pub(super) fn new(all: &Arc<GuestMemory>) -> Self {
        Self {
            all: Arc::clone(all),
            used: AtomicUsize::new(0),
        }
    }

    fn take(&self, bytes: usize) -> Result<(), NoGuestMemory> {
        // First for oneself: two instances that ask at once each see what the other asks for.
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let own = before.saturating_add(bytes);
        self.all.take(bytes, own).map_err(|used| {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            NoGuestMemory {
                most: self.all.figures().0,
                used,
                own: before,
                requested: bytes,
            }
        })
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.all.give_back(bytes);
    }

    /// As [`GuestMemory::room`].
    pub(super) async fn room(&self) {
        self.all.room().await;
    }
}

/// Three quarters of the machine's memory, or of what the control group of this process allows.
pub(super) fn default_guest_memory() -> usize {
    let machine = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| kib_of(&text, "MemTotal:"));
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse().ok());
    // Where nothing is known, what a small machine has.
    let machine = machine.map_or(4 << 30, |kib| kib << 10);
    group.map_or(machine, |most: usize| most.min(machine)) / 4 * 3
}

fn kib_of(text: &str, key: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The host has no memory for guests left, or too little for one that has so much. That is no fault of the one that asks.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "all guests together have {used} of {most} bytes, {own} of them this transform, and {requested} more are asked for (one transform has no more than {TIMES_THE_REST} times what is left to others)"
)]
pub(super) struct NoGuestMemory {
    most: usize,
    used: usize,
    /// What all instances of its component had before.
    own: usize,
    requested: usize,
}

/// Enforces memory and tables while an instance runs.
#[derive(Debug)]
pub(super) struct Ceiling {
    memory: usize,
    table_elements: usize,
    memory_used: usize,
    tables_used: usize,
    share: Arc<Share>,
}

impl Ceiling {
    pub(super) fn new(limits: &Limits, share: Arc<Share>) -> Self {
        Self {
            memory: limits.memory,
            table_elements: limits.table_elements,
            memory_used: 0,
            tables_used: 0,
            share,
        }
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        self.share.give_back(self.memory_used);
    }
}

impl ResourceLimiter for Ceiling {
    /// Fails the call at once: a guest that saw its allocation refused would only trap later,
    /// with a message that hides the reason.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        if self.memory_used.saturating_add(growth) > self.memory {
            return Err(wasmtime::Error::new(LimitExceeded {
                name: "memory",
                limit: format!("{} bytes", self.memory),
                current: format!("{} bytes", self.memory_used),
                requested: format!("{growth} bytes"),
            }));
        }
        self.share.take(growth).map_err(wasmtime::Error::new)?;
        self.memory_used += growth;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        if self.tables_used.saturating_add(growth) > self.table_elements {
            return Err(wasmtime::Error::new(LimitExceeded {
                name: "table_elements",
                limit: self.table_elements.to_string(),
                current: self.tables_used.to_string(),
                requested: growth.to_string(),
            }));
        }
        self.tables_used += growth;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            memory: 80,
            ..Limits::default()
        }
    }

    #[test]
    fn all_instances_share_what_there_is_and_give_it_back() {
        let all = Arc::new(GuestMemory::new(220));
        let ceiling = |share: &Arc<Share>| Ceiling::new(&limits(), Arc::clone(share));
        let share = Arc::new(Share::new(&all));
        let (mut one, mut other, mut third) = (ceiling(&share), ceiling(&share), ceiling(&share));
        assert!(one.memory_growing(0, 80, None).unwrap());
        assert!(other.memory_growing(0, 80, None).unwrap());
        let error = third.memory_growing(0, 50, None).unwrap_err();
        assert!(error.is::<NoGuestMemory>(), "{error}");
        let error = one.memory_growing(80, 90, None).unwrap_err();
        assert!(error.is::<LimitExceeded>(), "its own limit comes first");
        drop(one);
        assert!(third.memory_growing(0, 50, None).unwrap());
        assert_eq!(all.figures(), (220, 130, 160));
        drop((other, third));
        assert_eq!(all.figures().1, 0);
        assert_eq!(share.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_takes_all_it_gets_leaves_room_to_others() {
        const MOST: usize = 1 << 20;
        let all = Arc::new(GuestMemory::new(MOST));
        let hogs: Vec<_> = (0..5).map(|_| Share::new(&all)).collect();
        for (at, hog) in hogs.iter().enumerate() {
            while hog.take(64).is_ok() {}
            let left = MOST - all.figures().1;
            let least = MOST / (TIMES_THE_REST + 1).pow(at as u32 + 1);
            assert!(left >= least, "{left} of {least} after {at} before");
            let share = hog.used.load(Ordering::Relaxed);
            assert!(
                share + 64 > (left - 64) * TIMES_THE_REST,
                "{share} beside {left}"
            );
        }
        // Once a large one gives back, those that were refused get more.
        hogs[0].give_back(MOST / 2);
        assert!(hogs[4].take(MOST / 4).is_ok());
        assert!(hogs[0].take(MOST / 2).is_err());
    }
}
