//! The limits of one instance, and the store data that enforces them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Elements that all tables of an instance may have together, and so any one of them in the pool.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;

/// What a transform may use. Bytes are bytes; every limit holds for each call unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of the instance, in bytes.
    pub memory: usize,
    /// CPU time of one call.
    pub cpu_per_call: Duration,
    /// Bytes that one call may return.
    pub output_bytes: usize,
    /// Rows that one call of `finish` may return.
    pub output_rows: usize,
    /// Bytes of state that one group may have.
    pub state_per_group: usize,
    /// Log lines that one call may write; further ones are dropped and counted.
    pub log_lines_per_call: usize,
    /// Bytes of one log line; the rest is cut.
    pub log_line_bytes: usize,
    /// Counts, and likewise observations, that one call may make; further ones are dropped and counted.
    pub metric_calls: usize,
    /// Distinct metric names of one instance; further ones are dropped and counted.
    pub metric_names: usize,
    /// Distinct codes of rejects of one instance.
    pub reject_codes: usize,
    /// Elements of all tables of the instance together; the pool has room for no more in one.
    pub table_elements: usize,
    /// Columns, nested ones included, that `open` may name in one schema.
    pub columns: usize,
    /// Bytes of a column's name or format.
    pub name_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            cpu_per_call: Duration::from_secs(10),
            output_bytes: 64 << 20,
            output_rows: 4 << 20,
            state_per_group: 1 << 20,
            log_lines_per_call: 100,
            log_line_bytes: 4096,
            metric_calls: 1000,
            metric_names: 64,
            reject_codes: 256,
            table_elements: TABLE_ELEMENTS,
            columns: 1024,
            name_bytes: 256,
        }
    }
}

/// A limit that was hit, as it travels through wasmtime's error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("limit {name}: {limit} allowed, {current} used, {requested} more asked for")]
pub(crate) struct LimitExceeded {
    pub(crate) name: &'static str,
    pub(crate) limit: String,
    pub(crate) current: String,
    pub(crate) requested: String,
}

/// Enforces memory and tables while an instance runs.
#[derive(Debug)]
pub(crate) struct Ceiling {
    memory: usize,
    table_elements: usize,
    memory_used: usize,
    tables_used: usize,
}

impl Ceiling {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: limits.memory,
            table_elements: limits.table_elements,
            memory_used: 0,
            tables_used: 0,
        }
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

/// A guest that waits for what never comes, as it travels through wasmtime's error.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it waits for a clock or a stream, and there is nothing behind WASI that could wake it")]
pub(crate) struct Waits;

/// How often a guest that stopped of its own accord is asked again. What WASI gives here is ready
/// at once, though some of it yields a time or two before it says so.
const POLLS: usize = 4;

/// CPU time of a call, which may be polled on several threads.
///
/// The future that polls a guest sets where the current stretch began; the epoch callback, which
/// runs inside that poll on the same thread, adds what has passed since.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter {
    used_ns: AtomicU64,
    stretch_began_ns: AtomicU64,
    yielded: AtomicBool,
}

impl CpuMeter {
    /// Starts the account of a new call.
    pub(crate) fn reset(&self) {
        self.used_ns.store(0, Ordering::Relaxed);
    }

    /// CPU time of the call so far. Only valid inside a poll of [`run`](Self::run).
    pub(crate) fn used(&self) -> Duration {
        let stretch = thread_cpu_ns().saturating_sub(self.stretch_began_ns.load(Ordering::Relaxed));
        Duration::from_nanos(self.used_ns.load(Ordering::Relaxed) + stretch)
    }

    /// The epoch callback makes the guest yield, so its future is pending for a good reason.
    pub(crate) fn yields(&self) {
        self.yielded.store(true, Ordering::Relaxed);
    }

    /// Polls `call` until it is done, and keeps its account.
    ///
    /// # Errors
    ///
    /// Besides those of the call: [`Waits`], when it is pending and no epoch made it yield. Such a
    /// guest uses no CPU time, so no other limit would ever end it.
    pub(crate) async fn run<T>(
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

#[cfg(test)]
mod tests {
    use super::*;

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
