//! `penstock build`: from a transform's sources to a checked component, in any of the languages.
//!
//! In comes a project's folder; out goes one file, the component that its pipeline names. In between:
//! what the project is ([`project`]), the SDK written beside it ([`sdk`]), the language's toolchain
//! ([`language`] and a file for each), and the component made of what the compiler left
//! ([`component`]). Nothing here reads a transform's sources itself, and nothing is installed outside of
//! the project.

mod c;
mod component;
mod go;
mod interpreted;
mod javascript;
mod language;
mod project;
mod python;
mod rust;
mod sdk;
mod toolchain;

use std::path::{Path, PathBuf};

pub(super) use component::encode;
pub(super) use language::{Language, Template, TextFile};
pub(super) use sdk::write as write_sdk;

use self::project::Project;
use super::Failure;
use super::show::{self, say};
use crate::config::{DEFAULT_ENVIRONMENT, Environment, load_pipelines};
use crate::pipeline;

/// What a component may import without a question.
const OURS: &str = "penstock:transform/";

/// Builds a transform: runs its language's toolchain, makes a component of what that leaves, and checks
/// it against the pipeline.
///
/// The language is what `[build] lang` in the project's penstock.toml says, or what its files are
/// (Cargo.toml, go.mod, package.json, *.py, *.c or *.cpp). What can be had from a package registry is
/// installed into the project's `.penstock` folder (or PENSTOCK_TOOLCHAINS); the rest is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock build                         the project in this folder
  penstock build transforms/spend        another one
  penstock build -o spend.wasm           the component somewhere else than the pipeline says

Exit code 2 says that the sources, the pipeline or the machine must change, 1 that something failed.")]
pub(super) struct Arguments {
    /// The project's folder.
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// Where to write the component; else `[build] output`, or what pipeline.toml names as its transform.
    #[arg(long, short, value_name = "COMPONENT.wasm")]
    output: Option<PathBuf>,
    /// The language, if neither penstock.toml nor the files say it.
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Option<Language>,
    /// The environment of penstock.toml that the pipeline is checked against.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Do not check the component against pipeline.toml.
    #[arg(long)]
    no_check: bool,
}

/// What a toolchain leaves.
enum Built {
    /// A core module, of which a component is to be made.
    Module(Vec<u8>),
    /// A component.
    Component(Vec<u8>),
}

/// Whether a folder is a project that `penstock build` builds by more than cargo.
pub(super) fn is_for_our_build(folder: &Path) -> bool {
    let project = Project::find(folder, None, None);
    project.is_ok_and(|project| project.language != Language::Rust)
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let project = Project::find(&arguments.path, arguments.lang, arguments.output.as_deref())?;
    sdk::write(&project.folder, project.language)?;
    let bytes = match project.language.build(&project)? {
        Built::Component(bytes) => bytes,
        Built::Module(module) => encode(&module).map_err(|error| {
            Failure::input(format!(
                "cannot make a component of what the compiler left: {error}"
            ))
        })?,
    };
    let host = super::host()?;
    let component = host.sandbox.load(&bytes).map_err(Failure::input)?;
    let foreign = component
        .imports()
        .iter()
        .find(|import| !import.starts_with(OURS));
    if let Some(import) = foreign {
        return Err(Failure::input(format!(
            "the component imports `{import}`, and a transform needs nothing but `penstock:transform/log` and `penstock:transform/metrics`: leave out what wants a clock, files, randomness or a network"
        )));
    }
    write_whole(&project.output, &bytes)?;
    say!(
        "{}: {}",
        project.output.display(),
        show::bytes(bytes.len() as u64)
    );
    let interfaces: Vec<String> = component
        .interfaces()
        .iter()
        .map(ToString::to_string)
        .collect();
    say!("interfaces  {}", interfaces.join(", "));
    match component.imports() {
        [] => say!("imports     nothing"),
        imports => say!("imports     {}", imports.join(", ")),
    }
    if !arguments.no_check && project.pipeline.is_file() {
        check(&host, &project.pipeline, &arguments.env)?;
    }
    Ok(())
}

/// Opens the component as the pipeline would.
fn check(host: &pipeline::Host, path: &Path, environment: &str) -> Result<(), Failure> {
    for pipeline in load_pipelines(&[path]).map_err(Failure::input)? {
        let environment = Environment::find_and_load(pipeline.source.path(), environment)
            .map_err(Failure::input)?;
        pipeline::check(host, pipeline, &environment)?;
    }
    say!("pipeline    {}: fine", path.display());
    Ok(())
}

/// Written aside and renamed, so that no half of a component is ever there to be loaded.
fn write_whole(output: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let unfinished = output.with_extension("wasm.partial");
    let folder = output
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&unfinished, bytes))
        .and_then(|()| std::fs::rename(&unfinished, output))
        .map_err(|error| Failure::work(format!("cannot write {}: {error}", output.display())))
}
