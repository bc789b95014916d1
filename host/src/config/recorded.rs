//! Finds the files of a recorded event.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::diagnostic::{ConfigError, ConfigFile, Located};
use super::environment::{FilesSource, RecordedFiles};
use super::file_format::FileFormat;

/// The files that `source`, of the file `config`, stands for.
pub(super) fn find_files(
    config: &ConfigFile,
    source: &FilesSource,
) -> Result<RecordedFiles, ConfigError> {
    let mut diagnostics = Vec::new();
    let mut paths = Vec::new();
    let mut format: Option<(FileFormat, PathBuf)> = source
        .format
        .as_ref()
        .map(|format| (format.value, PathBuf::new()));
    for pattern in &source.patterns {
        match matching(config, pattern, source.format.is_some()) {
            Ok(found) => {
                for path in &found {
                    if let Err(problem) = agree(&mut format, path, source.format.is_some()) {
                        let hint = "add `format = \"ndjson\"` (or \"csv\", \"parquet\", \"arrow\"), \
                                or name files of one format only";
                        diagnostics.push(config.diagnostic(pattern.span, problem, hint));
                        break;
                    }
                }
                paths.extend(found);
            }
            Err(error) => diagnostics.extend(error.diagnostics),
        }
    }
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    match format {
        Some((format, _)) if diagnostics.is_empty() => Ok(RecordedFiles { format, paths }),
        _ => Err(ConfigError { diagnostics }),
    }
}

/// Takes the format of the first file for all, unless the declaration says it.
fn agree(
    format: &mut Option<(FileFormat, PathBuf)>,
    path: &Path,
    declared: bool,
) -> Result<(), String> {
    if declared {
        return Ok(());
    }
    let Some(own) = FileFormat::of_path(path) else {
        return Err(format!(
            "the format of {} does not show in its name",
            path.display()
        ));
    };
    match format {
        Some((first, first_path)) if *first != own => Err(format!(
            "{} and {} have different formats",
            first_path.display(),
            path.display()
        )),
        Some(_) => Ok(()),
        None => {
            *format = Some((own, path.to_path_buf()));
            Ok(())
        }
    }
}

/// Existing files, sorted by path; at least one.
fn matching(
    config: &ConfigFile,
    pattern: &Located<String>,
    any_extension: bool,
) -> Result<Vec<PathBuf>, ConfigError> {
    let path = config.folder().join(&pattern.value);
    let path = path
        .strip_prefix(".")
        .map(Path::to_path_buf)
        .unwrap_or(path);
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
    if !pattern.value.contains(['*', '?', '[']) {
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
        // Writers keep what is unfinished or not data under such names.
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
        if !hidden && (any_extension || FileFormat::of_path(&path).is_some()) && path.is_file() {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn files_of_glob(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    // Tried alone, so that the error is about what was written.
    glob::Pattern::new(pattern).map_err(|error| error.msg.to_owned())?;
    // Characters of the folder's own path stand for themselves.
    let escaped = glob::Pattern::escape(&folder.to_string_lossy());
    let whole = match Path::new(pattern).is_absolute() {
        true => pattern.to_owned(),
        false if folder == Path::new(".") => pattern.to_owned(),
        false => format!("{escaped}/{pattern}"),
    };
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    let entries = glob::glob_with(&whole, options).map_err(|error| error.to_string())?;
    let mut files = entries
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    files.retain(|path| path.is_file());
    files.sort_unstable();
    Ok(files)
}
