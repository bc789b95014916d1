//! Where the workspace is, where it builds to, and what is in it, as cargo says.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// The workspace that this xtask belongs to.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder with the workspace's Cargo.toml.
    pub(crate) root: PathBuf,
    /// Where cargo builds to: CARGO_TARGET_DIR and cargo's own settings are heeded.
    pub(crate) target: PathBuf,
    metadata: Value,
}

/// A library that can be built for Wasm.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cdylib {
    /// The package, for `cargo build -p`.
    pub(crate) package: String,
    /// The library, as its file is called: underscores for hyphens.
    pub(crate) library: String,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        // Cargo sets the variable when it runs this program; the value at compile time serves when it is run directly.
        let package =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&package)
            .parent()
            .context("xtask has no folder above it")?
            .to_owned();
        let mut metadata = cargo(&root);
        metadata.args(["metadata", "--no-deps", "--format-version", "1"]);
        let metadata = command::output(&mut metadata)?;
        let metadata: Value =
            serde_json::from_str(&metadata).context("cargo metadata did not give JSON")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("cargo metadata gives no target_directory")?;
        Ok(Workspace {
            target: target.into(),
            root,
            metadata,
        })
    }

    /// Cargo, as this program was started by it, in the root.
    pub(crate) fn cargo(&self) -> Command {
        cargo(&self.root)
    }

    /// The packages in one of `folders` (such as `examples`) that have a cdylib, sorted by name.
    pub(crate) fn cdylibs_in(&self, folders: &[&str]) -> Vec<Cdylib> {
        cdylibs(&self.metadata, &self.root, folders)
    }

    /// Whether there is a package of this name.
    pub(crate) fn has_package(&self, name: &str) -> bool {
        list(&self.metadata["packages"])
            .iter()
            .any(|package| package["name"] == name)
    }
}

fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}

fn cdylibs(metadata: &Value, root: &Path, folders: &[&str]) -> Vec<Cdylib> {
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        if !folders
            .iter()
            .any(|folder| manifest.starts_with(root.join(folder)))
        {
            continue;
        }
        let library = list(&package["targets"])
            .iter()
            .find(|target| list(&target["kind"]).iter().any(|kind| kind == "cdylib"));
        if let (Some(package), Some(library)) = (
            package["name"].as_str(),
            library.and_then(|target| target["name"].as_str()),
        ) {
            found.push(Cdylib {
                package: package.to_owned(),
                library: library.replace('-', "_"),
            });
        }
    }
    found.sort_by(|a, b| a.package.cmp(&b.package));
    found
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_cdylibs_of_the_named_folders_are_found() {
        let package = |name: &str, folder: &str, kind: &str| {
            json!({
                "name": name,
                "manifest_path": format!("/r/{folder}/Cargo.toml"),
                "targets": [{ "name": name, "kind": ["bin"] }, { "name": name, "kind": [kind, "rlib"] }],
            })
        };
        let metadata = json!({ "packages": [
            package("two-words", "examples/b", "cdylib"),
            package("a", "tests/guests/a", "cdylib"),
            package("library", "examples/c", "lib"),
            package("elsewhere", "host", "cdylib"),
        ]});
        let found = cdylibs(&metadata, Path::new("/r"), &["examples", "tests/guests"]);
        let expected = [("a", "a"), ("two-words", "two_words")].map(|(package, library)| Cdylib {
            package: package.to_owned(),
            library: library.to_owned(),
        });
        assert_eq!(found, expected);
    }
}
