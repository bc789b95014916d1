//! Words that only some files may use, and words that none may.

use super::{
    File, Finding, Tree,
    source::{line_of, places},
};

/// Names, where they may or may not stand, and why. Places are the beginnings of paths.
const KNOWN_NAMES: [(&[&str], Where, &str); 10] = [
    (
        &["wasmparser", "wasmtime", "wasmtime_"],
        Where::Only(&["host/src/sandbox/"]),
        "only the sandbox knows the Wasm engine: use what crate::transform declares",
    ),
    (
        &["slatedb"],
        Where::Only(&["host/src/store/embedded", "host/src/window/state"]),
        "only the embedded store and the window state know their database: go through crate::store",
    ),
    (
        &["object_store"],
        Where::Only(&[
            "host/src/objects/",
            "host/src/registry/",
            "host/src/source/storage/",
            "host/src/store/embedded",
            "host/src/store/offline/",
        ]),
        "only recorded files elsewhere, the registry of transforms, the embedded store and what they share know object storage: go through crate::source::recording",
    ),
    (
        &["rdkafka"],
        Where::Only(&[
            "host/src/kafka/",
            "host/src/source/kafka/",
            "host/src/sink/kafka/",
        ]),
        "only the Kafka source and sink, and what they share, know their client",
    ),
    (
        &[
            "axum",
            "hyper_util",
            "prometheus_client",
            "tokio_rustls",
            "tonic",
        ],
        Where::Only(&["host/src/serve/"]),
        "only what answers over HTTP knows how: others tell through crate::pipeline::telemetry",
    ),
    (
        &["moka::"],
        Where::Only(&["host/src/store/cache", "host/src/store/embedded/storage.rs"]),
        "only the cache in front of stores holds what it chooses to",
    ),
    (
        &["aws_sdk_", "aws_config"],
        Where::Only(&[
            "host/src/aws.rs",
            "host/src/source/kinesis",
            "host/src/store/dynamodb",
        ]),
        "only the files of an AWS service know its SDK",
    ),
    (
        &["datafusion"],
        Where::Never(&["host/src/"]),
        "only host/training-set, a program of its own, is built with DataFusion",
    ),
    (
        &["ed25519_dalek"],
        Where::Only(&["host/src/registry/"]),
        "only the registry knows what a signature is",
    ),
    (
        &["SystemTime", "Instant::now"],
        Where::Never(&["host/src/pipeline/", "host/src/source/", "host/src/window/"]),
        "a replay must give the same bytes: take the time from events, or from the Clock that is handed in",
    ),
];

/// Where a name may stand in the host.
#[derive(Debug)]
enum Where {
    Only(&'static [&'static str]),
    Never(&'static [&'static str]),
}

const HOST: &str = "host/src/";

/// Words that no file may have, whether tests may, and what to do instead.
const FORBIDDEN: [(&str, Tests, &str); 5] = [
    (
        ".unwrap()",
        Tests::May,
        "say why it cannot fail with expect(\"…\"), or return the error",
    ),
    (
        "todo!",
        Tests::MayNot,
        "finish it, or return an error that says what is not supported",
    ),
    (
        "unimplemented!",
        Tests::MayNot,
        "finish it, or return an error that says what is not supported",
    ),
    ("dbg!", Tests::MayNot, "remove it"),
    (
        "#[ignore",
        Tests::MayNot,
        "a test runs or is deleted; one that lacks something prints `left out: …` and returns",
    ),
];

#[derive(Debug, PartialEq, Eq)]
enum Tests {
    May,
    MayNot,
}

/// Every file with unsafe code, and why it has it.
const UNSAFE: [(&str, &str); 2] = [
    (
        "host/src/fuzz/coverage.rs",
        "in tests alone: reads the counters that the compiler puts into a build that is fuzzed",
    ),
    (
        "host/src/sandbox/aot.rs",
        "loads code that this host compiled itself and authenticated",
    ),
];

/// First folders of paths that only one machine has.
const MACHINE_FOLDERS: [&str; 3] = ["work", "root", "home"];

pub(super) fn known_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust().filter(|(file, _)| file.path.starts_with(HOST)) {
        for (names, place, reason) in &KNOWN_NAMES {
            let within =
                |folders: &[&str]| folders.iter().any(|folder| file.path.starts_with(folder));
            let allowed = match place {
                Where::Only(folders) => within(folders),
                Where::Never(folders) => !within(folders),
            };
            for name in names.iter().filter(|_| !allowed) {
                let message = format!("names {}: {reason}", name.trim_end_matches('_'));
                findings.extend(at_words(file, source.code(), name, &message));
            }
        }
    }
    findings
}

pub(super) fn forbidden_words(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        for (word, tests, instead) in &FORBIDDEN {
            let code = if *tests == Tests::May {
                source.shipped()
            } else {
                source.code()
            };
            findings.extend(at_words(
                file,
                code,
                word,
                &format!("has `{word}`: {instead}"),
            ));
        }
    }
    findings
}

pub(super) fn unsafe_code(tree: &Tree) -> Vec<Finding> {
    unsafe_outside(&UNSAFE, tree)
}

fn unsafe_outside(table: &[(&str, &str)], tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        let listed = table.iter().any(|(path, _)| *path == file.path);
        let found = at_words(
            file,
            source.code(),
            "unsafe",
            "unsafe code: do without, or add the file and the reason to the table UNSAFE in xtask/src/tidy/words.rs",
        );
        if listed && found.is_empty() {
            findings.push(file.finding(
                1,
                "has no unsafe code any more: take it out of the table UNSAFE",
            ));
        } else if !listed {
            findings.extend(found);
        }
    }
    findings
}

pub(super) fn machine_folders(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for folder in MACHINE_FOLDERS {
            // Put together here, so that this file has no such path itself.
            let pattern = format!("/{folder}/");
            let starts = file.text.match_indices(&pattern).map(|(start, _)| start);
            // In the middle of a path or an address it is no machine's folder.
            for start in starts.filter(|&start| !file.text[..start].ends_with(continues_a_path)) {
                let message = format!(
                    "{pattern}… is a folder of one machine: write a path from the repository, or take a setting"
                );
                findings.push(file.finding(line_of(&file.text, start), message));
            }
        }
    }
    findings
}

fn continues_a_path(c: char) -> bool {
    c.is_alphanumeric() || "._-~}*$".contains(c)
}

fn at_words(file: &File, code: &str, word: &str, message: &str) -> Vec<Finding> {
    places(code, word)
        .into_iter()
        .map(|start| file.finding(line_of(code, start), message))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::assert_found, *};

    #[test]
    fn names_are_known_only_in_their_rooms() {
        let names = "//! wasmtime may be told of.\nuse wasmtime::Engine;\nuse wasmtime_wasi::p2;\nuse slatedb::Db;\n";
        let files = [
            ("host/src/sandbox/engine.rs", "use wasmtime::Engine;"),
            ("host/src/store/embedded.rs", "use slatedb::Db;"),
            ("host/src/store/embedded/lanes.rs", "use slatedb::Db;"),
            ("tests/src/lib.rs", "use wasmtime::Engine;"),
            ("host/src/pipeline/lane.rs", names),
        ];
        let lane = "host/src/pipeline/lane.rs";
        let expected = [
            format!("{lane}:2: names wasmtime:"),
            format!("{lane}:3: names wasmtime:"),
            format!("{lane}:4: names slatedb:"),
        ];
        assert_found(
            known_names,
            &files,
            &expected.each_ref().map(String::as_str),
        );
        let files = [
            ("host/src/source/kinesis.rs", "use aws_sdk_kinesis::x;"),
            ("host/src/source/mod.rs", "use aws_sdk_kinesis::x;"),
        ];
        assert_found(
            known_names,
            &files,
            &["host/src/source/mod.rs:1: names aws_sdk:"],
        );
        assert_found(
            known_names,
            &[("host/src/store/mod.rs", "use rdkafka::x;")],
            &["host/src/store/mod.rs:1: names rdkafka"],
        );
    }

    #[test]
    fn no_clock_where_replays_must_agree() {
        let clock = "let a = std::time::Instant::now();\nlet b = SystemTime::UNIX_EPOCH;";
        let files = [
            ("host/src/cli/run.rs", clock),
            ("host/src/window/panes.rs", clock),
        ];
        let window = "host/src/window/panes.rs";
        let expected = [
            format!("{window}:2: names SystemTime"),
            format!("{window}:1: names Instant::now"),
        ];
        assert_found(
            known_names,
            &files,
            &expected.each_ref().map(String::as_str),
        );
    }

    #[test]
    fn nothing_unfinished_and_no_silent_panic() {
        let tested = "//! a.unwrap()\nfn a() { b.unwrap_or(c) }\n#[cfg(test)]\nmod tests { fn d() { e.unwrap(); } }";
        let files = [
            ("a.rs", tested),
            ("tests/src/b.rs", "x.unwrap()"),
            ("c.rs", "\nx.unwrap();\n"),
            ("c_tests.rs", "x.unwrap()"),
        ];
        assert_found(forbidden_words, &files, &["c.rs:2: has `.unwrap()`"]);
        let each = "todo!()\nunimplemented!()\ndbg!(x)\n#[ignore = \"slow\"]\nmy_dbg!(x)";
        let expected = [
            "tests/a.rs:1: has `todo!`",
            "tests/a.rs:2: has `unimplemented!`",
            "tests/a.rs:3: has `dbg!`",
            "tests/a.rs:4: has `#[ignore`",
        ];
        assert_found(forbidden_words, &[("tests/a.rs", each)], &expected);
    }

    #[test]
    fn unsafe_code_is_listed() {
        let code = "#![deny(unsafe_code)]\nfn a() { unsafe { b() } }";
        let check = |tree: &Tree| unsafe_outside(&[("listed.rs", "a reason")], tree);
        assert_found(
            check,
            &[("listed.rs", code), ("other.rs", code)],
            &["other.rs:2: unsafe code"],
        );
        assert_found(
            check,
            &[("listed.rs", "fn a() {}")],
            &["listed.rs:1: has no unsafe code any more"],
        );
    }

    #[test]
    fn no_path_of_one_machine() {
        let wrong = format!("a\nb = \"/{}/x\"\n//! /{}/y\n", "work", "home");
        let right = format!(
            "https://example.com/{}/x and src/{}/y and $HOME/{}/",
            "home", "work", "root"
        );
        assert_found(
            machine_folders,
            &[("a.toml", &wrong), ("b.md", &right)],
            &["a.toml:2: ", "a.toml:3: "],
        );
    }
}
