//! The SDK of a project: written out of this program, so that it is of the same version, and a new project
//! needs no registry.

use std::path::Path;

use super::super::Failure;
use super::language::{Language, TextFile};

macro_rules! wit {
    ($($name:literal),*) => {
        &[$(TextFile {
            path: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/", $name)),
        }),*]
    };
}

/// The contract, which is one of every SDK's parts.
pub(super) const WIT: &[TextFile] = wit!(
    "host.wit",
    "mapper.wit",
    "migration.wit",
    "types.wit",
    "windowed.wit",
    "worlds.wit"
);

/// Writes the SDK to `.penstock/sdk` and the contract to `.penstock/wit`. Files that are as they should be
/// keep their time, so that toolchains do not build them anew.
///
/// # Errors
///
/// The folder cannot be written.
pub(in crate::cli) fn write(project: &Path, language: Language) -> Result<(), Failure> {
    let hidden = project.join(".penstock");
    write_files(&hidden.join("wit"), WIT)?;
    write_files(&hidden.join("sdk").join(language.name()), language.sdk())
}

fn write_files(folder: &Path, files: &[TextFile]) -> Result<(), Failure> {
    for file in files {
        let path = folder.join(file.path);
        if std::fs::read(&path).is_ok_and(|found| found == file.text.as_bytes()) {
            continue;
        }
        let above = path.parent().expect("it is in the folder");
        std::fs::create_dir_all(above)
            .and_then(|()| std::fs::write(&path, file.text))
            .map_err(|error| Failure::work(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(())
}
