//! `penstock dev`: single rounds, and rounds that saves begin.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{EVENTS, EXPECTED, folder};
use crate::support::{Ended, Folder, transform};

/// The command that "builds": it takes the component that the file `which` names.
const BUILD: &str = "cp \"$(cat which)\" feature.wasm";

/// A pipeline, its environment and a case in `work`, and the "source" in `work/src`.
fn workbench() -> Folder {
    let folder = folder("hidden_state", "nothing");
    folder.write("nowhere.ndjson", EVENTS);
    folder.write("cases/usual/events.ndjson", EVENTS);
    folder.write("cases/usual/expected.csv", EXPECTED);
    let guest = format!("{:?}", transform("hidden_state"));
    let text = folder
        .text("pipeline.toml")
        .replace(&guest, "\"src/feature.wasm\"");
    folder.write("pipeline.toml", text);
    folder.write("src/which", transform("hidden_state").to_str().unwrap());
    folder
}

fn dev<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let usual = ["dev", "pipeline.toml", "--source", "src", "--build", BUILD];
    [&usual, more].concat()
}

#[test]
fn one_round_builds_tests_and_runs() {
    let folder = workbench();
    let said = folder.penstock(&dev(&["--once"])).fine();
    for part in ["ok       usual", "1 case passed", "features: 3 rows"] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    assert!(!folder.path("out").exists() && !folder.path("store").exists());

    folder.write(
        "cases/usual/expected.csv",
        EXPECTED.replace("Z,3,8", "Z,3,9"),
    );
    let ended = folder.penstock(&dev(&["--once"]));
    assert!(
        ended.stdout().contains("features: 3 rows"),
        "{}",
        ended.stdout()
    );
    ended.fails(1, &["1 of 1 case failed: usual"]);

    folder.write("src/which", "nothing.wasm");
    folder
        .penstock(&dev(&["--once"]))
        .fails(1, &["nothing.wasm", "failed (exit status: 1)"]);
}

#[test]
fn what_cannot_be_built_at_all_is_told() {
    let folder = workbench();
    folder
        .penstock(&["dev", "pipeline.toml", "--once"])
        .fails(2, &["no Cargo.toml", "--source", "--build"]);
    folder
        .penstock(&["dev", "pipe.toml", "--once"])
        .fails(2, &["pipe.toml", "cannot be read"]);
    folder.write("other.toml", "event = \"entry\"\n");
    folder
        .penstock(&["dev", "other.toml", "--once"])
        .fails(2, &["names no `transform`"]);
    let gone = ["dev", "pipeline.toml", "--once", "--source", "gone"];
    folder.penstock(&gone).fails(2, &["gone"]);
}

#[test]
fn without_events_of_the_environment_those_of_the_cases_do() {
    let folder = workbench();
    std::fs::remove_file(folder.path("nowhere.ndjson")).unwrap();
    let said = folder.penstock(&dev(&["--once"])).fine();
    assert!(said.contains("features of usual: 3 rows"), "{said}");
    let said = folder
        .penstock(&dev(&["--once", "--events", "events.ndjson"]))
        .fine();
    assert!(said.contains("features: 3 rows"), "{said}");
}

/// A package in a folder, whose module is that of the guest of this name. The "cargo" of these tests
/// only knows where the modules are that were left when the guests were built.
fn package(folder: &Folder, source: &str, guest: &str) {
    let transforms = transform(guest);
    let target = transforms.ancestors().nth(2).unwrap();
    let module = target.join(format!("wasm32-unknown-unknown/transform/{guest}.wasm"));
    folder.write(&format!("{source}/Cargo.toml"), "[package]\n");
    let source_folder = folder.path(source).canonicalize().unwrap();
    let metadata = serde_json::json!({
        "packages": [{
            "manifest_path": source_folder.join("Cargo.toml"),
            "targets": [{"name": guest.replace('_', "-"), "crate_types": ["cdylib", "rlib"]}],
        }],
        "target_directory": source_folder.join("target"),
    });
    folder.write(&format!("{source}/metadata.json"), metadata.to_string());
    let build = format!(
        "echo \"$@\" > called\nmkdir -p target/wasm32-unknown-unknown/release\n\
         cp {module:?} target/wasm32-unknown-unknown/release/{guest}.wasm\n"
    );
    folder.write(&format!("{source}/build.sh"), build);
}

/// The program with that "cargo".
fn with_cargo(folder: &Folder, more: &[&str]) -> Command {
    let script =
        "#!/bin/sh\nif [ \"$1\" = metadata ]; then cat metadata.json; exit; fi\n. ./build.sh\n";
    let cargo = folder.write("cargo.sh", script);
    executable(&cargo);
    let mut command = command(folder, &[&["dev", "pipeline.toml"], more].concat());
    command.env("CARGO", &cargo);
    command
}

fn once_with_cargo(folder: &Folder, more: &[&str]) -> Ended {
    let arguments = [&["--once"], more].concat();
    Ended::of(with_cargo(folder, &arguments).output().unwrap())
}

#[test]
fn a_component_that_is_renamed_is_built_by_its_new_name() {
    let folder = workbench();
    package(&folder, "src", "hidden_state");
    let arguments = ["--source", "src", "--ignore", "src/called"];
    let watching = Watching::start(with_cargo(&folder, &arguments));
    watching.round_that_says(&["round 1", "1 case passed"]);
    let text = folder.text("pipeline.toml");
    folder.write("pipeline.toml", text.replace("feature.wasm", "other.wasm"));
    watching.round_that_says(&["pipeline.toml changed", "1 case passed"]);
    assert!(folder.path("src/other.wasm").exists());
    watching.stop();
}

#[test]
fn a_package_becomes_the_component_of_its_name_alone() {
    // Beside the pipeline is the package of its mapper.
    let folder = workbench();
    package(&folder, ".", "hidden_mapper");
    package(&folder, "src", "hidden_state");
    std::fs::copy(transform("hidden_state"), folder.path("src/feature.wasm")).unwrap();
    let before = folder.read("src/feature.wasm");
    once_with_cargo(&folder, &[]).fails(
        2,
        &["builds hidden_mapper.wasm", "src/feature.wasm", "--source"],
    );
    assert_eq!(folder.read("src/feature.wasm"), before);

    let text = folder.text("pipeline.toml");
    let mapped = "[map]\ntransform = \"hidden_mapper.wasm\"\n[window]";
    let text = text.replace("src/feature.wasm", "src/hidden_state.wasm");
    folder.write("pipeline.toml", text.replace("[window]", mapped));
    once_with_cargo(&folder, &["--source", ".", "--source", "src"]).fine();
    assert!(folder.path("hidden_mapper.wasm").exists());
    assert!(folder.path("src/hidden_state.wasm").exists());
    let said = once_with_cargo(&folder, &["--source", "src"]).fine();
    assert!(
        said.contains("hidden_mapper.wasm is taken as it is"),
        "{said}"
    );
}

#[test]
fn cargo_builds_the_package_and_its_module_becomes_the_component() {
    let folder = workbench();
    package(&folder, "src", "hidden_state");
    let said = once_with_cargo(&folder, &["--source", "src"]).fine();
    assert!(said.contains("1 case passed"), "{said}");
    let called = folder.text("src/called");
    assert_eq!(
        called.trim(),
        "build --release --target wasm32-unknown-unknown"
    );
}

#[test]
fn a_save_begins_a_round_that_shows_what_changed() {
    let folder = workbench();
    let watching = Watching::start(command(&folder, &dev(&[])));
    watching.round_that_says(&["round 1", "1 case passed", "features: 3 rows"]);

    // The transform does another thing with the same events.
    let text = folder.text("pipeline.toml");
    folder.write("pipeline.toml", text.replace("nothing", "batches"));
    watching.round_that_says(&[
        "pipeline.toml changed",
        "FAILED   usual",
        "features: 3 rows; 3 values differ",
        "expected             got\n",
        "before               now\n",
        "nowhere.ndjson:1",
    ]);

    // As editors save: another file in its place.
    let aside = folder.write("pipeline.toml.tmp", &text);
    std::fs::rename(aside, folder.path("pipeline.toml")).unwrap();
    watching.round_that_says(&["pipeline.toml changed", "1 case passed", "3 values differ"]);

    // Columns that are others are told with their types.
    let others = transform("wrong_merge");
    folder.write("src/which", others.to_str().unwrap());
    watching.round_that_says(&[
        "the output's columns are others\n",
        "  before  rows: uint64; sum: float64\n",
        "; mean: float64",
    ]);
    folder.write("src/which", transform("hidden_state").to_str().unwrap());
    watching.round_that_says(&["src/which changed", "1 case passed"]);

    // A build that fails is told, and watched on; so is a file that goes and comes back.
    std::fs::remove_file(folder.path("src/which")).unwrap();
    watching.round_that_says(&["src/which changed", "failed (exit status"]);
    folder.write("src/which", transform("hidden_state").to_str().unwrap());
    watching.round_that_says(&["src/which changed", "the same as in the last run"]);

    // Also in a folder that was not there before.
    folder.write("src/deep/er/notes.txt", "a");
    watching.round_that_says(&["src/deep"]);
    watching.stop();
}

/// The program at watch.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program starts");
        let output = child.stdout.take().expect("it is piped");
        let (sender, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for a round that says all of `parts`. Rounds before it may see a file half written.
    #[track_caller]
    fn round_that_says(&self, parts: &[&str]) {
        let mut all = String::new();
        let mut round = String::new();
        loop {
            // So long that only a round that never comes takes it.
            let line = self.lines.recv_timeout(Duration::from_secs(120));
            let line = line.unwrap_or_else(|error| {
                panic!("no round says all of {parts:?}: {error}; what was said:\n{all}{round}")
            });
            if line.starts_with("watching ") {
                if parts.iter().all(|part| round.contains(part)) {
                    return;
                }
                all.push_str(&round);
                round.clear();
                continue;
            }
            round.push_str(&line);
            round.push('\n');
        }
    }

    /// As Ctrl-C does.
    fn stop(mut self) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("it runs");
        kill_process(pid, Signal::INT).expect("it runs");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(130));
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // After a test that failed nobody else ends it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command
        .args(arguments)
        .current_dir(folder.path(""))
        .env("PENSTOCK_CACHE", folder.path("cache"))
        .env_remove("PENSTOCK_LOG")
        .env_remove("CARGO");
    command
}

fn executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).expect("it is ours");
}
