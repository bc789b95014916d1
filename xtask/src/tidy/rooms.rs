//! The rooms of the host, and which may name which.

use super::{
    Finding, Tree,
    source::{is_identifier, line_of, places},
};

/// The rooms below `host/src`, and what of the others each may name: a room, or one module of it. Whoever needs more
/// either has code in the wrong room or changes the design; `docs/architecture.md` shows it to newcomers.
const ROOMS: [(&str, &[&str]); 21] = [
    // Of the sandbox only what looks at a component, and the child process that compiles.
    (
        "cli",
        &[
            "clock",
            "config",
            "source",
            "pipeline",
            "record",
            "registry",
            "sandbox",
            "serve",
            "sink",
            "store",
            "simulate",
            "stage",
            "testing",
            "text",
            "transform",
        ],
    ),
    // Of pipelines only what they tell of themselves.
    (
        "serve",
        &["clock", "config", "pipeline", "stage", "store", "text"],
    ),
    // Of the sandbox only the instances that checks put their questions to.
    (
        "testing",
        &[
            "config",
            "pipeline",
            "sandbox",
            "sink",
            "source",
            "store",
            "text",
            "transform",
        ],
    ),
    (
        "pipeline",
        &[
            "clock",
            "config",
            "fuzz",
            "registry",
            "source",
            "sandbox",
            "window",
            "store",
            "sink",
            "stage",
            "text",
            "transform",
        ],
    ),
    ("record", &["clock", "config", "source", "text"]),
    ("registry", &["config", "fuzz", "objects"]),
    (
        "source",
        &[
            "aws", "clock", "config", "fuzz", "kafka", "objects", "stage", "text", "window",
        ],
    ),
    // What recorded events and the store on object storage share, which may not name each other. Of configurations
    // the options that stores are opened with, which stand on their own.
    (
        "objects",
        &[
            "config::Located",
            "config::Secret",
            "config::Span",
            "config::StoreOptions",
            "config::sounds_secret",
        ],
    ),
    ("sink", &["kafka", "stage", "text"]),
    // What a source and a sink of Kafka's share, which may not name each other.
    ("kafka", &[]),
    ("config", &["fuzz", "store"]),
    // The names of types and durations are the same in configurations and in declarations; and where a store is, a
    // configuration says.
    (
        "store",
        &[
            "aws",
            "config::CacheSettings",
            "config::FeaturePlace",
            "config::StoreOptions",
            "config::StorePlace",
            "config::TablePlace",
            "config::is_url",
            "config::parse_duration",
            "config::print_duration",
            "config::types",
            "fuzz",
            "objects",
            "text",
        ],
    ),
    // What a source and a store on services of AWS share, which may not name each other.
    ("aws", &[]),
    ("sandbox", &["fuzz", "transform"]),
    ("window", &["fuzz", "transform"]),
    // What the fuzz targets of all rooms have in common, in tests alone.
    ("fuzz", &[]),
    ("clock", &[]),
    ("transform", &[]),
    ("stage", &[]),
    ("text", &[]),
    ("simulate", &[]),
];

const HOST: &str = "host/src/";

pub(super) fn directions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        let Some(room) = file.path.strip_prefix(HOST).and_then(room_of) else {
            continue;
        };
        let Some(allowed) = allowed(room) else {
            let message = format!(
                "room `{room}` is in no table: add it to ROOMS in xtask/src/tidy/rooms.rs, with what it may name"
            );
            findings.push(file.finding(1, message));
            continue;
        };
        for (start, path) in crate_paths(source.code()) {
            let other = path.split("::").next().unwrap_or_default();
            let is_room = other != room && self::allowed(other).is_some();
            let permitted = |entry: &&str| {
                path == **entry
                    || path
                        .strip_prefix(*entry)
                        .is_some_and(|rest| rest.starts_with("::"))
            };
            if is_room && !allowed.iter().any(permitted) {
                let message = format!(
                    "`{room}` may not name crate::{path}, only {}: hand it in, or move the code",
                    if allowed.is_empty() {
                        "itself".to_owned()
                    } else {
                        allowed.join(", ")
                    }
                );
                findings.push(file.finding(line_of(source.code(), start), message));
            }
        }
    }
    findings
}

/// `path` is below host/src. The library's and the program's own file are no rooms.
fn room_of(path: &str) -> Option<&str> {
    let room = path.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "main"].contains(&room)).then_some(room)
}

fn allowed(room: &str) -> Option<&'static [&'static str]> {
    ROOMS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, allowed)| *allowed)
}

/// Every path from the crate's root, without `crate::`, and where it stands; `crate::{a::b, c}` gives two.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for start in places(code, "crate::") {
        expand(&code[start + "crate::".len()..], "", &mut |path| {
            paths.push((start, path))
        });
    }
    paths
}

/// Reads one tree of a `use` (The Rust Reference, "Use declarations") and gives what is left of the code after it.
fn expand<'a>(code: &'a str, prefix: &str, found: &mut impl FnMut(String)) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            if let Some(rest) = rest.strip_prefix('}') {
                return rest;
            }
            let before = rest.len();
            rest = expand(rest, prefix, found);
            // A renaming (`as x`), or code that is no `use` at all.
            rest = rest
                .trim_start_matches(|c: char| c == '*' || c.is_whitespace() || is_identifier(c));
            if rest.len() == before {
                return rest;
            }
        }
    }
    let end = code.find(|c| !is_identifier(c)).unwrap_or(code.len());
    let path = if prefix.is_empty() {
        code[..end].to_owned()
    } else {
        format!("{prefix}::{}", &code[..end])
    };
    match code[end..].strip_prefix("::") {
        Some(rest) if rest.starts_with('*') => {
            found(path);
            &rest[1..]
        }
        Some(rest) if rest.trim_start().starts_with('{') || rest.starts_with(is_identifier) => {
            expand(rest, &path, found)
        }
        _ => {
            found(path);
            &code[end..]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::assert_found, *};

    #[test]
    fn paths_of_a_use_are_expanded() {
        let code = "use crate::{a::{b, c as d, self}, e::*, f};\nuse crate::g;\nlet x = crate::h::I::new(crate::j!());\nuse my_crate::k;";
        let paths: Vec<String> = crate_paths(code)
            .into_iter()
            .map(|(_, path)| path)
            .collect();
        assert_eq!(
            paths,
            ["a::b", "a::c", "a::self", "e", "f", "g", "h::I::new", "j"]
        );
    }

    #[test]
    fn rooms_name_only_what_they_may() {
        let files = [
            ("host/src/lib.rs", "use crate::anything;"),
            (
                "host/src/cli/run.rs",
                "use crate::{cli::x, pipeline::Lane};\nuse crate::window::Panes;",
            ),
            (
                "host/src/config/load.rs",
                "//! crate::pipeline\nuse crate::{store::item, pipeline::Lane};",
            ),
            (
                "host/src/sandbox/mod.rs",
                "use crate::transform::Rows;\ntype A = crate::pipeline::Lane;",
            ),
            (
                "host/src/store/mod.rs",
                "use crate::config::types::parse;\nuse crate::config::Pipeline;",
            ),
            ("host/src/transform.rs", "use crate::window::Pane;"),
        ];
        let expected = [
            "host/src/cli/run.rs:2: `cli` may not name crate::window::Panes",
            "host/src/config/load.rs:2: `config` may not name crate::pipeline::Lane",
            "host/src/sandbox/mod.rs:2: `sandbox` may not name crate::pipeline::Lane",
            "host/src/store/mod.rs:2: `store` may not name crate::config::Pipeline",
            "host/src/transform.rs:1: `transform` may not name crate::window::Pane, only itself",
        ];
        assert_found(directions, &files, &expected);
    }

    #[test]
    fn a_new_room_needs_a_place_in_the_table() {
        assert_found(
            directions,
            &[("host/src/attic/mod.rs", "")],
            &["host/src/attic/mod.rs:1: room `attic` is in no table"],
        );
    }

    #[test]
    fn the_table_has_no_circle() {
        fn reaches(from: &str, to: &str) -> bool {
            // One module of a room is taken to lead nowhere: it is named because it stands on its own.
            allowed(from)
                .unwrap_or_default()
                .iter()
                .any(|next| *next == to || reaches(next, to))
        }
        for (room, allowed) in ROOMS {
            assert!(!reaches(room, room), "{room} comes back to itself");
            for entry in allowed {
                let room = entry
                    .split("::")
                    .next()
                    .expect("split gives at least one part");
                assert!(super::allowed(room).is_some(), "{entry} is in no room");
            }
        }
    }
}
