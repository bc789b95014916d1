//! Python: CPython 3.14 beside the author's module, by componentize-py, which any Python 3.10 or newer runs.

use std::process::Command;

use super::super::Failure;
use super::language::{TextFile, files};
use super::project::Project;
use super::{Built, interpreted, toolchain};

/// What puts CPython and a module into a component.
const PACKAGE: (&str, &str) = ("componentize-py", "0.25.1");

/// The SDK: a package of pure Python.
pub(super) const SDK: &[TextFile] = files!("python/" =>
    "README.md",
    "pyproject.toml",
    "src/penstock/__init__.py",
    "src/penstock/__main__.py",
    "src/penstock/bits.py",
    "src/penstock/component.py",
    "src/penstock/config.py",
    "src/penstock/contract.py",
    "src/penstock/failures.py",
    "src/penstock/log.py",
    "src/penstock/mapping.py",
    "src/penstock/metrics.py",
    "src/penstock/module.py",
    "src/penstock/opened.py",
    "src/penstock/py.typed",
    "src/penstock/quiet.py",
    "src/penstock/records.py",
    "src/penstock/schema.py",
    "src/penstock/sealed.py",
    "src/penstock/shapes.py",
    "src/penstock/signature.py",
    "src/penstock/testing.py",
    "src/penstock/types.py",
    "src/penstock/window.py",
    "src/penstock/windowed.py",
);

/// The source of a new window.
pub(super) const WINDOW: &[TextFile] =
    files!("python/templates/window/" => "transform.py", "test_transform.py");

/// The source of a new mapper.
pub(super) const MAPPER: &[TextFile] =
    files!("python/templates/mapper/" => "transform.py", "test_transform.py");

pub(super) fn build(project: &Project) -> Result<Built, Failure> {
    let file = interpreted::main_file(project, &["py"], |name| name.starts_with("test_"))?;
    let version = toolchain::output_of(
        "python3",
        &["-c", "import sys; print(*sys.version_info[:2])"],
    );
    match version.as_deref().map(is_new_enough) {
        Some(true) => {}
        Some(false) => {
            return Err(Failure::input(format!(
                "python3 is Python {}, and the SDK needs 3.10 or newer (https://www.python.org/downloads)",
                version.unwrap_or_default().trim().replace(' ', ".")
            )));
        }
        None => {
            return Err(Failure::input(
                "there is no python3: on Debian and Ubuntu `apt-get install python3 python3-pip`, on Fedora `dnf install python3 python3-pip`, on macOS `brew install python`",
            ));
        }
    }
    let (package, version) = PACKAGE;
    let why = format!("there is no {package}");
    let installed = toolchain::python_package(project, package, version, &why)?;
    let component = project.hidden().join("build").join("component.wasm");
    interpreted::make_room_for(&component)?;
    let sdk = project.sdk().join("src");
    let path = std::env::join_paths([&sdk, &installed])
        .map_err(|error| Failure::input(format!("a path that Python cannot be given: {error}")))?;
    let mut python = Command::new("python3");
    // The SDK's own program looks through the module first, and says what is wrong with the line.
    python
        .args(["-m", "penstock", "build"])
        .arg(&file)
        .arg("--wit")
        .arg(project.hidden().join("wit"))
        .arg("--output")
        .arg(&component)
        .env("PYTHONPATH", path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("VIRTUAL_ENV")
        .current_dir(&project.folder);
    toolchain::compile(&mut python)?;
    toolchain::read(&component).map(Built::Component)
}

/// Whether `3 11` is the version of a Python that can run the SDK.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version
        .split_whitespace()
        .filter_map(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(3), Some(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_whole() {
        interpreted::assert_whole("python/src/penstock", "src/penstock/", SDK);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_new_enough("3 10\n") && is_new_enough("4 0"));
        assert!(!is_new_enough("3 9\n") && !is_new_enough(""));
    }
}
