//! The sandbox: components in, opened transforms out. The only room that knows wasmtime.
//!
//! Start with [`Sandbox`]: it has the one engine of the process. [`Sandbox::load`] turns bytes
//! that nobody has read into a [`Component`] whose imports and exports are known;
//! [`Component::open_windowed`] turns that into an [`Instance`], which is a
//! [`Windowed`](crate::transform::Windowed) transform, and [`Component::open_mapper`] into a
//! [`Mapper`](crate::transform::Mapper). Everything that a guest hands back is
//! checked here, before anybody else sees it. This room knows no windows, keys or pipelines.

#[allow(unsafe_code)] // Loading ahead-of-time code that this host made itself; see `load`.
mod aot;
mod arrow;
mod bindings;
mod cache;
mod compile;
mod component;
mod engine;
mod exchange;
mod fault;
mod instance;
mod limits;
mod mapper;
mod schema;
mod session;
mod text;
mod wasi;

pub use compile::{Compiler, compile_stdin};
pub use component::{Component, Interface};
pub use engine::{MAX_INSTANCES, MAX_MEMORY};
pub use instance::Instance;
pub use limits::Limits;
pub use mapper::MapperInstance;

use std::path::Path;

use cache::Cache;
use engine::{Pool, Ticker};

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
    /// Compiling it failed or took too much.
    #[error("cannot compile this component: {0}")]
    Compile(String),
    /// It cannot be instantiated.
    #[error("cannot instantiate this component: {0}")]
    Instantiate(String),
}

/// The one engine of a process, with its ticks, its cache and its compiler.
pub struct Sandbox {
    engine: wasmtime::Engine,
    cache: Option<Cache>,
    compiler: Compiler,
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
        Ok(Self {
            cache: cache.map(Cache::open).transpose()?,
            compiler,
            _ticker: Ticker::start(&engine)?,
            engine,
        })
    }

    /// Loads a component: refuses what it may not be, compiles it or takes it from the cache.
    ///
    /// # Errors
    ///
    /// See [`ComponentError`]; none of the component's code has run.
    pub fn load(&self, bytes: &[u8]) -> Result<Component, ComponentError> {
        component::refuse_other_formats(bytes)?;
        let digest = component::digest(bytes);
        let code = aot::load(
            &self.engine,
            self.cache.as_ref(),
            &self.compiler,
            &digest,
            bytes,
        )?;
        Component::check(&self.engine, code, digest, bytes.len())
    }

    /// Loads a component from a file.
    ///
    /// # Errors
    ///
    /// As [`Sandbox::load`], and when the file cannot be read.
    pub fn load_file(&self, path: &Path) -> Result<Component, ComponentError> {
        let bytes = std::fs::read(path).map_err(|error| ComponentError::Unreadable {
            path: path.display().to_string(),
            error: error.to_string(),
        })?;
        self.load(&bytes)
    }
}
