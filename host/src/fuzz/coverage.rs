//! Which code of this crate ran, where it was built to count that.
//!
//! `cargo xtask fuzz` has the compiler count how often each edge between two pieces of code is taken (LLVM's
//! SanitizerCoverage, inline 8-bit counters), in this crate and not in its dependencies. What it puts into the program calls
//! [`__sanitizer_cov_8bit_counters_init`] before anything else runs. In an ordinary build nobody does, and there is nothing to
//! see.

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static FIRST: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Where the counters are. Every piece of the crate says the same.
///
/// SAFETY of the name: it is LLVM's, and no other crate of this program defines it.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(first: *mut u8, end: *mut u8) {
    FIRST.store(first, Ordering::Relaxed);
    COUNT.store(end.addr().saturating_sub(first.addr()), Ordering::Relaxed);
}

/// What was reached so far, by all inputs together.
pub(super) struct Reached {
    /// Of each counter the numbers that it has had, in steps.
    seen: Vec<u8>,
    now: Vec<u8>,
}

impl Reached {
    /// Nothing yet; none if nobody counts.
    pub(super) fn nothing() -> Option<Self> {
        let count = COUNT.load(Ordering::Relaxed);
        (count > 0).then(|| Self {
            seen: vec![0; count],
            now: vec![0; count],
        })
    }

    /// How many edges were taken.
    pub(super) fn edges(&self) -> usize {
        self.seen.iter().filter(|seen| **seen != 0).count()
    }

    /// Runs something, and says whether it came to where nothing was before, or went round a loop as nothing did.
    pub(super) fn is_new(&mut self, run: impl FnOnce()) -> bool {
        let first = FIRST.load(Ordering::Relaxed);
        // SAFETY: LLVM said that so many counters, plain bytes that live as long as the program, begin there. Other
        // threads may count at the same time, which can cost a count and nothing else.
        unsafe { first.write_bytes(0, self.now.len()) };
        run();
        // SAFETY: as above, and `now` has as many bytes.
        unsafe { first.copy_to_nonoverlapping(self.now.as_mut_ptr(), self.now.len()) };
        let mut is_new = false;
        let (now, seen) = (self.now.chunks(64), self.seen.chunks_mut(64));
        for (now, seen) in now
            .zip(seen)
            .filter(|(now, _)| now.iter().any(|it| *it != 0))
        {
            for (now, seen) in now.iter().zip(seen) {
                let step = step(*now);
                is_new |= *seen & step != step;
                *seen |= step;
            }
        }
        is_new
    }
}

/// How often, about, as a bit: once, twice, three times, up to 7, 15, 31, 127, and more.
fn step(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128.. => 128,
    }
}
