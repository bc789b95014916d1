//! The registry as people use it: on a folder and on S3.

use serde_json::Value;

use crate::support::servers::s3;
use crate::support::{Folder, root, transform};

const TRANSFORM: &str = "driver_accept_proportion";

/// A folder with a penstock.toml whose registry is `place`, and a component in it.
fn folder(place: &str, more: &str) -> Folder {
    let folder = Folder::new();
    folder.write(
        "penstock.toml",
        format!("[environments.local]\nregistry = \"{place}\"\n[environments.local.events.ride_offer]\nfiles = \"rides.ndjson\"\nevent_time = \"occurred_at\"\n{more}"),
    );
    folder.write("driver.wasm", std::fs::read(transform(TRANSFORM)).unwrap());
    folder.write("other.wasm", std::fs::read(transform("ledger")).unwrap());
    folder
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn pushes_lists_and_pulls(folder: &Folder) {
    let empty = folder.penstock(&["list"]).fine();
    assert_eq!(empty, "");
    folder
        .penstock(&["pull", "driver@1"])
        .fails(2, &["driver@1", "it is empty", "penstock push"]);
    let pushed = folder.penstock(&["push", "driver.wasm", "driver@1"]).fine();
    assert!(pushed.contains("sha256:"), "{pushed}");
    let again = folder.penstock(&["push", "driver.wasm", "driver@1", "--json"]);
    assert_eq!(json(&again.fine())["was_there"], true);
    folder
        .penstock(&["push", "other.wasm", "driver@1"])
        .fails(2, &["a version never changes"]);
    folder.penstock(&["push", "other.wasm", "driver@2"]).fine();
    let listed = json(&folder.penstock(&["list", "driver", "--json"]).fine());
    let versions: Vec<&str> = (listed.as_array().unwrap().iter())
        .map(|version| version["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["1", "2"]);
    folder
        .penstock(&["pull", "driver@1", "-o", "pulled.wasm"])
        .fine();
    assert_eq!(folder.read("pulled.wasm"), folder.read("driver.wasm"));
}

#[test]
fn versions_are_pushed_to_a_folder_and_pulled() {
    pushes_lists_and_pulls(&folder("registry", ""));
}

#[test]
fn versions_are_pushed_to_s3_and_pulled() {
    let server = s3::start();
    server.make_bucket("transforms").unwrap();
    let options = s3::options(server.port());
    pushes_lists_and_pulls(&folder("s3://transforms/all", &options));
    folder("s3://nowhere/all", &options)
        .penstock(&["list"])
        .fails(2, &["nowhere"]);
}

#[test]
fn what_is_no_transform_is_not_pushed() {
    let folder = folder("registry", "");
    folder.write("text.wasm", "not a component");
    folder
        .penstock(&["push", "text.wasm", "driver@1"])
        .fails(2, &["text.wasm", "not a WebAssembly component"]);
    folder
        .penstock(&["push", "driver.wasm", "Driver"])
        .fails(2, &["`Driver` has no version"]);
}

#[test]
fn a_pipeline_runs_a_version_that_the_registry_has_and_trusts() {
    let example = root().join("examples").join(TRANSFORM);
    let folder = folder("registry", "");
    let pipeline = std::fs::read_to_string(example.join("pipeline.toml")).unwrap();
    let line = pipeline.lines().find(|line| line.starts_with("transform"));
    let pipeline = pipeline.replace(line.unwrap(), "transform = \"driver@1\"");
    let environments = folder.text("penstock.toml");
    folder.write("pipeline.toml", &pipeline);
    folder.write(
        "rides.ndjson",
        "{\"occurred_at\":\"2026-01-01T00:00:00Z\",\"driver_id\":1,\"accepted\":true}\n",
    );
    folder
        .penstock(&["validate", "pipeline.toml"])
        .fails(2, &["has no driver@1"]);
    folder.penstock(&["push", "driver.wasm", "driver@1"]).fine();
    let said = folder.penstock(&["validate", "pipeline.toml"]).fine();
    assert!(said.contains("driver@1 (sha256:"), "{said}");

    let key = folder.penstock(&["keygen", "ci.key"]).fine();
    folder.write(
        "penstock.toml",
        format!("{environments}\n[environments.local.signatures]\nrequired = true\nkeys = {{ ci = \"{}\" }}\n", key.trim()),
    );
    folder
        .penstock(&["validate", "pipeline.toml"])
        .fails(2, &["driver@1 has no signature", "ci"]);
    let signed = ["push", "driver.wasm", "driver@1", "--sign", "ci.key"];
    folder.penstock(&signed).fine();
    folder.penstock(&["validate", "pipeline.toml"]).fine();
    let listed = folder.penstock(&["list"]).fine();
    assert!(listed.contains("signed by ci"), "{listed}");

    // Somebody puts other bytes below the version.
    let blobs = std::fs::read_dir(folder.path("registry/blobs")).unwrap();
    let blob = blobs.flatten().next().unwrap().path();
    std::fs::write(&blob, folder.read("other.wasm")).unwrap();
    folder
        .penstock(&["validate", "pipeline.toml"])
        .fails(2, &["has been changed"]);
}
