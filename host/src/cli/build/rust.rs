//! Rust: cargo, with rustup's target for WebAssembly.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::super::Failure;
use super::language::{TextFile, files};
use super::project::Project;
use super::{Built, toolchain};

/// What transforms are compiled for.
const TARGET: &str = "wasm32-unknown-unknown";

/// The SDK, with manifests that do not need the repository's workspace.
pub(super) const SDK: &[TextFile] = files!("rust/" =>
    "derive/src/lib.rs",
    "derive/src/record.rs",
    "derive/src/shape.rs",
    "src/bindings.rs",
    "src/buffers.rs",
    "src/columnar.rs",
    "src/contract.rs",
    "src/export.rs",
    "src/glue/by_columns.rs",
    "src/glue/by_rows.rs",
    "src/glue/component.rs",
    "src/glue/groups.rs",
    "src/glue/mapping.rs",
    "src/glue/mod.rs",
    "src/glue/opened.rs",
    "src/glue/states.rs",
    "src/glue/undo.rs",
    "src/lib.rs",
    "src/log.rs",
    "src/mapper.rs",
    "src/metrics.rs",
    "src/native.rs",
    "src/old.rs",
    "src/panics.rs",
    "src/private.rs",
    "src/quiet.rs",
    "src/schema.rs",
    "src/testing.rs",
    "src/testing/mapper.rs",
    "src/types/decimal.rs",
    "src/types/fixed.rs",
    "src/types/list.rs",
    "src/types/mod.rs",
    "src/types/numbers.rs",
    "src/types/text.rs",
    "src/types/time.rs",
    "src/value.rs",
    "src/window.rs",
    ;
    TextFile { path: "Cargo.toml", text: MANIFEST },
    TextFile { path: "derive/Cargo.toml", text: DERIVE_MANIFEST }
);

/// The SDK's own manifest takes its versions from the workspace; so this says them once more.
const MANIFEST: &str = r#"[package]
name = "penstock-sdk"
version = "0.1.0"
edition = "2024"
rust-version = "1.95"

[dependencies]
bytemuck = { version = "1", default-features = false, features = ["extern_crate_alloc"] }
penstock-sdk-derive = { path = "derive" }
wit-bindgen = { version = "0.63", default-features = false, features = ["macros", "realloc"] }
"#;

const DERIVE_MANIFEST: &str = r#"[package]
name = "penstock-sdk-derive"
version = "0.1.0"
edition = "2024"
rust-version = "1.95"

[lib]
proc-macro = true

[dependencies]
proc-macro2 = "1"
quote = "1"
syn = "2"
"#;

/// The source of a new window.
pub(super) const WINDOW: &[TextFile] =
    files!("rust/templates/window/" => "Cargo.toml.in", "src/lib.rs");

/// The source of a new mapper.
pub(super) const MAPPER: &[TextFile] =
    files!("rust/templates/mapper/" => "Cargo.toml.in", "src/lib.rs");

pub(super) fn build(project: &Project) -> Result<Built, Failure> {
    if !toolchain::succeeds("cargo", &["--version"]) {
        return Err(Failure::input(
            "there is no cargo: install Rust 1.95 or newer from https://rustup.rs, and then `rustup target add wasm32-unknown-unknown`",
        ));
    }
    let module = module(project)?;
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--quiet", "--lib", "--release", "--target", TARGET])
        .current_dir(&project.folder);
    toolchain::compile(&mut cargo).map_err(|failure| match has_target() {
        true => failure,
        false => Failure::input(format!(
            "Rust has no target {TARGET} here: `rustup target add {TARGET}`"
        )),
    })?;
    toolchain::read(&module).map(Built::Module)
}

fn has_target() -> bool {
    toolchain::output_of("rustc", &["--print", "sysroot"]).is_none_or(|sysroot| {
        let libraries = PathBuf::from(sysroot.trim())
            .join("lib/rustlib")
            .join(TARGET);
        libraries.is_dir()
    })
}

/// The file that cargo will leave.
fn module(project: &Project) -> Result<PathBuf, Failure> {
    let manifest = project.folder.join("Cargo.toml");
    let said = Command::new("cargo")
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(&manifest)
        .output()
        .map_err(|error| Failure::work(format!("cannot run cargo: {error}")))?;
    if !said.status.success() {
        let text = String::from_utf8_lossy(&said.stderr);
        return Err(Failure::input(format!("cargo says: {}", text.trim())));
    }
    let metadata: Value = serde_json::from_slice(&said.stdout)
        .map_err(|error| Failure::work(format!("cannot read what cargo says: {error}")))?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let library = list(&metadata["packages"])
        .into_iter()
        .filter(|package| {
            package["manifest_path"]
                .as_str()
                .is_some_and(|path| manifest == Path::new(path))
        })
        .flat_map(|package| list(&package["targets"]))
        .find(|target| list(&target["kind"]).iter().any(|kind| kind == "cdylib"));
    let library = library.ok_or_else(|| {
        Failure::input(format!(
            "{} has no library of the kind that becomes a component: add `[lib]` and `crate-type = [\"cdylib\", \"rlib\"]` to it",
            manifest.display()
        ))
    })?;
    let name = library["name"]
        .as_str()
        .unwrap_or_default()
        .replace('-', "_");
    let target = PathBuf::from(metadata["target_directory"].as_str().unwrap_or("target"));
    Ok(target
        .join(TARGET)
        .join("release")
        .join(format!("{name}.wasm")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sources(folder: &Path, found: &mut BTreeSet<String>, root: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found, root);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }

    #[test]
    fn every_source_of_the_sdk_is_in_the_program() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/rust");
        let mut found = BTreeSet::new();
        sources(&root.join("src"), &mut found, &root);
        sources(&root.join("derive/src"), &mut found, &root);
        found.retain(|path| !path.ends_with("tests.rs") && !path.ends_with("compile_fail.rs"));
        let embedded: BTreeSet<String> = SDK
            .iter()
            .filter(|file| file.path.ends_with(".rs"))
            .map(|file| file.path.to_owned())
            .collect();
        assert_eq!(embedded, found, "list it in `SDK`");
    }
}
