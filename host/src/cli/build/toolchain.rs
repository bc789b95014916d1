//! Running what other people's toolchains bring, and installing it into a project.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::Failure;
use super::project::Project;

/// Another folder for what is installed, so that several projects share it.
const FOLDER: &str = "PENSTOCK_TOOLCHAINS";

/// Where toolchains are installed: `PENSTOCK_TOOLCHAINS`, or the project's `.penstock/toolchains`.
pub(super) fn folder(project: &Project) -> PathBuf {
    std::env::var_os(FOLDER)
        .filter(|folder| !folder.is_empty())
        .map_or_else(|| project.hidden().join("toolchains"), PathBuf::from)
}

/// Whether a program runs with these arguments.
pub(super) fn succeeds(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> bool {
    output_of(program, arguments).is_some()
}

/// What a program says on its standard output, if it ends well.
pub(super) fn output_of(
    program: impl AsRef<std::ffi::OsStr>,
    arguments: &[&str],
) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

/// Runs a compiler. What it says goes to the terminal as it says it.
///
/// # Errors
///
/// It cannot be started, or it refused the sources.
pub(super) fn compile(command: &mut Command) -> Result<(), Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure::work(format!("cannot run {program}: {error}")))?;
    if status.success() {
        return Ok(());
    }
    let name = Path::new(&program)
        .file_name()
        .map_or(program.clone(), |name| name.to_string_lossy().into_owned());
    Err(Failure::input(format!(
        "{name} did not build the transform ({status}); what it says is above"
    )))
}

/// Reads what a compiler left.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::work(format!("cannot read {}: {error}", path.display())))
}

/// A package of PyPI in a folder of its own, which it is installed to unless it is there. Gives the folder.
///
/// # Errors
///
/// There is no Python with pip, or the package cannot be had.
pub(super) fn python_package(
    project: &Project,
    package: &str,
    version: &str,
    why: &str,
) -> Result<PathBuf, Failure> {
    let folder = folder(project).join(format!("{package}-{version}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let python = python(project).ok_or_else(|| {
        Failure::input(format!(
            "{why}, and to install {package} into the project there must be Python 3 with venv or pip: on Debian and Ubuntu `apt-get install python3-venv`, on Fedora `dnf install python3`, on macOS `brew install python`"
        ))
    })?;
    eprintln!(
        "installing {package} {version} from PyPI, once, into {}",
        folder.display()
    );
    // Beside its place and then renamed: a half that was left behind is never taken for the whole.
    let partial = folder.with_added_extension(format!("{}.partial", std::process::id()));
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
    ])
    .args(["--only-binary", ":all:", "--target"])
    .arg(&partial)
    .arg(format!("{package}=={version}"));
    let status = pip
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure::work(format!("cannot run {}: {error}", python.display())))?;
    if !status.success() {
        let _ = std::fs::remove_dir_all(&partial);
        return Err(Failure::work(format!(
            "pip could not install {package} {version}; what it says is above"
        )));
    }
    if let Err(error) = std::fs::rename(&partial, &folder) {
        let _ = std::fs::remove_dir_all(&partial);
        // Somebody else may have been faster, which is as good.
        if !folder.is_dir() {
            return Err(Failure::work(format!(
                "cannot make {}: {error}",
                folder.display()
            )));
        }
    }
    Ok(folder)
}

/// A Python that has pip: the system's, or one in an environment of its own below the toolchains.
fn python(project: &Project) -> Option<PathBuf> {
    const HAS_PIP: [&str; 3] = ["-m", "pip", "--version"];
    if succeeds("python3", &HAS_PIP) {
        return Some("python3".into());
    }
    let environment = folder(project).join("python");
    let python = environment.join("bin").join("python3");
    let made = succeeds(&python, &HAS_PIP)
        || environment
            .to_str()
            .is_some_and(|path| succeeds("python3", &["-m", "venv", path]));
    made.then_some(python)
}
