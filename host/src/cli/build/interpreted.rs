//! What Python and JavaScript have in common: one file to begin with, and a component that the toolchain
//! writes itself.

use std::path::{Path, PathBuf};

use super::super::Failure;
use super::project::Project;

/// The file that the transform is in: what `[build] main` says, `transform.*`, or the only one there is.
///
/// # Errors
///
/// There is none, or several and none of that name.
pub(super) fn main_file(
    project: &Project,
    ends: &[&str],
    is_test: impl Fn(&str) -> bool,
) -> Result<PathBuf, Failure> {
    if let Some(main) = project.list("main")? {
        return match &main[..] {
            [main] => Ok(project.folder.join(main)),
            _ => Err(Failure::input("`build.main` is to be one file")),
        };
    }
    let default = ends
        .iter()
        .map(|end| project.folder.join(format!("transform.{end}")))
        .find(|file| file.is_file());
    if let Some(file) = default {
        return Ok(file);
    }
    let found = std::fs::read_dir(&project.folder).map_err(|error| {
        Failure::input(format!("cannot read {}: {error}", project.folder.display()))
    })?;
    let mut names: Vec<String> = found
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !is_test(name))
        .filter(|name| {
            let end = name.rsplit_once('.').map(|(_, end)| end);
            end.is_some_and(|end| ends.contains(&end))
        })
        .collect();
    names.sort();
    match &names[..] {
        [only] => Ok(project.folder.join(only)),
        [] => Err(Failure::input(format!(
            "there is no transform.{} in {}; name another file with `main` below `[build]` in penstock.toml",
            ends[0],
            project.folder.display()
        ))),
        several => Err(Failure::input(format!(
            "{} has {}: call the transform's transform.{}, or name it with `main` below `[build]` in penstock.toml",
            project.folder.display(),
            several.join(", "),
            ends[0]
        ))),
    }
}

/// Makes the folder of a file, and takes away what an earlier build left there.
pub(super) fn make_room_for(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().expect("it is in a folder");
    // That there is none is as it should be; that it cannot be removed the toolchain will say.
    let _ = std::fs::remove_file(file);
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::work(format!("cannot make {}: {error}", folder.display())))
}

/// Asserts that a list of embedded files has all that are in a folder of `guest-sdk`.
#[cfg(test)]
pub(super) fn assert_whole(folder: &str, prefix: &str, files: &[super::language::TextFile]) {
    let folder = format!("{}/../guest-sdk/{folder}", env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() {
            let path = format!("{prefix}{name}");
            assert!(
                files.iter().any(|file| file.path == path),
                "{path} is missing"
            );
        }
    }
}
