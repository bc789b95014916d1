//! WASI with nothing behind it, for components whose toolchain insists on it.
//!
//! No files, environment, arguments or network; the clocks stand still at zero; random bytes come
//! from one fixed stream that starts again before each call. So a transform that reads them still
//! gives equal bytes. Reads are counted, because somebody should hear of them. A time that lies
//! ahead never comes, so a guest that waits for one is ended.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::transform::Figures;
use rand::TryRng;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiView};

/// What the store and the WASI context of an instance share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    stream: AtomicU64,
    clock_reads: AtomicU64,
    random_reads: AtomicU64,
}

impl Shared {
    /// Starts the random stream again.
    pub(super) fn restart(&self) {
        self.stream.store(0, Ordering::Relaxed);
    }

    pub(super) fn add_to(&self, figures: &mut Figures) {
        figures.clock_reads = self.clock_reads.load(Ordering::Relaxed);
        figures.random_reads = self.random_reads.load(Ordering::Relaxed);
    }
}

/// Random bytes that a guest gets at once: they are made within one call of the host, where no clock looks.
const RANDOM_BYTES: u64 = 1 << 20;

/// A context that grants nothing.
pub(super) fn context(shared: &Arc<Shared>) -> WasiCtx {
    WasiCtxBuilder::new()
        .wall_clock(StandingClock(Arc::clone(shared)))
        .monotonic_clock(StandingClock(Arc::clone(shared)))
        .secure_random(FixedStream(Arc::clone(shared)))
        .insecure_random(FixedStream(Arc::clone(shared)))
        .insecure_random_seed(0)
        .max_random_size(RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// The interface that gives timers, at the version that wasmtime's implementation registers.
const MONOTONIC_CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.12";

/// Grants all of WASI 0.2, on the context of the store.
///
/// Wasmtime's timers run on the machine's clock, whatever clock the context has, so they are replaced.
pub(super) fn add_to_linker<T: WasiView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    let mut clock = linker.instance(MONOTONIC_CLOCK)?;
    // The clock stands at zero: a duration from now and an instant are the same number.
    for name in ["subscribe-instant", "subscribe-duration"] {
        clock.func_wrap(name, |mut store, (at,): (u64,)| {
            Ok((timer(store.data_mut(), at)?,))
        })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

fn timer<T: WasiView>(data: &mut T, at: u64) -> wasmtime::Result<Resource<DynPollable>> {
    let table = data.ctx().table;
    let timer = table.push(Timer { is_past: at == 0 })?;
    subscribe(table, timer)
}

/// A timer on a clock that stands still.
struct Timer {
    is_past: bool,
}

#[async_trait::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        if !self.is_past {
            std::future::pending().await
        }
    }
}

struct StandingClock(Arc<Shared>);

impl StandingClock {
    fn read(&self) {
        self.0.clock_reads.fetch_add(1, Ordering::Relaxed);
    }
}

impl HostWallClock for StandingClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.read();
        Duration::ZERO
    }
}

impl HostMonotonicClock for StandingClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.read();
        0
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014) from seed zero.
struct FixedStream(Arc<Shared>);

impl FixedStream {
    fn next(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self
            .0
            .stream
            .fetch_add(GOLDEN, Ordering::Relaxed)
            .wrapping_add(GOLDEN);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn read(&self) {
        self.0.random_reads.fetch_add(1, Ordering::Relaxed);
    }
}

impl TryRng for FixedStream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.read();
        Ok(self.next() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.read();
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.read();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
