//! The sandbox: components in, opened transforms out. The only room that knows wasmtime.
//!
//! Start with [`Sandbox`]: it has the one engine of the process. [`Sandbox::load`] turns bytes
//! that nobody has read into a [`Component`] whose imports and exports are known;
//! [`Component::open_windowed`] turns that into an [`Instance`], which is a
//! [`Windowed`](crate::transform::Windowed) transform, [`Resting`] makes one of it that holds an instance only while there is
//! something to do, and [`Component::open_mapper`] turns it into a
//! [`Mapper`](crate::transform::Mapper). Everything that a guest hands back is
//! checked here, before anybody else sees it. This room knows no windows, keys or pipelines.

#[allow(unsafe_code)] // Loading ahead-of-time code that this host made itself; see `load`.
mod aot;
mod arrow;
mod bindings;
mod cache;
mod ceiling;
mod compile;
mod component;
mod engine;
mod exchange;
mod fault;
mod footprint;
#[cfg(test)]
mod fuzz;
mod idle;
mod instance;
mod limits;
mod mapper;
mod meter;
mod migrating;
mod resting;
mod schema;
mod session;
mod text;
mod wasi;

pub use compile::{Compiler, compile_stdin};
pub use component::{Component, Interface};
pub use engine::{MAX_INSTANCES, MAX_MEMORY};
pub use instance::Instance;
pub use limits::{LIMITS, Limit, Limits, MAX_NESTING, SetBy};
pub use mapper::MapperInstance;
pub use resting::Resting;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use cache::Cache;
use ceiling::GuestMemory;
use engine::{Pool, Ticker};
use footprint::Footprint;
use idle::Idle;

/// The version of the contract that this host speaks; it takes components of any `0.1.x`.
pub const CONTRACT: &str = "0.1.0";

/// Why the sandbox itself cannot work.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine does not start.
    #[error("cannot start the Wasm engine: {0}")]
    Engine(String),
    /// The cache folder cannot be used.
    #[error("{0}")]
    Cache(String),
}

/// Why a component cannot be used. The message says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ComponentError {
    /// The file cannot be read.
    #[error("cannot read the component {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        error: String,
    },
    /// The bytes are no component.
    #[error("this is not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// The bytes look like a component, and are not a valid one.
    #[error("this component is not valid: {0}")]
    Invalid(String),
    /// It imports what the host does not offer.
    #[error(
        "this component imports `{import}`, which a transform may not: the host offers `penstock:transform/log` and `penstock:transform/metrics`, and WASI 0.2 with nothing behind it; build it without what needs that import"
    )]
    Import {
        /// The import.
        import: String,
    },
    /// It was built against a contract that this host does not speak.
    #[error(
        "this component is built against `{name}`, and this host speaks version {CONTRACT} of the contract; build it with an SDK of version 0.1"
    )]
    Contract {
        /// The interface of another version that it exports or imports.
        name: String,
    },
    /// It exports an interface of the contract that is not as the contract says.
    #[error(
        "this component exports `{export}`, but not as the contract has it: {what}; build it with an SDK of version 0.1"
    )]
    Signature {
        /// The interface.
        export: String,
        /// What is different.
        what: String,
    },
    /// It exports none of the contract's interfaces.
    #[error(
        "this component exports none of `penstock:transform/windowed@{CONTRACT}` and `penstock:transform/mapper@{CONTRACT}`, so there is nothing to run{found}; is `export_window!` or `export_mapper!` missing?"
    )]
    NoInterface {
        /// What it exports instead, as the end of a sentence.
        found: String,
    },
    /// It is larger than it may be, or compiling it takes more than it may.
    #[error(
        "this component ran into the limit `{name}`: {limit} allowed, {requested} asked for; {}",
        what_raises(name)
    )]
    Limit {
        /// The limit's name in the pipeline's `[limits]`.
        name: &'static str,
        /// What is allowed, with its unit.
        limit: String,
        /// What was asked for.
        requested: String,
    },
    /// Compiling it failed or took too much.
    #[error("cannot compile this component: {0}")]
    Compile(String),
    /// It cannot be instantiated.
    #[error("cannot instantiate this component: {0}")]
    Instantiate(String),
}

/// What the author of a pipeline can do about a limit.
fn what_raises(limit: &str) -> String {
    let is_set = |known: &&Limit| known.name == limit && known.set_by == SetBy::Pipeline;
    match LIMITS.iter().find(is_set) {
        Some(_) => format!("raise `limits.{limit}` in the pipeline if that is what it needs"),
        None => "no setting raises it: build a smaller component".to_owned(),
    }
}

/// The one engine of a process, with its ticks, its cache and its compiler.
pub struct Sandbox {
    engine: wasmtime::Engine,
    cache: Option<Cache>,
    compiler: Compiler,
    guest_memory: Arc<GuestMemory>,
    idle: Arc<Idle>,
    // Dropped last: guests that still run need its ticks to stop.
    _ticker: Ticker,
}

impl Sandbox {
    /// Starts the engine.
    ///
    /// `cache` is a private folder for compiled components; without one, each load compiles.
    ///
    /// # Errors
    ///
    /// The machine has not the address space, or the cache folder is open to others.
    pub fn start(compiler: Compiler, cache: Option<&Path>) -> Result<Self, SandboxError> {
        let engine = engine::engine(Pool::Reserved)?;
        let guest_memory = Arc::new(GuestMemory::new(ceiling::default_guest_memory()));
        let idle = Arc::new(Idle::new(&guest_memory));
        Ok(Self {
            cache: cache.map(Cache::open).transpose()?,
            compiler,
            _ticker: Ticker::start(&engine, &idle)?,
            guest_memory,
            idle,
            engine,
        })
    }

    /// Has all instances together have another amount of memory, in bytes. By default they have three quarters of what
    /// this machine, or this process, may use.
    #[must_use]
    pub fn with_guest_memory(self, bytes: usize) -> Self {
        self.guest_memory.allow(bytes);
        self
    }

    /// Lets go of all instances that wait for their next call; says how many there were. They go by themselves when they have
    /// waited for a minute, or when somebody else needs their room.
    pub fn let_go(&self) -> usize {
        self.idle.let_all_go()
    }

    /// Memory of all instances together, in bytes: what is allowed, in use, and was in use at most.
    pub fn guest_memory(&self) -> (usize, usize, usize) {
        self.guest_memory.figures()
    }

    /// Loads a component within the limits that a pipeline has if it says nothing.
    ///
    /// # Errors
    ///
    /// As [`Sandbox::load_within`].
    pub fn load(&self, bytes: &[u8]) -> Result<Component, ComponentError> {
        self.load_within(bytes, &Limits::default())
    }

    /// Loads a component: refuses what it may not be, compiles it or takes it from the cache.
    ///
    /// # Errors
    ///
    /// See [`ComponentError`]; none of the component's code has run.
    pub fn load_within(&self, bytes: &[u8], limits: &Limits) -> Result<Component, ComponentError> {
        component::refuse_other_formats(bytes)?;
        refuse_large(bytes.len() as u64, limits)?;
        refuse_footprint(bytes, limits)?;
        let digest = component::digest(bytes);
        let code = aot::load(
            &self.engine,
            self.cache.as_ref(),
            &self.compiler,
            &digest,
            bytes,
            limits,
        )?;
        let shared = (&self.guest_memory, &self.idle);
        Component::check(&self.engine, code, digest, bytes.len(), shared)
    }

    /// Loads a component from a file, within the limits that a pipeline has if it says nothing.
    ///
    /// # Errors
    ///
    /// As [`Sandbox::load`], and when the file cannot be read.
    pub fn load_file(&self, path: &Path) -> Result<Component, ComponentError> {
        let limits = Limits::default();
        self.load_within(&read_component(path, &limits)?, &limits)
    }
}

/// Reads a component from a file.
///
/// # Errors
///
/// [`ComponentError::Limit`] when it is too large, [`ComponentError::Unreadable`] when it cannot be read.
pub fn read_component(path: &Path, limits: &Limits) -> Result<Vec<u8>, ComponentError> {
    let unreadable = |error: std::io::Error| ComponentError::Unreadable {
        path: path.display().to_string(),
        error: error.to_string(),
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    refuse_large(length, limits)?;
    // What is no file has any length it likes, and one may grow while it is read.
    let mut bytes = Vec::with_capacity(length as usize);
    let most = limits.component_size as u64 + 1;
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    refuse_large(bytes.len() as u64, limits)?;
    Ok(bytes)
}

/// Refuses a component of so many bytes, if that is too many.
///
/// # Errors
///
/// [`ComponentError::Limit`] if it is.
pub fn refuse_large(length: u64, limits: &Limits) -> Result<(), ComponentError> {
    if length <= limits.component_size as u64 {
        return Ok(());
    }
    Err(ComponentError::Limit {
        name: "component_size",
        limit: format!("{} bytes", limits.component_size),
        requested: format!("{length} bytes"),
    })
}

/// Refuses a component of which an instance would take too much before anything runs. What is refused here need not be
/// compiled, and is told with the limit's name.
fn refuse_footprint(bytes: &[u8], limits: &Limits) -> Result<(), ComponentError> {
    // What cannot be read is for the compiler to refuse, which says more of it.
    let found = Footprint::of(bytes).unwrap_or_default();
    let most = limits.table_elements as u64;
    let beyond = |name, limit: String, requested: u64| {
        Err(ComponentError::Limit {
            name,
            limit,
            requested: requested.to_string(),
        })
    };
    if found.modules > u64::from(engine::CORE_INSTANCES_OF_ONE) {
        let limit = format!("{} instances of modules", engine::CORE_INSTANCES_OF_ONE);
        return beyond("modules", limit, found.modules);
    }
    if found.memories > 1 {
        return beyond("modules", "one memory of a module".into(), found.memories);
    }
    if found.table > most {
        return beyond("table_elements", format!("{most} of a table"), found.table);
    }
    if found.elements > most {
        let limit = format!("{most} of all segments");
        return beyond("table_elements", limit, found.elements);
    }
    Ok(())
}
