//! The first example in every language: the same features, byte for byte.

use std::fmt::Write;
use std::path::PathBuf;

use crate::support::{Folder, Tuning, root};

const LANGUAGES: [&str; 5] = ["", "_c", "_go", "_javascript", "_python"];

/// The same transform in each language's columnar form: what the bench measures.
const COLUMNAR: [&str; 5] = [
    "driver_accept_proportion_columnar",
    "bench_c_columnar",
    "bench_go_columnar",
    "bench_javascript_columnar",
    "bench_python_columnar",
];

/// The component of an example, if it was built here.
fn built(component: &str) -> Option<PathBuf> {
    let path = root()
        .join("target/transforms")
        .join(format!("{component}.wasm"));
    if !path.exists() {
        println!("left out: {component}, for want of {}", path.display());
        return None;
    }
    Some(path)
}

/// What an example makes of offers, if it was built here.
fn features(component: &str, lanes: u32, batch_rows: usize) -> Option<Vec<u8>> {
    let path = built(component)?;
    let folder = Folder::new();
    let mut events = String::new();
    for row in 0..5_000_u64 {
        let scrambled = row.wrapping_mul(2_654_435_761) >> 7;
        let accepted = match scrambled % 11 {
            0 => "null",
            odd if odd % 2 == 1 => "true",
            _ => "false",
        };
        let (minute, second) = (row / 60 % 60, row % 60);
        writeln!(
            events,
            "{{\"occurred_at\":\"2026-03-01T{:02}:{minute:02}:{second:02}Z\",\"driver_id\":{},\"accepted\":{accepted}}}",
            row / 3600,
            scrambled % 97,
        )
        .unwrap();
    }
    folder.write("events.ndjson", events);
    folder.write(
        "penstock.toml",
        "[environments.local]\noutput = \"out\"\n[environments.local.events.ride_offer]\nfiles = \"events.ndjson\"\nevent_time = \"occurred_at\"\nschema = { occurred_at = \"timestamp[us, UTC]\", driver_id = \"int64\", accepted = \"bool\" }\n",
    );
    let example = root().join("examples/driver_accept_proportion/pipeline.toml");
    let pipeline = std::fs::read_to_string(example).unwrap();
    let (transform, out) = (
        "\"../../target/transforms/driver_accept_proportion.wasm\"",
        "driver_accept_proportion_10m.parquet",
    );
    assert!(pipeline.contains(transform) && pipeline.contains(out));
    let pipeline = pipeline
        .replace(transform, &format!("{path:?}"))
        .replace(out, "features.ndjson")
        .replace("[outputs]", "[outputs]\nstore = false");
    folder.write("pipeline.toml", pipeline);
    let report = folder.run(Tuning { lanes, batch_rows }).unwrap();
    assert!(report.accounting.balances());
    Some(folder.read("out/features.ndjson"))
}

#[test]
fn every_language_gives_the_same_bytes() {
    let expected = features("driver_accept_proportion", 1, 65_536).expect("Rust's is always built");
    assert!(expected.len() > 10_000);
    let by_rows = LANGUAGES.map(|language| format!("driver_accept_proportion{language}"));
    for component in by_rows.into_iter().chain(COLUMNAR.map(str::to_owned)) {
        for (lanes, batch_rows) in [(1, 65_536), (3, 500)] {
            if let Some(found) = features(&component, lanes, batch_rows) {
                assert!(
                    found == expected,
                    "{component}, {lanes} lanes, batches of {batch_rows}"
                );
            }
        }
    }
}

#[test]
fn every_language_passes_the_golden_cases_of_the_first() {
    let cases = root().join("examples/driver_accept_proportion/cases");
    for language in LANGUAGES {
        let example = format!("driver_accept_proportion{language}");
        if built(&example).is_none() {
            continue;
        }
        let pipeline = root().join(format!("examples/{example}/pipeline.toml"));
        let (pipeline, cases) = (pipeline.to_str().unwrap(), cases.to_str().unwrap());
        let test = ["test", pipeline, "--cases", cases, "--purity"];
        let said = Folder::new().penstock(&test).fine();
        assert!(said.contains("2 cases passed"), "{example}:\n{said}");
    }
}
