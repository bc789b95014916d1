//! Builds transforms: the author's own command, or cargo and then components of what it left.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::Failure;
use crate::cli::componentize;
use crate::cli::show::say;

/// How the components of a pipeline are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Build {
    /// A command for the shell, run in the first of the folders, which leaves the components where the
    /// pipeline names them.
    Command {
        command: String,
        folders: Vec<PathBuf>,
        components: Vec<PathBuf>,
    },
    /// Cargo, a package at a time.
    Cargo {
        packages: Vec<Package>,
        /// Components of the pipeline that no package is built for.
        others: Vec<PathBuf>,
    },
}

/// A package, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    folder: PathBuf,
    /// Where cargo leaves the module.
    module: PathBuf,
    component: PathBuf,
}

/// How building ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Built {
    /// The components are new, or as they were.
    Done,
    /// The tool has said why not.
    Failed(String),
}

impl Build {
    /// The author's command, or cargo with the packages that the `sources` are in. `sources` are named
    /// by the author, or else there is the pipeline's own folder, `beside`.
    ///
    /// # Errors
    ///
    /// There is neither, or a package does not say which of the components it becomes.
    pub(super) fn find(
        command: Option<String>,
        sources: &[PathBuf],
        beside: &Path,
        components: &[PathBuf],
    ) -> Result<Self, Failure> {
        let folders = match sources {
            [] => vec![beside.to_owned()],
            named => named.to_vec(),
        };
        if let Some(command) = command {
            return Ok(Self::Command {
                command,
                folders,
                components: components.to_vec(),
            });
        }
        // Whoever named the only source of the only component need not name both alike.
        let only = match (sources, components) {
            ([_], [only]) => Some(only),
            _ => None,
        };
        let packages = folders.iter().map(|source| {
            let folder = package_of(source)?;
            let (library, module) = library_of(&folder)?;
            let component = components.iter().find(|path| is_called(path, &library));
            let component = component.or(only).ok_or_else(|| {
                let shown = components.iter().map(|path| path.display().to_string());
                Failure::Input(format!(
                    "{}: this package builds {library}.wasm, and the pipeline names {}; say with --source where the source of that is, or call it {library}.wasm",
                    folder.display(),
                    shown.collect::<Vec<_>>().join(" and ")
                ))
            })?;
            Ok(Package {
                folder,
                module,
                component: component.clone(),
            })
        });
        let packages = packages.collect::<Result<Vec<_>, Failure>>()?;
        let is_built = |path: &&PathBuf| packages.iter().any(|package| package.component == **path);
        let others = components.iter().filter(|path| !is_built(path)).cloned();
        Ok(Self::Cargo {
            others: others.collect(),
            packages,
        })
    }

    /// The folders whose files the components are made of.
    pub(super) fn folders(&self) -> Vec<&Path> {
        match self {
            Self::Command { folders, .. } => folders.iter().map(PathBuf::as_path).collect(),
            Self::Cargo { packages, .. } => {
                let folders = packages.iter();
                folders.map(|package| package.folder.as_path()).collect()
            }
        }
    }

    /// The components that it writes.
    pub(super) fn written(&self) -> Vec<&Path> {
        match self {
            Self::Command { components, .. } => components.iter().map(PathBuf::as_path).collect(),
            Self::Cargo { packages, .. } => {
                let packages = packages.iter();
                packages
                    .map(|package| package.component.as_path())
                    .collect()
            }
        }
    }

    /// The components that are taken as they are.
    pub(super) fn others(&self) -> &[PathBuf] {
        match self {
            Self::Command { .. } => &[],
            Self::Cargo { others, .. } => others,
        }
    }

    /// Builds. What the tool says goes to where this program's own words go.
    pub(super) fn run(&self) -> Result<Built, Failure> {
        for other in self.others() {
            say!(
                "{} is taken as it is; to have it built, name its source with another --source",
                other.display()
            );
        }
        match self {
            Self::Command {
                command, folders, ..
            } => {
                let mut shell = Command::new("sh");
                shell.args(["-c", command]).current_dir(&folders[0]);
                ended(&mut shell, command)
            }
            Self::Cargo { packages, .. } => {
                for package in packages {
                    match package.build()? {
                        Built::Done => {}
                        failed => return Ok(failed),
                    }
                }
                Ok(Built::Done)
            }
        }
    }
}

impl Package {
    fn build(&self) -> Result<Built, Failure> {
        let arguments = ["build", "--release", "--target", "wasm32-unknown-unknown"];
        let shown = format!("cargo {}", arguments.join(" "));
        match ended(cargo(&self.folder).args(arguments), &shown)? {
            Built::Done => {}
            failed => return Ok(failed),
        }
        match componentize::write(&self.module, &self.component) {
            Ok(_) => Ok(Built::Done),
            Err(Failure::Input(message)) => Ok(Built::Failed(message)),
            Err(failure) => Err(failure),
        }
    }
}

/// The folder of the package that a folder is in.
fn package_of(source: &Path) -> Result<PathBuf, Failure> {
    let shown = source.display();
    let from = source
        .canonicalize()
        .map_err(|error| Failure::Input(format!("cannot open the folder {shown}: {error}")))?;
    let mut folders = from.ancestors();
    let found = folders.find(|folder| folder.join("Cargo.toml").is_file());
    found.map(Path::to_owned).ok_or_else(|| {
        Failure::Input(format!(
            "there is no Cargo.toml in {shown} or above it; say with --source where the transform's source is, or with --build how to build it"
        ))
    })
}

/// Whether a component's file has the name of a library.
fn is_called(component: &Path, library: &str) -> bool {
    let stem = component.file_stem().unwrap_or_default().to_string_lossy();
    stem.replace('-', "_") == library
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

/// The library of the package in a folder, and where cargo leaves its module.
fn library_of(folder: &Path) -> Result<(String, PathBuf), Failure> {
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
    let library = library.replace('-', "_");
    let target = metadata["target_directory"].as_str().unwrap_or("target");
    let module = Path::new(target)
        .join("wasm32-unknown-unknown/release")
        .join(format!("{library}.wasm"));
    Ok((library, module))
}
