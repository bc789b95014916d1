//! The languages that transforms are written in, and what each brings along.

use std::path::Path;

use clap::ValueEnum;

use super::super::Failure;
use super::project::Project;
use super::{Built, c, go, javascript, python, rust};

/// A language that transforms are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Language {
    /// Rust, by cargo.
    Rust,
    /// Python, by componentize-py.
    Python,
    /// JavaScript or TypeScript.
    #[value(alias = "js", alias = "typescript", alias = "ts")]
    Javascript,
    /// Go.
    Go,
    /// C or C++.
    #[value(alias = "cpp", alias = "c++")]
    C,
}

/// What a new project begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Template {
    /// Features of windows of time.
    Window,
    /// Features of single rows.
    Mapper,
}

/// A file that is in the program, to be written into a project.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct TextFile {
    /// From the folder that it goes to, with `/` between the parts.
    pub(in crate::cli) path: &'static str,
    /// What is in it.
    pub(in crate::cli) text: &'static str,
}

/// Files of the repository, as [`TextFile`]s: `files!("c/" => "penstock.h", "penstock.hpp")` has those of
/// `guest-sdk/c`.
macro_rules! files {
    ($root:literal => $($path:literal),* $(,)? $(; $($more:expr),*)?) => {
        &[
            $($crate::cli::build::TextFile {
                path: $path,
                text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk/", $root, $path)),
            },)*
            $($($more),*)?
        ]
    };
}
pub(super) use files;

impl Language {
    /// Its name on the command line and in `[build] lang`.
    pub(in crate::cli) fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// The language of a folder's files.
    pub(super) fn of_files(folder: &Path) -> Option<Self> {
        let names: Vec<String> = std::fs::read_dir(folder)
            .ok()?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let has = |name: &str| names.iter().any(|other| other == name);
        let any = |ends: &[&str]| {
            names
                .iter()
                .any(|name| ends.iter().any(|end| name.ends_with(end)))
        };
        match () {
            () if has("Cargo.toml") => Some(Self::Rust),
            () if has("go.mod") => Some(Self::Go),
            () if has("package.json") => Some(Self::Javascript),
            () if any(&[".js", ".mjs", ".ts"]) => Some(Self::Javascript),
            () if any(&[".py"]) => Some(Self::Python),
            () if any(&[".c", ".cpp", ".cc"]) => Some(Self::C),
            () => None,
        }
    }

    /// The SDK's files, which are written to `.penstock/sdk/NAME/` of a project.
    pub(super) fn sdk(self) -> &'static [TextFile] {
        match self {
            Self::Rust => rust::SDK,
            Self::Python => python::SDK,
            Self::Javascript => javascript::SDK,
            Self::Go => go::SDK,
            Self::C => c::SDK,
        }
    }

    /// The files of a new project, beside those that are the same in every language.
    pub(in crate::cli) fn template(self, template: Template) -> &'static [TextFile] {
        let (window, mapper) = match self {
            Self::Rust => (rust::WINDOW, rust::MAPPER),
            Self::Python => (python::WINDOW, python::MAPPER),
            Self::Javascript => (javascript::WINDOW, javascript::MAPPER),
            Self::Go => (go::WINDOW, go::MAPPER),
            Self::C => (c::WINDOW, c::MAPPER),
        };
        match template {
            Template::Window => window,
            Template::Mapper => mapper,
        }
    }

    /// Runs the toolchain.
    pub(super) fn build(self, project: &Project) -> Result<Built, Failure> {
        match self {
            Self::Rust => rust::build(project),
            Self::Python => python::build(project),
            Self::Javascript => javascript::build(project),
            Self::Go => go::build(project),
            Self::C => c::build(project),
        }
    }
}
