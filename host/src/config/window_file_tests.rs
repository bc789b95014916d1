//! Right windows, read whole; `cases/window.txt`, a table of wrong ones; and `cases/feature_window.txt`,
//! a table of what features may be about.

use proptest::prelude::*;

use super::*;
use crate::config::cases::check_cases;
use crate::config::diagnostic::{ConfigError, ConfigFile};
use crate::config::table::read_file;
use crate::config::window::Zone;
use crate::config::{Pipeline, parse_duration};

const DAY: i64 = 86_400_000_000;

/// The windows that the table of wrong ones begins with.
const RIGHT: &str = r#"[window]
kind = "tumbling"
size = "1d"
"#;

/// A pipeline of several lengths, without features.
const LENGTHS: &str = r#"event = "ride_offer"
transform = "driver.wasm"
key = "driver_id"
group = "driver"
[window]
kind = "tumbling"
size = ["1h", "10m"]
[[feature]]
"#;

fn read_text(text: &str) -> Result<ReadWindow, ConfigError> {
    let file = ConfigFile::from_text("driver.toml", text);
    read_file(&file, |_, mut root| {
        let window = root.required("window", "[window]");
        root.finish(&[], &[]);
        read(&window?, &["event"])
    })
}

fn spec(keys: &str) -> WindowSpec {
    let text = format!("[window]\n{keys}");
    read_text(&text).map_or_else(|error| panic!("{error}"), |read| read.spec.value)
}

fn micros(text: &str) -> i64 {
    parse_duration(text).unwrap()
}

fn all_micros(texts: &[&str]) -> Vec<i64> {
    texts.iter().map(|text| micros(text)).collect()
}

/// Defaults are those of every kind.
fn plain(kind: WindowKind, emit: Emit) -> WindowSpec {
    WindowSpec {
        kind,
        disorder: 0,
        allowed_lateness: 0,
        emit,
        on_idle: OnIdle::Wait,
        idle_after: micros("1m"),
        max_future: None,
    }
}

#[test]
fn every_kind_is_read() {
    let tumbling = spec("kind = \"tumbling\"\nsize = [\"1h\", \"10m\", \"1d\"]\noffset = \"2h\"");
    let kind = WindowKind::Tumbling {
        sizes: all_micros(&["10m", "1h", "1d"]),
        offset: micros("2h"),
        zone: None,
    };
    assert_eq!(tumbling, plain(kind, Emit::Close));

    let hopping = spec(
        "kind = \"hopping\"\nsize = \"7d\"\nslide = \"1d\"\ntime_zone = \"europe/zurich\"\noffset = \"6h\"",
    );
    let kind = WindowKind::Hopping {
        sizes: vec![micros("7d")],
        slide: micros("1d"),
        offset: micros("6h"),
        zone: Zone::find("Europe/Zurich"),
    };
    assert_eq!(hopping, plain(kind, Emit::Close));

    let session = spec("kind = \"session\"\ngap = \"30m\"");
    let kind = WindowKind::Session { gap: micros("30m") };
    assert_eq!(session, plain(kind, Emit::Close));

    let unbounded = spec("kind = \"unbounded\"\nttl = \"30d\"\nemit = { every = \"1h\" }");
    let kind = WindowKind::Unbounded { ttl: micros("30d") };
    assert_eq!(unbounded, plain(kind, Emit::Every(micros("1h"))));
}

#[test]
fn lateness_and_idleness_are_read() {
    let keys = "kind = \"session\"\ngap = \"30m\"\ndisorder = \"30s\"\nallowed_lateness = \"1h\"\n\
                emit = \"batch\"\non_idle = \"advance\"\nidle_after = \"5s\"\nmax_future = \"0s\"";
    let expected = WindowSpec {
        kind: WindowKind::Session { gap: micros("30m") },
        disorder: micros("30s"),
        allowed_lateness: micros("1h"),
        emit: Emit::Batch,
        on_idle: OnIdle::Advance,
        idle_after: micros("5s"),
        max_future: Some(0),
    };
    assert_eq!(spec(keys), expected);
}

/// Windows at the edge of a rule, on the right side of it.
#[test]
fn rules_do_not_refuse_too_much() {
    for keys in [
        // The slide divides nothing, and may be as long as the window.
        "kind = \"hopping\"\nsize = \"1h\"\nslide = \"7m\"",
        "kind = \"hopping\"\nsize = [\"10m\", \"1h\"]\nslide = \"10m\"",
        // A million panes.
        "kind = \"hopping\"\nsize = \"1s\"\nslide = \"1us\"",
        "kind = \"tumbling\"\nsize = [\"1h\", \"1d\"]\nemit = { every = \"20m\" }",
        "kind = \"tumbling\"\nsize = \"7d\"\nemit = { every = \"1d\" }\ntime_zone = \"UTC\"",
        "kind = \"tumbling\"\nsize = \"1h\"\nemit = \"batch\"",
        "kind = \"tumbling\"\nsize = [\"1h\", \"1d\"]\noffset = \"23h\"",
        "kind = \"session\"\ngap = \"1h\"\nemit = { every = \"7m\" }",
        "kind = \"unbounded\"\nttl = \"1h\"\nemit = \"batch\"",
        "kind = \"hopping\"\nsize = \"1h\"\nslide = \"1m\"\nemit = \"close\"\nallowed_lateness = \"0s\"",
    ] {
        spec(keys);
    }
}

#[test]
fn wrong_windows_are_refused_as_the_table_says() {
    check_cases(
        "window.txt",
        include_str!("cases/window.txt"),
        RIGHT,
        |text| match read_text(text) {
            Ok(read) => format!("nothing is wrong with {}", read.spec.value),
            Err(error) => error.to_string(),
        },
    );
}

/// Shows each feature with its window and column.
#[test]
fn features_are_about_lengths_as_the_table_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("driver.wasm"), "").unwrap();
    let path = folder.path().join("driver.toml");
    let cases = include_str!("cases/feature_window.txt");
    check_cases("feature_window.txt", cases, LENGTHS, |text| {
        std::fs::write(&path, text).unwrap();
        match Pipeline::load(&path) {
            Ok(pipeline) => {
                let features = pipeline.features.iter().map(|feature| {
                    let declaration = &feature.declaration;
                    assert_eq!(micros(&declaration.window), feature.window);
                    format!(
                        "{declaration}: `{}` over {} ({})",
                        declaration.column, declaration.window, declaration.description
                    )
                });
                features.collect::<Vec<_>>().join("\n")
            }
            Err(error) => error
                .to_string()
                .replace(&format!("{}/", folder.path().display()), ""),
        }
    });
}

/// A duration of a few units, or something that is none.
fn any_duration() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0..40i64, prop::sample::select(vec!["d", "h", "m", "s", "us"]))
            .prop_map(|(number, unit)| format!("\"{number}{unit}\"")),
        1 => Just("\"-1h\"".to_owned()),
        1 => Just("[\"1h\", \"2h\"]".to_owned()),
        1 => Just("3".to_owned()),
    ]
}

proptest! {
    /// Whatever is read holds what the types promise, and whatever is refused says why.
    #[test]
    fn what_is_read_keeps_the_promises_of_the_types(
        kind in prop::sample::select(vec!["tumbling", "hopping", "session", "unbounded"]),
        sizes in prop::collection::vec(any_duration(), 1..3),
        keys in prop::collection::btree_map(
            prop::sample::select(vec!["slide", "offset", "gap", "ttl", "disorder", "allowed_lateness", "emit"]),
            any_duration(),
            0..4,
        ),
        zone in prop::option::weighted(0.2, Just("time_zone = \"Europe/Zurich\"\n")),
    ) {
        let mut text = format!("[window]\nkind = \"{kind}\"\n{}", zone.unwrap_or_default());
        if kind == "tumbling" || kind == "hopping" {
            text += &format!("size = [{}]\n", sizes.join(", "));
        }
        for (key, value) in &keys {
            match *key {
                "emit" => text += &format!("emit = {{ every = {value} }}\n"),
                key => text += &format!("{key} = {value}\n"),
            }
        }
        let read = match read_text(&text) {
            Ok(read) => read,
            Err(error) => {
                prop_assert!(!error.diagnostics.is_empty());
                prop_assert!(error.diagnostics.iter().all(|found| !found.hint.is_empty()), "{}", error);
                return Ok(());
            }
        };
        let spec = read.spec.value;
        let lengths = spec.kind.lengths();
        prop_assert!(!lengths.is_empty() && lengths[0] > 0);
        prop_assert!(lengths.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(&read.lengths.iter().map(|length| length.micros).collect::<Vec<_>>(), &lengths);
        let whole = |micros: i64, zone: &Option<Zone>| zone.is_none() || micros % DAY == 0;
        match &spec.kind {
            WindowKind::Tumbling { sizes, offset, zone } => {
                prop_assert!((0..*sizes.last().unwrap()).contains(offset));
                prop_assert!(sizes.iter().all(|size| whole(*size, zone)));
                if let Emit::Every(every) = spec.emit {
                    prop_assert!(sizes.iter().all(|size| size % every == 0) && whole(every, zone));
                }
            }
            WindowKind::Hopping { sizes, slide, offset, zone } => {
                prop_assert!((0..*sizes.last().unwrap()).contains(offset));
                prop_assert!(*slide > 0 && *slide <= sizes[0] && whole(*slide, zone));
                prop_assert!(sizes.iter().all(|size| whole(*size, zone)));
                prop_assert_eq!(spec.emit, Emit::Close);
            }
            WindowKind::Session { .. } => {}
            WindowKind::None => unreachable!("it is not among the kinds above"),
            WindowKind::Unbounded { .. } => {
                prop_assert!(spec.emit != Emit::Close && spec.allowed_lateness == 0);
            }
        }
    }
}
