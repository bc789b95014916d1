//! Globs of recorded files: which names they match, and which are left out although they match.

use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::diagnostic::{ConfigFile, Located};
use super::environment::FilesSource;
use super::file_format::FileFormat;
use super::remote::is_url;

const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Whether a path or key that `pattern` matches is left out all the same: writers keep what is
/// unfinished or not data under names that begin with `.` or `_`, be they of files or of folders.
/// Whoever writes the `.` or `_` into the glob wants them.
pub fn is_left_out(pattern: &str, path: &str) -> bool {
    let is_asked_for = |name: &str| {
        let same_start = |part: &&str| part.as_bytes().first() == name.as_bytes().first();
        let mut parts = pattern.split('/').filter(same_start);
        parts.any(|part| part == name || Pattern::new(part).is_ok_and(|part| part.matches(name)))
    };
    let mut names = path.split('/');
    names.any(|name| is_hidden(name) && !is_asked_for(name))
}

/// Whether a name is of something unfinished, or of no data.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// Whether a text is a glob.
pub(super) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The existing files that a glob stands for, sorted by path.
pub(super) fn files_of_glob(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    // Tried alone, so that the error is about what was written.
    Pattern::new(pattern).map_err(|error| error.msg.to_owned())?;
    // Characters of the folder's own path stand for themselves.
    let escaped = Pattern::escape(&folder.to_string_lossy());
    let whole = match Path::new(pattern).is_absolute() {
        true => pattern.to_owned(),
        false if folder == Path::new(".") => pattern.to_owned(),
        false => format!("{escaped}/{pattern}"),
    };
    let entries = glob::glob_with(&whole, MATCHING).map_err(|error| error.to_string())?;
    let mut files = entries
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    files.retain(|path| {
        let below = path.strip_prefix(folder).unwrap_or(path);
        path.is_file() && !is_left_out(pattern, &below.to_string_lossy())
    });
    files.sort_unstable();
    Ok(files)
}

/// The pattern of an event by which a later run would read the file at `path` as recorded. `path`
/// is canonical; there need be no such file yet.
pub(super) fn reading<'a>(
    config: &ConfigFile,
    source: &'a FilesSource,
    path: &Path,
) -> Option<&'a Located<String>> {
    let has_format = source.format.is_some() || FileFormat::of_path(path).is_some();
    let mut patterns = source.patterns.iter();
    patterns.find(|pattern| {
        let local = pattern.value.strip_prefix("file://");
        let local = local.unwrap_or(&pattern.value);
        !is_url(local) && has_format && reads(&config.folder().join(local), path)
    })
}

/// Whether a folder or glob stands for a file, judged by its path alone.
fn reads(pattern: &Path, path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    if let Ok(folder) = pattern.canonicalize() {
        return folder.is_dir() && path.parent() == Some(&folder) && !is_hidden(name);
    }
    // Folders up to the first with a `*` are real ones, and may be written in many ways.
    let is_plain = |part: &Component<'_>| !is_glob(&part.as_os_str().to_string_lossy());
    let folder: PathBuf = pattern.components().take_while(is_plain).collect();
    let rest: PathBuf = pattern.components().skip_while(is_plain).collect();
    let folder = match folder.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => folder,
    };
    let below = folder.canonicalize().ok();
    let below = below.and_then(|folder| path.strip_prefix(folder).ok());
    let (Some(below), Some(rest)) = (below.and_then(Path::to_str), rest.to_str()) else {
        return false;
    };
    let matches = Pattern::new(rest).is_ok_and(|glob| glob.matches_with(below, MATCHING));
    matches && !is_left_out(rest, below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_are_read_only_if_the_glob_writes_how_they_begin() {
        let left_out = ["**/*.ndjson", "p/*/a.ndjson", "_x/**/*.ndjson", "[._]*/*"];
        for pattern in left_out {
            assert!(is_left_out(pattern, "p/_hid/a.ndjson"), "{pattern}");
        }
        for pattern in ["p/_hid/*.ndjson", "p/_*/*.ndjson", "p/_hid/a.ndjson"] {
            assert!(!is_left_out(pattern, "p/_hid/a.ndjson"), "{pattern}");
        }
        assert!(!is_left_out("../x/*", "../x/a_b.ndjson"));
        assert!(is_left_out("*.ndjson", "_a.ndjson") && !is_left_out("_*", "_a.ndjson"));
    }

    #[test]
    fn what_a_later_run_would_read_is_known_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        std::fs::create_dir(folder.join("data")).unwrap();
        let reads = |pattern: &str, path: &str| reads(&folder.join(pattern), &folder.join(path));
        for pattern in ["data", "data/*.ndjson", "**/*.ndjson", "data/../data/o.*"] {
            assert!(reads(pattern, "data/o.ndjson"), "{pattern}");
        }
        for pattern in ["*.ndjson", "data/[a-n].ndjson", "nowhere", "other/*.ndjson"] {
            assert!(!reads(pattern, "data/o.ndjson"), "{pattern}");
        }
        assert!(!reads("data", "data/x/o.ndjson") && !reads("data", "data/_o.ndjson"));
    }
}
