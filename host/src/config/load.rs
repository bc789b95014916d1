//! Loads several pipelines and checks that they can run beside each other.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::diagnostic::{ConfigError, Diagnostic, Place, Span};
use super::environment::ENVIRONMENTS_FILE;
use super::pipeline::Pipeline;

/// TOML files that often lie beside pipelines and belong to other tools.
const OTHER_TOOLS: [&str; 5] = [
    ENVIRONMENTS_FILE,
    "Cargo.toml",
    "pyproject.toml",
    "rust-toolchain.toml",
    "clippy.toml",
];

/// Loads pipeline files. A folder stands for the `*.toml` files directly in it but for those of other
/// tools (`penstock.toml`, `Cargo.toml`, `pyproject.toml` …), sorted by name; a file that is named
/// twice is loaded once. Refuses two pipelines of one name, a feature that two pipelines declare, and
/// an output file that two of them, or one twice, would write. The error has the findings of all files.
pub fn load_pipelines<P: AsRef<Path>>(paths: &[P]) -> Result<Vec<Pipeline>, ConfigError> {
    let mut diagnostics = Vec::new();
    let mut files = Vec::new();
    for path in paths {
        match files_at(path.as_ref()) {
            Ok(found) => files.extend(found),
            Err(error) => diagnostics.extend(error.diagnostics),
        }
    }
    let mut seen = HashSet::new();
    files.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    let mut pipelines = Vec::new();
    for path in files {
        match Pipeline::load(&path) {
            Ok(pipeline) => pipelines.push(pipeline),
            Err(error) => diagnostics.extend(error.diagnostics),
        }
    }
    diagnostics.extend(conflicts(&pipelines));
    if diagnostics.is_empty() {
        Ok(pipelines)
    } else {
        Err(ConfigError { diagnostics })
    }
}

/// What keeps these pipelines from running beside each other.
pub(super) fn conflicts(pipelines: &[Pipeline]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut names = FirstPlaces::default();
    let mut features = FirstPlaces::default();
    let mut outputs = FirstPlaces::default();
    for pipeline in pipelines {
        let file = &pipeline.source;
        let name = &pipeline.name;
        if let Some(first) = names.place_of_earlier(name.value.clone(), pipeline, name.span) {
            let finding = file.diagnostic(
                name.span,
                format!("two pipelines are named `{}`", name.value),
                "give each a `name` of its own",
            );
            found.push(finding.with_note("the first one", first));
            // Its files and features go by the same name; another name repairs those as well.
            continue;
        }
        // Two templates that are twins are so for every length; that is one mistake.
        let mut reported = Vec::new();
        for feature in &pipeline.features {
            let (id, span) = (feature.declaration.to_string(), feature.spans.name);
            if let Some(first) = features.place_of_earlier(id.clone(), pipeline, span)
                && !reported.contains(&(span, first.clone()))
            {
                reported.push((span, first.clone()));
                let finding = file.diagnostic(
                    span,
                    format!("feature {id} is declared twice"),
                    "rename one, or give it another version",
                );
                found.push(finding.with_note("first declared here", first));
            }
        }
        let outputs_of = &pipeline.outputs;
        let written = [
            outputs_of.features.as_ref(),
            Some(&outputs_of.rejects.file),
            Some(&outputs_of.late.file),
            Some(&outputs_of.invalid.file),
        ];
        let written = written
            .into_iter()
            .flatten()
            .map(|output| (output.path.clone(), output.span));
        for (path, span) in written {
            let path = path.display().to_string();
            if let Some(first) = outputs.place_of_earlier(path.clone(), pipeline, span) {
                let finding = file.diagnostic(
                    span,
                    format!("output file {path} would be written twice"),
                    "name another file",
                );
                found.push(finding.with_note("it is written here too", first));
            }
        }
    }
    found
}

/// Where each name was seen first.
#[derive(Default)]
struct FirstPlaces(BTreeMap<String, Place>);

impl FirstPlaces {
    /// Where `name` was seen before, if it was.
    fn place_of_earlier(&mut self, name: String, pipeline: &Pipeline, span: Span) -> Option<Place> {
        let place = pipeline.source.place(span);
        match self.0.entry(name) {
            std::collections::btree_map::Entry::Occupied(first) => Some(first.get().clone()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(place);
                None
            }
        }
    }
}

fn files_at(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let refuse = |message: String, hint: &str| {
        let place = Place {
            path: path.to_path_buf(),
            excerpt: None,
        };
        Err(ConfigError::from(Diagnostic::new(message, place, hint)))
    };
    if !path.is_dir() {
        return match path.file_name() {
            Some(name) if name == ENVIRONMENTS_FILE => refuse(
                "this file has environments, not a pipeline".to_owned(),
                "name a pipeline file, or the folder of several",
            ),
            _ => Ok(vec![path.to_path_buf()]),
        };
    }
    let entries =
        match std::fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()) {
            Ok(entries) => entries,
            Err(error) => {
                return refuse(
                    format!("this folder cannot be read: {error}"),
                    "check its permissions",
                );
            }
        };
    let is_pipeline = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".toml")
            && !name.starts_with('.')
            && !OTHER_TOOLS.contains(&name.as_ref())
            && path.is_file()
    };
    let mut files: Vec<PathBuf> = entries
        .into_iter()
        .map(|entry| entry.path())
        .filter(is_pipeline)
        .collect();
    files.sort_unstable();
    if files.is_empty() {
        return refuse(
            "this folder has no pipeline files".to_owned(),
            "a pipeline file ends in .toml and lies directly in the folder",
        );
    }
    Ok(files)
}
