//! Components that are not what they should be.

use crate::support::{Ended, Folder, transform};

/// Runs a pipeline whose transform is `component`.
fn run_with(component: &[u8]) -> Ended {
    let folder = super::data::rides(100);
    folder.write("transform.wasm", component);
    super::data::pipeline(&folder, "transform.wasm", "driver_id", "10m");
    folder.penstock(&["run", "pipeline.toml"])
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn what_is_not_a_component_is_refused() {
    run_with(b"").fails(2, &["transform.wasm", "the file is empty"]);
    run_with(b"#!/bin/sh\necho hello\n").fails(
        2,
        &["transform.wasm", "not a WebAssembly component", "magic"],
    );
    run_with(b"\0asm\x0d\0").fails(2, &["transform.wasm", "cut short"]);
    run_with(b"\x7fELF\x02\x01\x01").fails(2, &["native code", "never accepted"]);
    run_with(&wat("(module)")).fails(2, &["core module", "penstock componentize"]);
}

#[test]
fn a_component_that_is_cut_or_changed_is_refused() {
    let good = std::fs::read(transform("driver_accept_proportion")).unwrap();
    run_with(&good[..good.len() / 2]).fails(2, &["transform.wasm", "not valid"]);
    let mut other = good.clone();
    other[8..].fill(0xff);
    run_with(&other).fails(2, &["transform.wasm", "not valid"]);
}

#[test]
fn a_component_that_exports_nothing_known_is_refused() {
    run_with(&wat("(component)"))
        .fails(2, &["exports none of", "windowed@0.1.0", "exports nothing"]);
    let other = wat(r#"(component (instance $i) (export "acme:other/thing@1.0.0" (instance $i)))"#);
    run_with(&other).fails(2, &["exports none of", "acme:other/thing@1.0.0"]);
}

#[test]
fn a_component_that_imports_something_else_is_refused_by_name() {
    let http = wat(r#"(component (import "wasi:http/types@0.2.0" (instance)))"#);
    run_with(&http).fails(2, &["imports `wasi:http/types@0.2.0`", "log"]);
    let own = wat(r#"(component (import "acme:lookup/table" (func)))"#);
    run_with(&own).fails(2, &["imports `acme:lookup/table`"]);
}

#[test]
fn a_component_of_another_contract_version_is_refused() {
    let newer = wat(
        r#"(component (instance $i) (export "penstock:transform/windowed@0.2.0" (instance $i)))"#,
    );
    run_with(&newer).fails(
        2,
        &["built against `penstock:transform/windowed@0.2.0`", "0.1"],
    );
    // As an SDK of that version would make it: it imports the new types, and the new log.
    let real = wat(r#"(component
            (import "penstock:transform/types@0.2.0" (instance $types
                (type $reject (record (field "row" u64) (field "code" string)))
                (export "reject" (type (eq $reject)))))
            (import "penstock:transform/log@0.2.0" (instance $log
                (export "write" (func (param "message" string)))))
            (instance $i)
            (export "penstock:transform/windowed@0.2.0" (instance $i)))"#);
    run_with(&real).fails(2, &["built against `penstock:transform/windowed@0.2.0`"]);
    for interface in ["types", "log", "metrics"] {
        let name = format!("penstock:transform/{interface}@0.2.0");
        let only = wat(&format!(r#"(component (import "{name}" (instance)))"#));
        run_with(&only).fails(2, &[&format!("built against `{name}`")]);
    }
}

#[test]
fn a_component_whose_functions_are_others_is_refused() {
    let without = wat(
        r#"(component (instance $i) (export "penstock:transform/windowed@0.1.0" (instance $i)))"#,
    );
    run_with(&without).fails(2, &["windowed@0.1.0", "not as the contract has it", "0.1"]);

    // All of them are there, and none takes what it should.
    let functions = [
        "open-windowed",
        "accumulate",
        "merge-states",
        "finish-groups",
    ];
    let exports: String = functions
        .iter()
        .map(|name| format!("(export \"{name}\" (func $f))"))
        .collect();
    let other = wat(&format!(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $m (instantiate $m))
            (func $f (canon lift (core func $m "f")))
            (instance $i {exports})
            (export "penstock:transform/windowed@0.1.0" (instance $i)))"#
    ));
    run_with(&other).fails(
        2,
        &["its `windowed` is not that of contract 0.1.0", "1-tuple"],
    );
}

#[test]
fn a_mapper_is_not_run_as_a_windowed_transform() {
    let mapper = wat(r#"(component
            (core module $m (func (export "f")))
            (core instance $m (instantiate $m))
            (func $f (canon lift (core func $m "f")))
            (instance $i (export "open-mapper" (func $f)) (export "map-rows" (func $f)))
            (export "penstock:transform/mapper@0.1.0" (instance $i)))"#);
    run_with(&mapper).fails(2, &["is a mapper", "windowed"]);
}

#[test]
fn inspect_tells_what_a_component_is() {
    let folder = Folder::new();
    let path = transform("driver_accept_proportion");
    let path = path.to_str().unwrap();
    let text = folder
        .penstock(&[
            "inspect",
            path,
            "--event",
            "accepted: bool",
            "--key",
            "driver_id: int64",
        ])
        .fine();
    for part in [
        "sha256:",
        "windowed",
        "version 1",
        "offers: uint64",
        "driver_accept_proportion_10m: float64",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&folder.penstock(&["inspect", path, "--json"]).fine()).unwrap();
    assert_eq!(json["interfaces"], serde_json::json!(["windowed"]));
    let missing = json["windowed"]["error"].as_str().unwrap();
    assert!(missing.contains("accepted"), "{missing}");
    folder
        .penstock(&["inspect", "nothing.wasm"])
        .fails(2, &["nothing.wasm"]);
}
