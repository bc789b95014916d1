//! Packages of the SDKs, as their ecosystems have them: each is made, installed into an empty place, and used from there.
//! (That of Go is its module itself, which every project in Go is built with.)

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    command,
    machine::{self, CMAKE, LIBRDKAFKA, LINKER, NODE, PYTHON},
    workspace::Workspace,
};

/// Makes and tries all of them, after making sure that the machine can.
pub(crate) fn prepare_and_test(workspace: &Workspace) -> Result<()> {
    machine::prepare(&[LINKER, LIBRDKAFKA, NODE, PYTHON, CMAKE])?;
    let packages = workspace.root.join("target/packages");
    // What a package lacks must not be there from the time before.
    if packages.exists() {
        fs::remove_dir_all(&packages).with_context(|| shown("cannot empty", &packages))?;
    }
    let sdks = workspace.root.join("guest-sdk");
    wheel(&sdks.join("python"), &folder(&packages, "python")?)?;
    npm(&sdks.join("javascript"), &folder(&packages, "javascript")?)?;
    headers(&sdks.join("c"), &folder(&packages, "c")?)
}

/// A wheel, in an environment that has nothing else.
fn wheel(sdk: &Path, folder: &Path) -> Result<()> {
    // Building leaves files beside the sources.
    let sources = copied(sdk, &folder.join("sources"))?;
    let environment = folder.join("environment");
    command::run(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment),
    )?;
    let python = environment.join("bin/python");
    let pip = |arguments: &[&str]| {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"])
            .args(arguments)
            .current_dir(folder);
        pip
    };
    command::run(pip(&["wheel", "--no-deps", "--wheel-dir", "."]).arg(&sources))?;
    let wheel = only(folder, ".whl")?;
    command::run(pip(&["install", "--no-index"]).arg(wheel))?;
    let uses = "import importlib.metadata, importlib.resources, penstock, penstock.testing; \
                assert importlib.resources.files('penstock').joinpath('py.typed').is_file(); \
                print(importlib.metadata.version('penstock'))";
    command::run(Command::new(&python).args(["-I", "-c", uses]))
}

/// What npm would publish, in a project that has nothing else.
fn npm(sdk: &Path, folder: &Path) -> Result<()> {
    let npm = |arguments: &[&str]| {
        let mut npm = Command::new("npm");
        npm.args(arguments)
            .args(["--silent", "--no-audit", "--no-fund"])
            .current_dir(folder);
        npm
    };
    command::run(npm(&["pack"]).arg(sdk))?;
    let package = only(folder, ".tgz")?;
    fs::write(
        folder.join("package.json"),
        "{\"private\": true, \"type\": \"module\"}",
    )?;
    command::run(npm(&["install", "--offline"]).arg(package))?;
    let uses = "await import('@penstock/sdk'); await import('@penstock/sdk/testing');";
    let mut node = Command::new("node");
    node.args(["--input-type=module", "-e", uses])
        .current_dir(folder);
    command::run(&mut node)?;
    let installed = folder.join("node_modules/@penstock/sdk");
    for file in ["src/index.d.ts", "bin/penstock-sdk.mjs"] {
        ensure!(installed.join(file).is_file(), "the package lacks {file}");
    }
    Ok(())
}

/// The headers as CMake installs them, found by CMake and by pkg-config.
fn headers(sdk: &Path, folder: &Path) -> Result<()> {
    let (build, prefix) = (folder.join("build"), folder.join("installed"));
    let cmake = |arguments: &[&str]| {
        let mut cmake = Command::new("cmake");
        cmake.args(arguments).current_dir(folder);
        cmake
    };
    let prefixed = format!("-DCMAKE_INSTALL_PREFIX={}", prefix.display());
    command::run(
        cmake(&["-Wno-dev", "-B"])
            .arg(&build)
            .arg("-S")
            .arg(sdk)
            .arg(prefixed),
    )?;
    command::run(cmake(&["--build"]).arg(&build))?;
    command::run(cmake(&["--install"]).arg(&build))?;
    let user = self::folder(folder, "user")?;
    fs::write(user.join("user.c"), USER)?;
    fs::write(
        user.join("user.cpp"),
        USER.replace("penstock.h>", "penstock.hpp>"),
    )?;
    fs::write(
        user.join("CMakeLists.txt"),
        "cmake_minimum_required(VERSION 3.20)\nproject(user LANGUAGES C CXX)\nfind_package(penstock REQUIRED)\n\
         add_executable(c user.c)\nadd_executable(cpp user.cpp)\ntarget_compile_features(cpp PRIVATE cxx_std_20)\n\
         target_link_libraries(c penstock::penstock)\ntarget_link_libraries(cpp penstock::penstock)\n",
    )?;
    let found = format!("-DCMAKE_PREFIX_PATH={}", prefix.display());
    let built = user.join("build");
    command::run(cmake(&["-B"]).arg(&built).arg("-S").arg(&user).arg(found))?;
    command::run(cmake(&["--build"]).arg(&built))?;
    let libraries = ["lib", "lib64"].map(|library| prefix.join(library));
    let path = std::env::join_paths(libraries.iter().flat_map(|library| described(library)))?;
    let ask = |what| {
        let mut ask = Command::new("pkg-config");
        ask.args([what, "penstock"]).env("PKG_CONFIG_PATH", &path);
        command::output(&mut ask)
    };
    let program = user.join("by-flags");
    command::run(
        Command::new("cc")
            .args(ask("--cflags")?.split_whitespace())
            .arg(user.join("user.c"))
            .arg("-o")
            .arg(&program),
    )?;
    let version = ask("--modversion")?;
    for program in [program, built.join("c"), built.join("cpp")] {
        let said = command::output(&mut Command::new(&program))?;
        ensure!(
            said == version,
            "{} has version {said}, and pkg-config says {version}",
            program.display()
        );
    }
    Ok(())
}

/// A program that says of which version the headers are.
const USER: &str = "#include <penstock.h>\n#include <stdio.h>\nint main(void) { puts(PENSTOCK_VERSION); return 0; }\n";

/// Folders of pkg-config in one of libraries, which may be in one named for the machine.
fn described(libraries: &Path) -> Vec<PathBuf> {
    let inner = fs::read_dir(libraries).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = inner.map(|entry| entry.path().join("pkgconfig")).collect();
    folders.push(libraries.join("pkgconfig"));
    folders.retain(|folder| folder.is_dir());
    folders
}

fn folder(within: &Path, name: &str) -> Result<PathBuf> {
    let folder = within.join(name);
    fs::create_dir_all(&folder).with_context(|| shown("cannot make", &folder))?;
    Ok(folder)
}

/// The one file of a folder whose name ends so.
fn only(folder: &Path, ending: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| shown("cannot read", folder))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut found = paths.filter(|path| path.to_string_lossy().ends_with(ending));
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        _ => anyhow::bail!("{} has not one file *{ending}", folder.display()),
    }
}

/// Copies a folder with all that is in it.
fn copied(from: &Path, to: &Path) -> Result<PathBuf> {
    fs::create_dir_all(to).with_context(|| shown("cannot make", to))?;
    for entry in fs::read_dir(from).with_context(|| shown("cannot read", from))? {
        let entry = entry?;
        let there = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => drop(copied(&entry.path(), &there)?),
            false => drop(fs::copy(entry.path(), there)?),
        }
    }
    Ok(to.to_owned())
}

fn shown(what: &str, path: &Path) -> String {
    format!("{what} {}", path.display())
}
