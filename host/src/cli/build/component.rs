//! A component of a core module: the part that needs no SDK and no tool beside this program.
//!
//! A module that says its own types (as what wit-bindgen makes does) is encoded as it is. One that only
//! exports the contract's functions under their names is given the types of the world that its exports
//! are. Imports of WASI preview 1 are met by an adapter with nothing behind it.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve, UnresolvedPackageGroup};

use super::sdk::WIT;

/// WASI preview 1 with nothing behind it; `preview1.wat` says what is in it.
const PREVIEW1: &[u8] = include_bytes!("preview1.wasm");

/// The interfaces that can be exported, and the world of each set of them.
const WORLDS: [(&[&str], &str); 5] = [
    (&["windowed"], "windowing"),
    (&["windowed", "migration"], "windowing-migrating"),
    (&["mapper"], "mapping"),
    (&["mapper", "windowed"], "mapping-windowing"),
    (&["mapper", "windowed", "migration"], "everything"),
];

/// Makes a component of a core module.
///
/// # Errors
///
/// It is no core module, exports no interface of the contract whole, or imports what no transform may.
pub(in crate::cli) fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let Outline {
        exports,
        says_its_types,
    } = Outline::of(module).ok_or("it is not a whole WebAssembly module")?;
    let mut module = module.to_vec();
    if !says_its_types {
        give_types(&mut module, &exports)?;
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", PREVIEW1))
        .and_then(|encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))
}

/// Adds the section that says which world the module is of.
fn give_types(module: &mut Vec<u8>, exports: &[String]) -> Result<(), String> {
    let (resolve, package) = contract();
    let version = resolve.packages[package].name.version.clone();
    let version = version.map_or_else(String::new, |version| format!("@{version}"));
    let exported = |interface: &&str| {
        let prefix = format!("penstock:transform/{interface}{version}#");
        exports.iter().any(|export| export.starts_with(&prefix))
    };
    let interfaces: Vec<&str> = ["mapper", "windowed", "migration"]
        .into_iter()
        .filter(exported)
        .collect();
    let world = WORLDS.iter().find(|(of, _)| {
        of.len() == interfaces.len() && of.iter().all(|name| interfaces.contains(name))
    });
    let Some((_, world)) = world else {
        return Err(match interfaces.is_empty() {
            true => format!(
                "it exports no function of the contract, such as `penstock:transform/windowed{version}#accumulate`: is the line missing that exports the transform?"
            ),
            false => format!(
                "it exports `{}` alone, which is no world of the contract",
                interfaces.join("` and `")
            ),
        });
    };
    let world = resolve
        .select_world(&[package], Some(world))
        .map_err(|error| format!("{error:#}"))?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8, false)
        .map_err(|error| format!("{error:#}"))
}

/// The contract that is part of this program.
fn contract() -> (Resolve, PackageId) {
    let mut sources = wit_parser::SourceMap::default();
    for file in WIT {
        sources.push_str(file.path, file.text);
    }
    let group: UnresolvedPackageGroup = sources
        .parse()
        .map_err(|(_, error)| error)
        .expect("tests read the contract as well");
    let mut resolve = Resolve::default();
    let package = resolve
        .push_group(group)
        .expect("the contract needs nothing beside itself");
    (resolve, package)
}

/// What of a module must be known before it is encoded.
struct Outline {
    exports: Vec<String>,
    /// Whether it has a section with the component's types.
    says_its_types: bool,
}

impl Outline {
    /// Reads names alone; everything else the encoder checks.
    fn of(module: &[u8]) -> Option<Self> {
        let mut rest = Bytes(module.strip_prefix(b"\0asm\x01\0\0\0")?);
        let mut outline = Self {
            exports: Vec::new(),
            says_its_types: false,
        };
        while !rest.0.is_empty() {
            let section = rest.take(1)?[0];
            let length = rest.number()?;
            let mut inside = Bytes(rest.take(length)?);
            match section {
                0 => outline.says_its_types |= inside.name()?.starts_with("component-type"),
                7 => {
                    for _ in 0..inside.number()? {
                        outline.exports.push(inside.name()?.to_owned());
                        inside.take(1)?;
                        inside.number()?;
                    }
                }
                _ => {}
            }
        }
        Some(outline)
    }
}

/// The rest of a module.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// An unsigned number of at most 32 bits, seven bits a byte.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return usize::try_from(number).ok();
            }
        }
        None
    }

    fn name(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preview1_is_what_its_source_says() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/build/");
        let assembled = wat::parse_file(format!("{folder}preview1.wat")).unwrap();
        if std::env::var_os("PENSTOCK_BLESS").is_some() {
            std::fs::write(format!("{folder}preview1.wasm"), &assembled).unwrap();
            return;
        }
        assert_eq!(PREVIEW1, assembled, "PENSTOCK_BLESS=1 writes preview1.wasm");
    }

    #[test]
    fn the_worlds_are_in_the_contract() {
        let (resolve, package) = contract();
        for (_, world) in WORLDS {
            resolve.select_world(&[package], Some(world)).unwrap();
        }
    }

    #[test]
    fn what_is_no_transform_is_refused() {
        assert!(encode(b"not wasm").unwrap_err().contains("not a whole"));
        assert!(
            encode(b"\0asm\x01\0\0\0\x07\x05\x01")
                .unwrap_err()
                .contains("not a whole")
        );
        let empty = encode(b"\0asm\x01\0\0\0").unwrap_err();
        assert!(
            empty.contains("exports no function of the contract"),
            "{empty}"
        );
    }

    #[test]
    fn a_module_needs_no_generated_bindings() {
        let module = r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
          (func (export "penstock:transform/mapper@0.1.0#open-mapper")
            (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (unreachable))
          (func (export "penstock:transform/mapper@0.1.0#map-rows")
            (param i32 i32 i32 i32) (result i32) (unreachable)))"#;
        let component = encode(&wat::parse_str(module).unwrap()).unwrap();
        let decoded = wit_component::decode(&component).unwrap();
        let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
            panic!("it is a component");
        };
        assert!(resolve.worlds[world].imports.len() <= 1, "only the types");
    }
}
