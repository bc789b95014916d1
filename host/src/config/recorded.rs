//! Finds the files of a recorded event that are on this machine; those elsewhere keep their URLs. Other files may take
//! their place.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::diagnostic::{ConfigError, ConfigFile, Located, Span};
use super::environment::{Environment, FilesSource, Source};
use super::file_format::FileFormat;
use super::patterns::{files_of_glob, is_glob, is_hidden};
use super::remote::is_url;

/// The files of an event, in the order in which they are read.
#[derive(Debug, Clone)]
pub struct RecordedFiles {
    /// Local files, each once, which existed when they were looked for; and URLs as they are written.
    pub places: Vec<RecordedPlace>,
    /// The format that the local files agree on.
    pub format: FormatOfFiles,
}

/// Where recorded files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordedPlace {
    /// A file of this machine.
    Local(PathBuf),
    /// A file, glob or folder elsewhere.
    Url(Located<String>),
}

/// The format that all files of an event have: what the declaration says, or their names.
#[derive(Debug, Clone)]
pub struct FormatOfFiles {
    declared: Option<FileFormat>,
    /// The first file, and what it shows.
    first: Option<(FileFormat, String)>,
}

impl Environment {
    /// Has an event, if there is one of this name, be what these files have, whatever it was declared to be.
    pub fn read_files(&mut self, event: &str, files: &[PathBuf]) {
        let Some(event) = self.events.get_mut(event) else {
            return;
        };
        let patterns = files.iter().map(|path| {
            let path = match is_url(&path.to_string_lossy()) {
                true => path.clone(),
                false => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            };
            Located::new(path.display().to_string(), Span::WHOLE_FILE)
        });
        // A declared format is for files whose names do not say theirs.
        let format = match &event.source {
            Source::Files(declared) if !say_their_format(files) => declared.format.clone(),
            _ => None,
        };
        event.source = Source::Files(FilesSource {
            patterns: patterns.collect(),
            format,
        });
    }
}

/// Whether every file's name says its format.
fn say_their_format(files: &[PathBuf]) -> bool {
    let mut files = files.iter();
    files.all(|path| path.is_dir() || FileFormat::of_path(path).is_some())
}

impl FormatOfFiles {
    /// What to do about files whose format is not clear.
    pub const HINT: &'static str = "add `format = \"ndjson\"` (or \"csv\", \"parquet\", \"arrow\"), \
         or name files of one format only";

    /// The format; none before the first file, if it is not declared.
    pub fn get(&self) -> Option<FileFormat> {
        let first = self.first.as_ref().map(|(format, _)| *format);
        self.declared.or(first)
    }

    /// Whether the declaration says it, so that names need not.
    pub fn is_declared(&self) -> bool {
        self.declared.is_some()
    }

    /// Takes a further file in.
    ///
    /// # Errors
    ///
    /// The text says what is wrong, when its format does not show, or is not that of the files before.
    pub fn admit(&mut self, name: &str) -> Result<(), String> {
        if self.declared.is_some() {
            return Ok(());
        }
        let Some(own) = FileFormat::of_path(Path::new(name)) else {
            return Err(format!("the format of {name} does not show in its name"));
        };
        match &self.first {
            Some((first, first_name)) if *first != own => {
                Err(format!("{first_name} and {name} have different formats"))
            }
            Some(_) => Ok(()),
            None => {
                self.first = Some((own, name.to_owned()));
                Ok(())
            }
        }
    }
}

/// The files and URLs that `source`, of the file `config`, stands for.
pub(super) fn find_files(
    config: &ConfigFile,
    source: &FilesSource,
) -> Result<RecordedFiles, ConfigError> {
    let mut diagnostics = Vec::new();
    let mut places = Vec::new();
    let mut format = FormatOfFiles {
        declared: source.format.as_ref().map(|format| format.value),
        first: None,
    };
    for pattern in &source.patterns {
        if is_url(pattern) {
            places.push(RecordedPlace::Url(pattern.clone()));
            continue;
        }
        match matching(config, pattern, format.is_declared()) {
            Ok(found) => {
                for path in &found {
                    if let Err(problem) = format.admit(&path.display().to_string()) {
                        diagnostics.push(config.diagnostic(
                            pattern.span,
                            problem,
                            FormatOfFiles::HINT,
                        ));
                        break;
                    }
                }
                places.extend(found.into_iter().map(RecordedPlace::Local));
            }
            Err(error) => diagnostics.extend(error.diagnostics),
        }
    }
    let mut seen = HashSet::new();
    places.retain(|place| match place {
        // One file may be written in many ways, and found behind links.
        RecordedPlace::Local(path) => seen.insert(path.canonicalize().unwrap_or(path.clone())),
        RecordedPlace::Url(_) => true,
    });
    match diagnostics.is_empty() {
        true => Ok(RecordedFiles { places, format }),
        false => Err(ConfigError { diagnostics }),
    }
}

/// Existing files, sorted by path; at least one.
fn matching(
    config: &ConfigFile,
    pattern: &Located<String>,
    any_extension: bool,
) -> Result<Vec<PathBuf>, ConfigError> {
    let path = config.folder().join(&pattern.value);
    let path = match path.strip_prefix(".") {
        Ok(below) if below.as_os_str().is_empty() => PathBuf::from("."),
        Ok(below) => below.to_path_buf(),
        Err(_) => path,
    };
    let shown = path.display();
    let refuse = |message: String, hint: &str| {
        Err(ConfigError::from(config.diagnostic(
            pattern.span,
            message,
            hint,
        )))
    };
    if path.is_file() {
        return Ok(vec![path]);
    }
    if path.is_dir() {
        return match files_inside(&path, any_extension) {
            Ok(files) if files.is_empty() => refuse(
                format!(
                    "{shown} has no files directly inside that end in {}",
                    FileFormat::ENDINGS
                ),
                "for files further down write a glob such as \"data/**/*.ndjson\"",
            ),
            Ok(files) => Ok(files),
            Err(error) => refuse(
                format!("folder {shown} cannot be read: {error}"),
                "check its permissions",
            ),
        };
    }
    if !is_glob(&pattern.value) {
        return refuse(
            format!("there is no file or folder {shown}"),
            "relative paths start from the folder of this file",
        );
    }
    match files_of_glob(config.folder(), &pattern.value) {
        Ok(files) if files.is_empty() => refuse(
            format!("no file matches {shown}"),
            "relative paths start from the folder of this file",
        ),
        Ok(files) => Ok(files),
        Err(error) => refuse(
            format!("`{}` is not a glob: {error}", pattern.value),
            "`*` stands for any part of a name, `**` for any folders, `?` for one character",
        ),
    }
}

fn files_inside(folder: &Path, any_extension: bool) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| is_hidden(&name.to_string_lossy()));
        if !hidden && (any_extension || FileFormat::of_path(&path).is_some()) && path.is_file() {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}
