//! JavaScript and TypeScript: bundled by esbuild, and put beside QuickJS by componentize-qjs. All of it runs in
//! Node.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::Failure;
use super::language::{TextFile, files};
use super::project::Project;
use super::{Built, interpreted, toolchain};

/// What is installed from npm, of these versions.
const PACKAGES: [&str; 3] = [
    "componentize-qjs@0.4.5",
    "esbuild@0.28.2",
    "typescript@7.0.2",
];

/// The folder they are in, which says their versions, so that others are installed beside them.
const FOLDER: &str = "npm-qjs0.4.5-esbuild0.28.2-typescript7.0.2";

/// The oldest Node that will do.
const LEAST: u32 = 18;

/// The SDK: a package of plain JavaScript.
pub(super) const SDK: &[TextFile] = files!("javascript/" =>
    "README.md",
    "bin/penstock-sdk.mjs",
    "package.json",
    "src/bits.js",
    "src/component.js",
    "src/definitions.js",
    "src/failures.js",
    "src/index.d.ts",
    "src/index.js",
    "src/mapping.js",
    "src/operator.js",
    "src/rows.js",
    "src/schema.js",
    "src/shapes.js",
    "src/testing.d.ts",
    "src/testing.js",
    "src/text.js",
    "src/types.js",
    "src/windowed.js",
);

/// The source of a new window.
pub(super) const WINDOW: &[TextFile] = files!("javascript/templates/window/" => "package.json.in", "transform.js", "transform.test.js");

/// The source of a new mapper.
pub(super) const MAPPER: &[TextFile] = files!("javascript/templates/mapper/" => "package.json.in", "transform.js", "transform.test.js");

pub(super) fn build(project: &Project) -> Result<Built, Failure> {
    let file = interpreted::main_file(project, &["js", "ts", "mjs"], |name| {
        name.contains(".test.")
    })?;
    let version = toolchain::output_of("node", &["--version"]);
    let advice = "on Debian and Ubuntu `apt-get install nodejs npm`, on Fedora `dnf install nodejs`, on macOS `brew install node`, or https://nodejs.org";
    match version.as_deref() {
        Some(version) if major(version).is_some_and(|major| major >= LEAST) => {}
        Some(version) => {
            return Err(Failure::input(format!(
                "node is {}, and Node {LEAST} or newer is needed: {advice}",
                version.trim()
            )));
        }
        None => return Err(Failure::input(format!("there is no node: {advice}"))),
    }
    let packages = packages(project, advice)?;
    install_own(project)?;
    let component = project.hidden().join("build").join("component.wasm");
    interpreted::make_room_for(&component)?;
    let mut node = Command::new("node");
    node.arg(project.sdk().join("bin").join("penstock-sdk.mjs"))
        .arg("build")
        .arg(&file)
        .arg("--wit")
        .arg(project.hidden().join("wit"))
        .arg("--output")
        .arg(&component)
        .arg("--packages")
        .arg(&packages)
        .current_dir(&project.folder);
    toolchain::compile(&mut node)?;
    toolchain::read(&component).map(Built::Component)
}

/// The toolchain's packages, installed unless they are there.
fn packages(project: &Project, advice: &str) -> Result<PathBuf, Failure> {
    let folder = toolchain::folder(project).join(FOLDER);
    if folder.is_dir() {
        return Ok(folder);
    }
    if !toolchain::succeeds("npm", &["--version"]) {
        return Err(Failure::input(format!(
            "there is no npm, which installs {} into the project: {advice}",
            PACKAGES.join(", ")
        )));
    }
    eprintln!(
        "installing {} from npm, once, into {}",
        PACKAGES.join(", "),
        folder.display()
    );
    // Beside its place and then renamed: a half that was left behind is never taken for the whole.
    let partial = folder.with_added_extension(format!("{}.partial", std::process::id()));
    std::fs::create_dir_all(&partial)
        .and_then(|()| std::fs::write(partial.join("package.json"), "{\"private\":true}\n"))
        .map_err(|error| Failure::work(format!("cannot write {}: {error}", partial.display())))?;
    let installed = npm(&partial, &PACKAGES);
    if let Err(error) = installed.and_then(|()| rename(&partial, &folder)) {
        let _ = std::fs::remove_dir_all(&partial);
        // Somebody else may have been faster, which is as good.
        if !folder.is_dir() {
            return Err(error);
        }
    }
    Ok(folder)
}

fn rename(partial: &Path, folder: &Path) -> Result<(), Failure> {
    std::fs::rename(partial, folder)
        .map_err(|error| Failure::work(format!("cannot make {}: {error}", folder.display())))
}

/// What the project's own package.json asks for: the SDK, for tests and editors, and what else the author
/// wants.
fn install_own(project: &Project) -> Result<(), Failure> {
    if wants_install(&project.folder) && toolchain::succeeds("npm", &["--version"]) {
        return npm(&project.folder, &[]);
    }
    Ok(())
}

/// Whether package.json asks for something that may not be there: nothing was installed yet, or package.json was
/// changed since npm did. What another package manager installed is its own business.
fn wants_install(folder: &Path) -> bool {
    let changed = |name: &str| {
        let file = std::fs::metadata(folder.join(name));
        file.and_then(|file| file.modified()).ok()
    };
    let Some(asked) = changed("package.json") else {
        return false;
    };
    match changed("node_modules/.package-lock.json") {
        Some(installed) => asked > installed,
        None => !folder.join("node_modules").exists(),
    }
}

fn npm(folder: &Path, packages: &[&str]) -> Result<(), Failure> {
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
        .args(packages)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let status = npm
        .status()
        .map_err(|error| Failure::work(format!("cannot run npm: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::work(format!(
        "npm could not install what {} asks for; what it says is above",
        folder.display()
    )))
}

/// The first number of `v20.20.2`.
fn major(version: &str) -> Option<u32> {
    let version = version.trim().trim_start_matches('v');
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_whole() {
        interpreted::assert_whole("javascript/src", "src/", SDK);
    }

    #[test]
    fn packages_are_installed_once_for_each_change_of_package_json() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let write = |name: &str, seconds: u64| {
            let file = std::fs::File::create(folder.join(name)).unwrap();
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.set_modified(at).unwrap();
        };
        assert!(!wants_install(folder), "nothing asks for packages");
        write("package.json", 1000);
        assert!(wants_install(folder));
        std::fs::create_dir(folder.join("node_modules")).unwrap();
        assert!(!wants_install(folder), "something else than npm made it");
        write("node_modules/.package-lock.json", 1001);
        assert!(!wants_install(folder));
        write("package.json", 1002);
        assert!(wants_install(folder));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("nightly"), None);
    }
}
