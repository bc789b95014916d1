//! CPU time of calls, and guests that wait for what never comes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// A guest that waits for what never comes, as it travels through wasmtime's error.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it waits for a clock or a stream, and there is nothing behind WASI that could wake it")]
pub(super) struct Waits;

/// How often a guest that stopped of its own accord is asked again. What WASI gives here is ready
/// at once, though some of it yields a time or two before it says so.
const POLLS: usize = 4;

/// CPU time of a call, which may be polled on several threads.
///
/// The future that polls a guest sets where the current stretch began; the epoch callback, which
/// runs inside that poll on the same thread, adds what has passed since.
#[derive(Debug, Default)]
pub(super) struct CpuMeter {
    used_ns: AtomicU64,
    stretch_began_ns: AtomicU64,
    yielded: AtomicBool,
}

impl CpuMeter {
    /// Starts the account of a new call.
    pub(super) fn reset(&self) {
        self.used_ns.store(0, Ordering::Relaxed);
    }

    /// CPU time of the call so far. Only valid inside a poll of [`run`](Self::run).
    pub(super) fn used(&self) -> Duration {
        let stretch = thread_cpu_ns().saturating_sub(self.stretch_began_ns.load(Ordering::Relaxed));
        Duration::from_nanos(self.used_ns.load(Ordering::Relaxed) + stretch)
    }

    /// The epoch callback makes the guest yield, so its future is pending for a good reason.
    pub(super) fn yields(&self) {
        self.yielded.store(true, Ordering::Relaxed);
    }

    /// Polls `call` until it is done, and keeps its account.
    ///
    /// # Errors
    ///
    /// Besides those of the call: [`Waits`], when it is pending and no epoch made it yield. Such a
    /// guest uses no CPU time, so no other limit would ever end it.
    pub(super) async fn run<T>(
        meter: Arc<Self>,
        call: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        let mut call = std::pin::pin!(call);
        std::future::poll_fn(|context| {
            for _ in 0..POLLS {
                meter.yielded.store(false, Ordering::Relaxed);
                let polled = meter.poll(call.as_mut(), context);
                if polled.is_ready() || meter.yielded.load(Ordering::Relaxed) {
                    return polled;
                }
            }
            Poll::Ready(Err(wasmtime::Error::new(Waits)))
        })
        .await
    }

    fn poll<F: Future>(&self, call: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = thread_cpu_ns();
        self.stretch_began_ns.store(began, Ordering::Relaxed);
        let polled = call.poll(context);
        let stretch = thread_cpu_ns().saturating_sub(began);
        self.used_ns.fetch_add(stretch, Ordering::Relaxed);
        polled
    }
}

/// CPU time of the calling thread, in nanoseconds.
fn thread_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

/// Seconds' worth of bytes that somebody may log at once who was silent before.
const LOG_BURST: u64 = 8;

/// How much the instances of a component log. What depends on it is shown to people and nobody else, so the clock is
/// that of the machine.
#[derive(Debug, Default)]
pub(super) struct LogRate {
    /// Nanoseconds of the clock up to which what was said is paid for.
    paid_ns: u64,
}

impl LogRate {
    /// Whether a line of so many bytes may be shown now, where so many bytes a second may.
    pub(super) fn lets(&mut self, bytes: usize, per_second: u64) -> bool {
        self.lets_at(monotonic_ns(), bytes, per_second)
    }

    fn lets_at(&mut self, now_ns: u64, bytes: usize, per_second: u64) -> bool {
        // A line counts for more than its text: time, level and name stand before it.
        let cost = u128::from(bytes as u64 + 64) * 1_000_000_000 / u128::from(per_second.max(1));
        let silent_since = now_ns.saturating_sub(LOG_BURST * 1_000_000_000);
        let paid = u64::try_from(cost).unwrap_or(u64::MAX);
        let paid = self.paid_ns.max(silent_since).saturating_add(paid);
        let is_let = paid <= now_ns;
        if is_let {
            self.paid_ns = paid;
        }
        is_let
    }
}

/// A clock that never goes back, in nanoseconds.
pub(super) fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_silent_may_say_more_at_once() {
        let mut rate = LogRate::default();
        let mut lets =
            |second: u64, bytes| rate.lets_at((100 + second) * 1_000_000_000, bytes, 1000);
        assert!(lets(0, 7936));
        assert!(!lets(0, 0));
        assert!(lets(1, 936));
        assert!(!lets(1, 0));
        assert!(lets(100, 7936), "no more than a burst");
        assert!(!lets(100, 0));
    }

    /// A guest that is pending `times` times, after an epoch's yield or of its own accord.
    async fn pending(meter: &CpuMeter, mut times: usize, yields: bool) -> wasmtime::Result<()> {
        std::future::poll_fn(|context| {
            if times == 0 {
                return Poll::Ready(Ok(()));
            }
            times -= 1;
            if yields {
                meter.yields();
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    #[test]
    fn a_guest_may_yield_for_ever_and_wait_for_a_moment() {
        let run = |times, yields| {
            let meter = Arc::new(CpuMeter::default());
            let call = pending(&meter, times, yields);
            futures::executor::block_on(CpuMeter::run(Arc::clone(&meter), call))
        };
        run(1000, true).unwrap();
        run(POLLS - 1, false).unwrap();
        assert!(run(POLLS, false).unwrap_err().is::<Waits>());
    }
}
