//! Builds transforms: a crate to a core module with cargo, and the module to a component.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use wit_component::{ComponentEncoder, DecodedWasm};

use crate::{
    command,
    machine::{self, LINKER, WASI_TARGET, WASM_TARGET},
    workspace::{Cdylib, Workspace},
};

/// Where the crates are that are built: whatever has a cdylib below one of these folders.
const FOLDERS: [&str; 2] = ["examples", "tests/guests"];

/// A transform in Rust has some tens of KiB. One above this has most likely linked something that it does not need.
const LARGEST: usize = 200 * 1024;

/// Guests of tests with a column of every type, which take more.
const LARGE: [&str; 1] = ["conformance"];

/// Guests of tests that are built for WASI, and are components as the compiler leaves them.
const FOR_WASI: [&str; 1] = ["clockwatcher"];

/// The only interfaces that a transform may import, whatever their version.
const ALLOWED_IMPORTS: [&str; 3] = [
    "penstock:transform/log@",
    "penstock:transform/metrics@",
    "penstock:transform/types@",
];

/// What a transform's exports begin with.
const CONTRACT: &str = "penstock:transform/";

/// Builds after making sure that the machine can.
pub(crate) fn prepare_and_build(workspace: &Workspace) -> Result<()> {
    machine::prepare(&[LINKER, WASM_TARGET, WASI_TARGET])?;
    build(workspace)
}

/// Builds every transform and writes it to `target/transforms`, if it has changed.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let (for_wasi, transforms): (Vec<_>, Vec<_>) = workspace
        .cdylibs_in(&FOLDERS)
        .into_iter()
        .partition(|transform| FOR_WASI.contains(&transform.library.as_str()));
    ensure!(
        !transforms.is_empty(),
        "no package in {} has a cdylib",
        FOLDERS.join(" or ")
    );
    let modules = compile(workspace, &transforms, "wasm32-unknown-unknown")?;
    let components = compile(workspace, &for_wasi, "wasm32-wasip2")?;
    for folder in output_folders(workspace) {
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let mut problems = Vec::new();
    for transform in &transforms {
        if let Err(error) = encode_file(workspace, transform, &modules) {
            problems.push(format!(
                "cannot make a component of package {}: {error:#}",
                transform.package
            ));
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    for transform in &for_wasi {
        let name = format!("{}.wasm", transform.library);
        let bytes = fs::read(components.join(&name))
            .with_context(|| format!("cannot read the component of {}", transform.package))?;
        for folder in output_folders(workspace) {
            write_if_changed(&folder.join(&name), &bytes)?;
        }
    }
    Ok(())
}

/// Builds packages for a target, in one invocation, which builds what they share once. Gives the
/// folder that they are in.
fn compile(workspace: &Workspace, transforms: &[Cdylib], target: &str) -> Result<PathBuf> {
    let mut cargo = workspace.cargo();
    let build = [
        "build",
        "--lib",
        "--profile",
        "transform",
        "--target",
        target,
    ];
    cargo.args(build);
    for transform in transforms {
        cargo.args(["-p", &transform.package]);
    }
    command::run(&mut cargo)?;
    Ok(workspace.target.join(target).join("transform"))
}

/// Pipelines of the examples name the folder in the repository, wherever else cargo builds to.
fn output_folders(workspace: &Workspace) -> Vec<PathBuf> {
    let mut folders = vec![
        workspace.target.join("transforms"),
        workspace.root.join("target/transforms"),
    ];
    folders.dedup();
    folders
}

fn encode_file(workspace: &Workspace, transform: &Cdylib, modules: &Path) -> Result<()> {
    let name = format!("{}.wasm", transform.library);
    let module = modules.join(&name);
    let module = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let largest = match LARGE.contains(&transform.library.as_str()) {
        true => 2 * LARGEST,
        false => LARGEST,
    };
    let Component { bytes, exports } = encode(&module, largest)?;
    for folder in output_folders(workspace) {
        let path = folder.join(&name);
        let changed = write_if_changed(&path, &bytes)?;
        println!(
            "{}: {:.1} KiB, exports {}{}",
            path.strip_prefix(&workspace.root)
                .unwrap_or(&path)
                .display(),
            bytes.len() as f64 / 1024.0,
            exports.join(" and "),
            if changed { "" } else { ", unchanged" },
        );
    }
    Ok(())
}

struct Component {
    bytes: Vec<u8>,
    /// The interfaces of the contract that it exports.
    exports: Vec<String>,
}

fn encode(module: &[u8], largest: usize) -> Result<Component> {
    let bytes = ComponentEncoder::default()
        .module(module)?
        .validate(true)
        .encode()?;
    let (imports, exports) = interfaces(&bytes)?;
    check(bytes.len(), largest, &imports, &exports)?;
    Ok(Component {
        bytes,
        exports: exports.iter().filter_map(|name| short(name)).collect(),
    })
}

/// The names of what a component imports and exports.
fn interfaces(component: &[u8]) -> Result<(Vec<String>, Vec<String>)> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        anyhow::bail!("it is a package of WIT, not a component");
    };
    let world = &resolve.worlds[world];
    let imports = world
        .imports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .collect();
    let exports = world
        .exports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .collect();
    Ok((imports, exports))
}

fn check(size: usize, largest: usize, imports: &[String], exports: &[String]) -> Result<()> {
    ensure!(
        size <= largest,
        "it has {} KiB, and the limit is {} KiB: look for a dependency that it does not need (`cargo tree -p …`), \
         formatting of floating-point numbers, or a table of data",
        size.div_ceil(1024),
        largest / 1024,
    );
    ensure!(
        exports.iter().any(|name| name.starts_with(CONTRACT)),
        "it exports nothing of {CONTRACT}…: does its lib.rs name the transform to export?",
    );
    for import in imports {
        ensure!(
            ALLOWED_IMPORTS
                .iter()
                .any(|allowed| import.starts_with(allowed)),
            "it imports {import}, and a transform may import nothing but log and metrics",
        );
    }
    Ok(())
}

fn short(name: &str) -> Option<String> {
    let name = name.strip_prefix(CONTRACT)?;
    Some(name.split('@').next().unwrap_or(name).to_owned())
}

/// A reader, or a host that watches the file, sees the old bytes or the new ones. An unchanged file keeps its time, so
/// that nothing is built anew because of it.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    match fs::read(path) {
        Ok(old) if old == bytes => return Ok(false),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
        _ => {}
    }
    let partial = path.with_added_extension("partial");
    fs::write(&partial, bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[track_caller]
    fn refused(size: usize, imports: &[&str], exports: &[&str], because: &str) {
        let error =
            check(size, LARGEST, &names(imports), &names(exports)).expect_err("it is refused");
        assert!(error.to_string().contains(because), "{error}");
    }

    #[test]
    fn a_transform_is_small_and_keeps_to_the_contract() {
        let windowed = "penstock:transform/windowed@0.1.0";
        let log = "penstock:transform/log@0.1.0";
        check(LARGEST, LARGEST, &names(&[log]), &names(&[windowed])).expect("it is right");
        refused(LARGEST + 1, &[log], &[windowed], "201 KiB");
        refused(
            1,
            &["wasi:clocks/wall-clock@0.2.9"],
            &[windowed],
            "imports wasi:clocks/wall-clock@0.2.9",
        );
        refused(
            1,
            &["penstock:transform/logs@0.1.0"],
            &[windowed],
            "imports penstock:transform/logs",
        );
        refused(1, &[log], &[], "exports nothing");
        refused(1, &[], &["wasi:cli/run@0.2.0"], "exports nothing");
    }

    #[test]
    fn a_module_that_is_no_transform_is_refused() {
        let empty = b"\0asm\x01\0\0\0";
        assert!(encode(empty, LARGEST).is_err());
        assert!(encode(b"not wasm", LARGEST).is_err());
    }

    #[test]
    fn exports_are_shown_without_package_and_version() {
        assert_eq!(
            short("penstock:transform/windowed@0.1.0").as_deref(),
            Some("windowed")
        );
        assert_eq!(short("wasi:cli/run@0.2.0"), None);
    }
}
