//! Builds a transform: the author's own command, or cargo and then a component of what it left.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::Failure;
use crate::cli::componentize;

/// How a transform is built.
#[derive(Debug, Clone)]
pub(super) enum Build {
    /// A command for the shell, which leaves the component where the pipeline names it.
    Command { command: String, folder: PathBuf },
    /// Cargo, in the folder of this package; what it leaves becomes the component.
    Cargo { folder: PathBuf, component: PathBuf },
}

/// How building ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Built {
    /// The component is new, or as it was.
    Done,
    /// The tool has said why not.
    Failed(String),
}

impl Build {
    /// The author's command, or cargo with the package that `source` is in or has below it.
    ///
    /// # Errors
    ///
    /// There is neither.
    pub(super) fn find(
        command: Option<&str>,
        source: &Path,
        component: &Path,
    ) -> Result<Self, Failure> {
        if let Some(command) = command {
            return Ok(Self::Command {
                command: command.to_owned(),
                folder: source.to_owned(),
            });
        }
        let from = source.canonicalize().map_err(|error| {
            Failure::Input(format!(
                "cannot open the folder {}: {error}",
                source.display()
            ))
        })?;
        let found = from
            .ancestors()
            .find(|folder| folder.join("Cargo.toml").is_file());
        match found {
            Some(folder) => Ok(Self::Cargo {
                folder: folder.to_owned(),
                component: component.to_owned(),
            }),
            None => Err(Failure::Input(format!(
                "there is no Cargo.toml in {} or above it; say with --source where the transform's source is, or with --build how to build it",
                source.display()
            ))),
        }
    }

    /// The folder whose files the transform is made of.
    pub(super) fn folder(&self) -> &Path {
        let (Self::Command { folder, .. } | Self::Cargo { folder, .. }) = self;
        folder
    }

    /// Builds. What the tool says goes to where this program's own words go.
    pub(super) fn run(&self) -> Result<Built, Failure> {
        match self {
            Self::Command { command, folder } => {
                let mut shell = Command::new("sh");
                shell.args(["-c", command]).current_dir(folder);
                ended(&mut shell, command)
            }
            Self::Cargo { folder, component } => {
                // First, so that a folder without a transform is told before all of it is built.
                let module = module(folder)?;
                let arguments = ["build", "--release", "--target", "wasm32-unknown-unknown"];
                let shown = format!("cargo {}", arguments.join(" "));
                let mut cargo = cargo(folder);
                match ended(cargo.args(arguments), &shown)? {
                    Built::Done => {}
                    failed => return Ok(failed),
                }
                match componentize::write(&module, component) {
                    Ok(_) => Ok(Built::Done),
                    Err(Failure::Input(message)) => Ok(Built::Failed(message)),
                    Err(failure) => Err(failure),
                }
            }
        }
    }
}

fn cargo(folder: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo.current_dir(folder);
    cargo
}

fn ended(command: &mut Command, shown: &str) -> Result<Built, Failure> {
    let status = command
        .status()
        .map_err(|error| Failure::Work(format!("cannot start `{shown}`: {error}")))?;
    Ok(match status.success() {
        true => Built::Done,
        false => Built::Failed(format!("`{shown}` failed ({status})")),
    })
}

/// Where cargo leaves the module of the package in a folder.
fn module(folder: &Path) -> Result<PathBuf, Failure> {
    let refuse = |what: String| Failure::Input(format!("{}: {what}", folder.display()));
    let output = cargo(folder)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|error| Failure::Work(format!("cannot start `cargo metadata`: {error}")))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| refuse(String::from_utf8_lossy(&output.stderr).trim().to_owned()))?;
    let manifest = folder.join("Cargo.toml");
    let packages = metadata["packages"].as_array();
    let package = packages
        .into_iter()
        .flatten()
        .find(|package| package["manifest_path"].as_str().map(Path::new) == Some(&manifest));
    let library = package.and_then(|package| {
        let targets = package["targets"].as_array()?;
        let is_cdylib = |target: &&serde_json::Value| {
            let types = target["crate_types"].as_array();
            types.is_some_and(|types| types.iter().any(|kind| kind == "cdylib"))
        };
        targets.iter().find(is_cdylib)?["name"].as_str()
    });
    let library = library.ok_or_else(|| {
        refuse("this package has no library of crate-type \"cdylib\", which a transform must be; name the transform's own folder with --source".to_owned())
    })?;
    let target = metadata["target_directory"].as_str().unwrap_or("target");
    Ok(Path::new(target)
        .join("wasm32-unknown-unknown/release")
        .join(format!("{}.wasm", library.replace('-', "_"))))
}
