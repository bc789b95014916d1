//! Projects as a newcomer has them: `penstock new`, `build`, `test`, `run` and `get`, for every language and
//! template, in a folder that is empty before.

use std::process::Command;

use crate::support::{Ended, Folder, root};

/// Begins a project, builds, tests and runs it. What is installed goes where `cargo xtask transforms` has it.
fn project(language: &str, template: &str, feature: &str, value: &str) {
    let folder = Folder::new();
    let target = root().join("target");
    let penstock = |within: &str, arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_penstock"))
            .args(arguments)
            .current_dir(folder.path(within))
            .env("PENSTOCK_CACHE", target.join("test-cache"))
            .env("PENSTOCK_TOOLCHAINS", target.join("toolchains"))
            // Several projects in Rust build the SDK once.
            .env("CARGO_TARGET_DIR", target.join("projects"))
            .env_remove("PENSTOCK_LOG")
            .output();
        Ended::of(output.expect("the program starts"))
    };
    // Those that are built side by side in one folder must not have one name.
    let name = &format!("my-{template}");
    let begin = ["new", name, "--lang", language, "--template", template];
    penstock("", &begin).fine();
    penstock("", &begin).fails(2, &[&format!("{name} is there already")]);
    let built = penstock(name, &["build"]).fine();
    assert!(
        built.contains("pipeline    ") && built.contains(": fine"),
        "{built}"
    );
    penstock(name, &["test", "pipeline.toml"]).fine();
    penstock(name, &["run", "pipeline.toml"]).fine();
    let got = penstock(name, &["get", "customer", "c-17", feature]).fine();
    assert!(got.contains(value), "{got}");
    // The others take as long for a second build as for the first.
    if language == "c" {
        let round = penstock(name, &["dev", "pipeline.toml", "--once"]).fine();
        assert!(round.contains("basic"), "{round}");
    }
}

macro_rules! projects {
    ($($language:ident),*) => {
        $(mod $language {
            #[test]
            fn a_new_window_works() {
                super::project(stringify!($language), "window", "customer_mean_order_1h", "2500.0");
            }

            #[test]
            fn a_new_mapper_works() {
                super::project(stringify!($language), "mapper", "customer_last_amount", "10.0");
            }
        })*
    };
}

projects!(rust, c, go, javascript, python);
