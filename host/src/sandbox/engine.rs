//! The one Wasm engine of a process: its settings, its clock ticks, its pool of instances.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::SandboxError;
use super::idle::Idle;
use super::limits::TABLE_ELEMENTS;

/// How often running guests are made to yield and their CPU time is checked.
const TICK: Duration = Duration::from_millis(5);

/// Every so many ticks it is looked after instances that wait.
const SWEEP: u64 = 200;

/// The largest linear memory that the pool has room for; a pipeline's limit is at or below it.
pub const MAX_MEMORY: usize = 4 << 30;

/// How many instances the pool has room for at once, all pipelines and lanes together.
///
/// Room is address space alone until an instance is there: the memories of [`MAX_MEMORY`] and their
/// guards are 5 TiB of the 128 TiB that a process has on common machines. A component of several
/// memories or many modules uses up another part of the pool earlier.
pub const MAX_INSTANCES: usize = 1024;

/// Bytes of stack that a guest has.
pub(super) const STACK: usize = 1 << 20;

/// Core instances and tables for each instance. A Python component takes up to 38 core instances,
/// which are no more than a number here; tables take address space, and few components have several.
const CORE_INSTANCES: u32 = 40;
const TABLES: u32 = 8;

/// Whether an engine keeps room for instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    /// It does: it will run transforms.
    Reserved,
    /// It does not: it only compiles them.
    None,
}

/// Builds an engine. The host and the child that compiles components differ in the pool alone, or
/// ahead-of-time code would not load.
pub(super) fn engine(instances: Pool) -> Result<Engine, SandboxError> {
    // Threads, shared memory, GC and component-model async are absent, not switched off: wasmtime is
    // built without them.
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .concurrency_support(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32))
        .max_wasm_stack(STACK)
        .async_stack_size(2 << 20);
    if instances == Pool::Reserved {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    }
    Engine::new(&config).map_err(|error| SandboxError::Engine(format!("{error:#}")))
}

/// Instances of modules in an instance of a component, at most.
pub(super) const CORE_INSTANCES_OF_ONE: u32 = 64;

fn pool() -> PoolingAllocationConfig {
    let instances = MAX_INSTANCES as u32;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * CORE_INSTANCES)
        .total_memories(instances + instances / 4)
        .total_tables(instances * TABLES)
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES_OF_ONE)
        .max_memories_per_component(8)
        .max_tables_per_component(64)
        .max_component_instance_size(2 << 20)
        .max_core_instance_size(2 << 20)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(MAX_MEMORY)
        .linear_memory_keep_resident(1 << 20);
    pool
}

/// The thread that ticks the engine's epoch for as long as it lives.
pub(super) struct Ticker {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Ticks, and lets go of instances that have waited for long.
    pub(super) fn start(engine: &Engine, idle: &Arc<Idle>) -> Result<Self, SandboxError> {
        let (stop, stopped) = sync_channel(0);
        let (engine, idle) = (engine.weak(), Arc::clone(idle));
        let thread = std::thread::Builder::new()
            .name("epoch-ticker".into())
            .spawn(move || {
                for tick in 1_u64.. {
                    if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                        break;
                    }
                    let Some(engine) = engine.upgrade() else {
                        break;
                    };
                    engine.increment_epoch();
                    if tick.is_multiple_of(SWEEP) {
                        idle.sweep();
                    }
                }
            })
            .map_err(|error| {
                SandboxError::Engine(format!("cannot start the ticker thread: {error}"))
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A ticker that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }
}
