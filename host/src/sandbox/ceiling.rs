//! Memory and tables of instances: what each may have, and what all have together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::ResourceLimiter;

use super::limits::{LimitExceeded, Limits};

/// Linear memory of all instances of a host. Every page is taken here before it is there.
#[derive(Debug)]
pub(super) struct GuestMemory {
    most: AtomicUsize,
    used: AtomicUsize,
    peak: AtomicUsize,
}

impl GuestMemory {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: AtomicUsize::new(most),
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    /// Allows another amount from now on.
    pub(super) fn allow(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Takes `bytes`, or says how many are in use.
    fn take(&self, bytes: usize) -> Result<(), usize> {
        let most = self.most.load(Ordering::Relaxed);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= most)
            })?;
        self.peak.fetch_max(taken + bytes, Ordering::Relaxed);
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that are allowed, in use, and were in use at most.
    pub(super) fn figures(&self) -> (usize, usize, usize) {
        let read = |figure: &AtomicUsize| figure.load(Ordering::Relaxed);
        (read(&self.most), read(&self.used), read(&self.peak))
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

/// The host has no memory for guests left. That is no fault of the one that asks.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("all guests together have {used} of {most} bytes, and {requested} more are asked for")]
pub(super) struct NoGuestMemory {
    pub(super) most: usize,
    pub(super) used: usize,
    pub(super) requested: usize,
}

/// Enforces memory and tables while an instance runs.
#[derive(Debug)]
pub(super) struct Ceiling {
    memory: usize,
    table_elements: usize,
    memory_used: usize,
    tables_used: usize,
    all: Arc<GuestMemory>,
}

impl Ceiling {
    pub(super) fn new(limits: &Limits, all: Arc<GuestMemory>) -> Self {
        Self {
            memory: limits.memory,
            table_elements: limits.table_elements,
            memory_used: 0,
            tables_used: 0,
            all,
        }
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        self.all.give_back(self.memory_used);
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
        self.all.take(growth).map_err(|used| {
            wasmtime::Error::new(NoGuestMemory {
                most: self.all.figures().0,
                used,
                requested: growth,
            })
        })?;
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

    #[test]
    fn all_instances_share_what_there_is_and_give_it_back() {
        let all = Arc::new(GuestMemory::new(100));
        let limits = Limits {
            memory: 80,
            ..Limits::default()
        };
        let ceiling = || Ceiling::new(&limits, Arc::clone(&all));
        let (mut one, mut other) = (ceiling(), ceiling());
        assert!(one.memory_growing(0, 60, None).unwrap());
        let error = other.memory_growing(0, 50, None).unwrap_err();
        assert!(error.is::<NoGuestMemory>(), "{error}");
        let error = one.memory_growing(60, 90, None).unwrap_err();
        assert!(error.is::<LimitExceeded>(), "its own limit comes first");
        drop(one);
        assert!(other.memory_growing(0, 50, None).unwrap());
        assert_eq!(all.figures(), (100, 50, 60));
        drop(other);
        assert_eq!(all.figures().1, 0);
    }
}
