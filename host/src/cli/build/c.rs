//! C and C++: clang with a libc for WebAssembly if the machine has both, otherwise Zig's, from PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::Failure;
use super::language::{TextFile, files};
use super::project::Project;
use super::{Built, toolchain};

/// Zig's clang, with a libc and a C++ library for WebAssembly.
const ZIG: (&str, &str) = ("ziglang", "0.17.0");

/// The SDK: headers alone.
pub(super) const SDK: &[TextFile] = files!("c/" => "include/penstock.h", "include/penstock.hpp");

/// The source of a new window.
pub(super) const WINDOW: &[TextFile] = files!("c/templates/window/" => "transform.c");

/// The source of a new mapper.
pub(super) const MAPPER: &[TextFile] = files!("c/templates/mapper/" => "transform.c");

/// For both languages.
const FLAGS: [&str; 7] = [
    "--target=wasm32-wasi",
    "-mexec-model=reactor",
    "-O3",
    "-Wall",
    "-Wextra",
    "-Wl,-z,stack-size=1048576",
    "-Wl,--strip-all",
];

pub(super) fn build(project: &Project) -> Result<Built, Failure> {
    let sources = sources(project)?;
    let is_cpp = sources.iter().any(|source| language(source) == "c++");
    let module = project.hidden().join("build").join("module.wasm");
    std::fs::create_dir_all(project.hidden().join("build"))
        .map_err(|error| Failure::work(format!("cannot write {}: {error}", module.display())))?;
    let mut compiler = compiler(project, is_cpp)?;
    compiler
        .args(FLAGS)
        .arg("-I")
        .arg(project.sdk().join("include"))
        .args(project.list("flags")?.unwrap_or_default())
        .current_dir(&project.folder);
    if is_cpp {
        compiler.args(["-std=c++20", "-fno-exceptions", "-fno-rtti"]);
    } else {
        compiler.arg("-std=c11");
    }
    for source in &sources {
        if is_cpp {
            compiler.args(["-x", language(source)]);
        }
        compiler.arg(source);
    }
    toolchain::compile(compiler.arg("-o").arg(&module))?;
    toolchain::read(&module).map(Built::Module)
}

/// `[build] sources`, or every source of the folder that is no test; sorted, and from the folder.
fn sources(project: &Project) -> Result<Vec<PathBuf>, Failure> {
    if let Some(named) = project.list("sources")? {
        return Ok(named.into_iter().map(PathBuf::from).collect());
    }
    let mut found = Vec::new();
    for folder in ["", "src"] {
        let entries = std::fs::read_dir(project.folder.join(folder));
        for entry in entries.into_iter().flatten().flatten() {
            let name = PathBuf::from(entry.file_name());
            let stem = name
                .file_stem()
                .map_or_else(Default::default, |stem| stem.to_string_lossy());
            let is_test = stem.starts_with("test_") || stem.ends_with("_test");
            if !is_test && !language(&name).is_empty() {
                found.push(Path::new(folder).join(name));
            }
        }
    }
    found.sort();
    match found.is_empty() {
        false => Ok(found),
        true => Err(Failure::input(format!(
            "there is no .c, .cc or .cpp file in {} nor in its folder src; `build.sources` in penstock.toml can name others",
            project.folder.display()
        ))),
    }
}

/// What clang calls the language of a file; empty if it is neither of ours.
fn language(source: &Path) -> &'static str {
    match source.extension().and_then(|extension| extension.to_str()) {
        Some("c") => "c",
        Some("cc" | "cpp" | "cxx") => "c++",
        _ => "",
    }
}

/// `[build] compiler`; or clang, if it can make a program for WASI; or Zig, installed into the project.
fn compiler(project: &Project, is_cpp: bool) -> Result<Command, Failure> {
    if let Some(named) = project.list("compiler")? {
        let mut words = named.iter().flat_map(|named| named.split_whitespace());
        let program = words
            .next()
            .ok_or_else(|| Failure::input("`build.compiler` in penstock.toml names no program"))?;
        let mut compiler = Command::new(program);
        compiler.args(words);
        return Ok(compiler);
    }
    let (system, zig) = if is_cpp {
        ("clang++", "c++")
    } else {
        ("clang", "cc")
    };
    if can_make_wasm(system, is_cpp) {
        let mut compiler = Command::new(system);
        // The stack lies first in memory, so that one that overflows traps and overwrites nothing. Zig does so anyway.
        compiler.arg("-Wl,--stack-first");
        return Ok(compiler);
    }
    let (package, version) = ZIG;
    let why = "clang cannot make programs for WebAssembly here (on Debian: `apt-get install clang lld wasi-libc libclang-rt-dev-wasm32`)";
    let installed = toolchain::python_package(project, package, version, why)?;
    let mut compiler = Command::new(installed.join("ziglang").join("zig"));
    // Its libc is built once, and kept there.
    compiler
        .arg(zig)
        .env(
            "ZIG_GLOBAL_CACHE_DIR",
            toolchain::folder(project).join("zig-cache"),
        )
        .env(
            "ZIG_LOCAL_CACHE_DIR",
            project.hidden().join("build").join("zig-cache"),
        );
    Ok(compiler)
}

fn can_make_wasm(compiler: &str, is_cpp: bool) -> bool {
    let Ok(folder) = scratch() else {
        return false;
    };
    let source = folder.join(if is_cpp { "probe.cpp" } else { "probe.c" });
    let program = if is_cpp {
        "#include <optional>\n#include <string>\nint probe() { return (int)std::string(\"x\").size(); }\n"
    } else {
        "#include <stdlib.h>\n#include <string.h>\nint probe(void) { return (int)strlen(malloc(1)); }\n"
    };
    let arguments = [
        "--target=wasm32-wasi".to_owned(),
        "-mexec-model=reactor".to_owned(),
        source.display().to_string(),
        "-o".to_owned(),
        folder.join("probe.wasm").display().to_string(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let made =
        std::fs::write(&source, program).is_ok() && toolchain::succeeds(compiler, &arguments);
    let _ = std::fs::remove_dir_all(&folder);
    made
}

fn scratch() -> std::io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("penstock-probe-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_of_the_contracts_version() {
        let version = format!("#define PENSTOCK_VERSION \"{}\"", crate::sandbox::CONTRACT);
        assert!(SDK[0].text.contains(&version), "{version}");
        let interface = format!(
            "penstock:transform/windowed@{}#accumulate",
            crate::sandbox::CONTRACT
        );
        assert!(SDK[0].text.contains(&interface), "{interface}");
    }

    #[test]
    fn sources_are_told_from_other_files() {
        assert_eq!(language(Path::new("a.cpp")), "c++");
        assert_eq!(language(Path::new("a.c")), "c");
        assert_eq!(language(Path::new("a.h")), "");
    }
}
