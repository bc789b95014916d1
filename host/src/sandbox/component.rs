//! A component that was loaded and checked: what it is, what it imports, what it exports.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::{InstancePre, Linker};

use super::bindings::{log, mapper, metrics, migration, windowed};
use super::ceiling::{GuestMemory, Share};
use super::idle::Idle;
use super::instance::Instance;
use super::mapper::MapperInstance;
use super::meter::LogRate;
use super::session::Data;
use super::{ComponentError, Limits, text, wasi};
use crate::transform::{CallError, Opening};

/// How often an instance is asked for while others make room for it.
const TRIES: usize = 64;

/// An interface of the contract that a component exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// Rows in, rows out.
    Mapper,
    /// Keyed aggregation over event-time windows.
    Windowed,
    /// Takes over states of older versions.
    Migration,
}

impl Interface {
    /// Its name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mapper => "mapper",
            Self::Windowed => "windowed",
            Self::Migration => "migration",
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A component whose imports are all granted and which exports something of the contract.
pub struct Component {
    pub(super) pre: InstancePre<Data>,
    /// What all its instances have of the memory of guests.
    pub(super) memory: Arc<Share>,
    /// What all its instances log.
    pub(super) log_rate: Arc<Mutex<LogRate>>,
    pub(super) idle: Arc<Idle>,
    digest: String,
    size: usize,
    imports: Vec<String>,
    pub(super) mapper: Option<mapper::GuestIndices>,
    pub(super) windowed: Option<windowed::GuestIndices>,
    pub(super) migration: Option<migration::GuestIndices>,
    interfaces: Vec<Interface>,
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("digest", &self.digest)
            .field("interfaces", &self.interfaces)
            .finish_non_exhaustive()
    }
}

impl Component {
    /// `sha256:` and the SHA-256 of its bytes in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Its size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The names of what it imports, as `package:name/interface@version`.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// The interfaces of the contract that it exports.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The error of a call that needs an interface which is not exported.
    pub(super) fn lacks(&self, call: &'static str, wanted: Interface) -> CallError {
        let names = self.interfaces.iter();
        let names: Vec<String> = names.map(|interface| format!("`{interface}`")).collect();
        CallError::NotExported {
            call,
            wanted: wanted.name(),
            exported: names.join(" and "),
        }
    }

    /// Makes an instance and opens it as a mapper. The opening's key is empty.
    ///
    /// `label` names it in the operator's log.
    ///
    /// # Errors
    ///
    /// As [`Component::open_windowed`], of a component that is no mapper.
    pub async fn open_mapper(
        &self,
        opening: &Opening,
        limits: &Limits,
        label: &str,
    ) -> Result<MapperInstance, CallError> {
        for _ in 0..TRIES {
            match MapperInstance::open(self, opening, limits, label).await {
                Err(error) if error.is_pressure() && self.idle.let_go(Duration::ZERO) => {}
                opened => return opened,
            }
        }
        MapperInstance::open(self, opening, limits, label).await
    }

    /// Makes an instance and opens it as a windowed transform.
    ///
    /// `label` names it in the operator's log.
    ///
    /// # Errors
    ///
    /// The component is not windowed, cannot be instantiated within `limits`, refuses the opening,
    /// or says something of itself that breaks the contract.
    pub async fn open_windowed(
        &self,
        opening: &Opening,
        limits: &Limits,
        label: &str,
    ) -> Result<Instance, CallError> {
        for _ in 0..TRIES {
            match Instance::open(self, opening, limits, label).await {
                Err(error) if error.is_pressure() && self.idle.let_go(Duration::ZERO) => {}
                opened => return opened,
            }
        }
        Instance::open(self, opening, limits, label).await
    }

    pub(super) fn check(
        engine: &Engine,
        code: wasmtime::component::Component,
        digest: String,
        size: usize,
        (guest_memory, idle): (&Arc<GuestMemory>, &Arc<Idle>),
    ) -> Result<Self, ComponentError> {
        let component_type = code.component_type();
        let imports: Vec<String> = component_type
            .imports(engine)
            .map(|(name, _)| name.to_owned())
            .collect();
        let exports: Vec<String> = component_type
            .exports(engine)
            .map(|(name, _)| name.to_owned())
            .collect();
        // Before anything else: of a component of another version nothing else need be right.
        refuse_other_contracts(exports.iter().chain(&imports))?;
        let imports: Vec<String> = imports.into_iter().filter(|name| grants(name)).collect();
        let linker = linker(engine, &imports)?;
        let pre = linker.instantiate_pre(&code).map_err(broken)?;
        let mapper = complete(mapper::GuestIndices::new(&pre), "mapper", &exports)?;
        let windowed = complete(windowed::GuestIndices::new(&pre), "windowed", &exports)?;
        let migration = complete(migration::GuestIndices::new(&pre), "migration", &exports)?;
        let interfaces: Vec<_> = [
            (mapper.is_some(), Interface::Mapper),
            (windowed.is_some(), Interface::Windowed),
            (migration.is_some(), Interface::Migration),
        ]
        .into_iter()
        .filter_map(|(exported, interface)| exported.then_some(interface))
        .collect();
        if !interfaces
            .iter()
            .any(|interface| *interface != Interface::Migration)
        {
            let found = match exports.as_slice() {
                [] => " (it exports nothing)".to_owned(),
                some => format!(" (it exports {})", text::shown(&some.join(", "))),
            };
            return Err(ComponentError::NoInterface { found });
        }
        Ok(Self {
            pre,
            memory: Arc::new(Share::new(guest_memory)),
            log_rate: Arc::default(),
            idle: Arc::clone(idle),
            digest,
            size,
            imports,
            mapper,
            windowed,
            migration,
            interfaces,
        })
    }
}

fn broken(error: wasmtime::Error) -> ComponentError {
    ComponentError::Instantiate(text::shown(&format!("{error:#}")))
}

/// The functions of one of the contract's interfaces, or nothing if it is not exported. One that
/// is exported has all of them.
fn complete<T>(
    functions: wasmtime::Result<T>,
    interface: &str,
    exports: &[String],
) -> Result<Option<T>, ComponentError> {
    let export = exports
        .iter()
        .filter_map(|export| Some((export, export.strip_prefix(OURS)?)))
        .find(|(_, name)| name.split('@').next() == Some(interface));
    match (export, functions) {
        (None, _) => Ok(None),
        (Some(_), Ok(functions)) => Ok(Some(functions)),
        (Some((export, _)), Err(error)) => Err(ComponentError::Signature {
            export: text::shown(export),
            what: text::shown(&format!("{error:#}")),
        }),
    }
}

/// The contract's package.
const OURS: &str = "penstock:transform/";

/// The WASI packages that version 0.2 of wasmtime's implementation covers.
const WASI: [&str; 6] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Whether an import gives anything: an interface of types alone does not.
fn grants(import: &str) -> bool {
    import.split('@').next() != Some("penstock:transform/types")
}

/// Grants `log` and `metrics`, and WASI to those who ask for it; refuses any other import by name.
fn linker(engine: &Engine, imports: &[String]) -> Result<Linker<Data>, ComponentError> {
    let mut linker = Linker::new(engine);
    log::add_to_linker::<Data, Data>(&mut linker, |data| data).map_err(broken)?;
    metrics::add_to_linker::<Data, Data>(&mut linker, |data| data).map_err(broken)?;
    let mut wants_wasi = false;
    for import in imports {
        let (name, version) = import.split_once('@').unwrap_or((import, ""));
        if matches!(
            name,
            "penstock:transform/log" | "penstock:transform/metrics"
        ) {
            continue;
        }
        if version.starts_with("0.2.") && WASI.iter().any(|package| name.starts_with(package)) {
            wants_wasi = true;
            continue;
        }
        return Err(ComponentError::Import {
            import: text::shown(import),
        });
    }
    if wants_wasi {
        wasi::add_to_linker(&mut linker).map_err(broken)?;
    }
    Ok(linker)
}

fn refuse_other_contracts<'a>(
    mut names: impl Iterator<Item = &'a String>,
) -> Result<(), ComponentError> {
    let other = |name: &&String| {
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        interface.starts_with(OURS) && !version.starts_with("0.1.")
    };
    match names.find(other) {
        None => Ok(()),
        Some(name) => Err(ComponentError::Contract {
            name: text::shown(name),
        }),
    }
}

/// `sha256:` and the hexadecimal digest of `bytes`.
pub(super) fn digest(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut digest = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(digest, "{byte:02x}").expect("a string takes everything");
    }
    digest
}

/// Refuses what is plainly something else, and says what it is.
pub(super) fn refuse_other_formats(bytes: &[u8]) -> Result<(), ComponentError> {
    const WASM: &[u8] = b"\0asm";
    let other = |what: &str| Err(ComponentError::NotAComponent(what.into()));
    if Engine::detect_precompiled(bytes).is_some() || bytes.starts_with(b"\x7fELF") {
        return other(
            "it is native code, which is never accepted; give the component it was made from",
        );
    }
    if bytes.is_empty() {
        return other("the file is empty");
    }
    if !bytes.starts_with(WASM) {
        return other("it does not begin with the Wasm magic number");
    }
    // After the magic number: the version (2 bytes) and the layer (2 bytes), 0 for modules, 1 for components.
    match bytes.get(4..8) {
        Some([_, _, 1, 0]) => Ok(()),
        Some([_, _, 0, 0]) => other(
            "it is a core module; make a component of it with `penstock componentize MODULE.wasm -o COMPONENT.wasm`",
        ),
        _ => other("its header is cut short or of an unknown kind"),
    }
}
