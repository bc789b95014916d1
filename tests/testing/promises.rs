//! What every transform promises: no memory of its own, no eye for batches, a merge that keeps its
//! laws.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use penstock::config::load_pipelines;
use penstock::testing::{Case, Options, run_case};
use proptest::prelude::*;

use super::{folder, test};
use crate::support::{Folder, HOST, cases};

#[track_caller]
fn caught(guest: &str, config: &str, check: &str, error: &[&str], shown: &[&str]) {
    let ended = folder(guest, config).penstock(&test(&[check]));
    let said = ended.stdout();
    ended.fails(1, error);
    for part in shown {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
}

#[test]
fn a_transform_without_a_memory_of_its_own_passes() {
    let said = folder("hidden_state", "nothing")
        .penstock(&test(&["--purity"]))
        .fine();
    assert!(
        said.contains("ok      purity: the same bytes in 4 other cuts"),
        "{said}"
    );
    assert!(
        said.contains("ok      laws: merge keeps its laws"),
        "{said}"
    );
    // Also one whose output shows the order of its rows.
    let ledger = folder("ledger", "nothing");
    let text = ledger.text("pipeline.toml").replace("config = ", "# ");
    ledger.write("pipeline.toml", text);
    let ended = ledger.penstock(&test(&["--purity"]));
    assert!(
        ended.stdout().contains("ok      purity"),
        "{}{}",
        ended.stdout(),
        ended.stderr()
    );
}

#[test]
fn a_memory_in_accumulate_is_caught_at_the_row() {
    caught(
        "hidden_state",
        "accumulate",
        "--purity",
        &["remembers something between calls"],
        &[
            "in accumulate, entity city \"a\", input row {\"amount\":4.0}",
            "state `rows` is",
            "from a fresh instance",
            "with batches of",
        ],
    );
}

/// Rows of one city, all amounts alike but for every seventh.
fn many_rows(folder: &Folder, rows: usize) {
    let line = |n: usize| {
        let amount = if n.is_multiple_of(7) { n } else { 1000 + n };
        format!("{{\"at\":\"2026-01-01T00:00:01Z\",\"city\":\"a\",\"amount\":{amount}}}\n")
    };
    folder.write("events.ndjson", (0..rows).map(line).collect::<String>());
}

#[test]
fn a_memory_that_comes_round_with_every_call_is_caught_too() {
    // Calls of the usual sizes would have a multiple of the five rows that it counts.
    let folder = folder("hidden_state", "accumulate");
    many_rows(&folder, 1600);
    let ended = folder.penstock(&test(&["--purity"]));
    let said = ended.stdout();
    ended.fails(1, &["remembers something between calls"]);
    assert!(said.contains("in accumulate, entity city"), "{said}");
}

#[test]
fn a_set_of_what_was_seen_is_a_memory_and_no_eye_for_batches() {
    let folder = folder("hidden_state", "amounts");
    let line = |n: usize| {
        let amount = [1, 2, 3, 2, 5, 6][n % 6] + 10 * (n / 6);
        format!("{{\"at\":\"2026-01-01T00:00:01Z\",\"city\":\"a\",\"amount\":{amount}}}\n")
    };
    folder.write("events.ndjson", (0..6).map(line).collect::<String>());
    let ended = folder.penstock(&test(&["--purity"]));
    let said = ended.stdout();
    ended.fails(1, &["remembers something between calls"]);
    // The first 2 counts, and so does the second on an instance that has not seen it.
    assert!(
        said.contains("in accumulate, entity city \"a\", input row {\"amount\":2.0}"),
        "{said}"
    );
}

#[test]
fn the_row_that_differs_first_is_named() {
    let folder = folder("hidden_state", "accumulate");
    let line =
        |n: usize| format!("{{\"at\":\"2026-01-01T00:00:01Z\",\"city\":\"a\",\"amount\":{n}}}\n");
    folder.write("events.ndjson", (1..=300).map(line).collect::<String>());
    let ended = folder.penstock(&test(&["--purity"]));
    let said = ended.stdout();
    ended.fails(1, &["remembers something between calls"]);
    // Row by row, an instance that was called before counts the fifth twice, and a fresh one does not.
    assert!(said.contains("input row {\"amount\":5.0}"), "{said}");
}

/// A pipeline with a mapper, in front of windows or alone.
pub(super) fn with_mapper(config: &str, windows: bool) -> Folder {
    let folder = folder("hidden_state", "nothing");
    let mapper = crate::support::transform("hidden_mapper");
    let text = folder.text("pipeline.toml");
    let text = match windows {
        true => text.replace(
            "[window]",
            &format!("[map]\ntransform = {mapper:?}\nconfig = {{ does = \"{config}\" }}\n[window]"),
        ),
        false => format!(
            r#"name = "entries"
event = "entry"
transform = {mapper:?}
key = "city"
group = "city"
config = {{ does = "{config}" }}
[window]
kind = "none"
[[feature]]
name = "amount"
type = "float64"
[outputs]
features = "features.csv"
"#
        ),
    };
    folder.write("pipeline.toml", text);
    folder
}

#[test]
fn a_memory_of_a_mapper_is_caught_at_the_row() {
    for windows in [true, false] {
        let fine = with_mapper("nothing", windows).penstock(&test(&["--purity"]));
        let said = fine.fine();
        assert!(said.contains("calls are the same on fresh"), "{said}");

        let ended = with_mapper("instance", windows).penstock(&test(&["--purity"]));
        let said = ended.stdout();
        ended.fails(1, &["the mapper remembers something between calls"]);
        assert!(
            said.contains("in map, input row {\"city\":\"a\",\"amount\":2.5}"),
            "{said}"
        );
        assert!(said.contains("the row is filtered"), "{said}");
    }
}

#[test]
fn a_mapper_with_an_eye_for_calls_is_caught() {
    let ended = with_mapper("call", true).penstock(&test(&["--purity"]));
    let said = ended.stdout();
    ended.fails(1, &["the mapper has an eye for calls"]);
    assert!(said.contains("and is filtered in two"), "{said}");
}

#[test]
fn what_is_emitted_per_batch_may_differ_between_cuts() {
    let folder = folder("hidden_state", "nothing");
    let text = folder.text("pipeline.toml");
    let text = text.replace("size = \"10s\"", "size = \"10s\"\nemit = \"batch\"");
    folder.write("pipeline.toml", text);
    let said = folder.penstock(&test(&["--purity"])).fine();
    assert!(said.contains("cuts are not compared; "), "{said}");
}

#[test]
fn a_memory_in_finish_is_caught_at_the_window() {
    caught(
        "hidden_state",
        "finish",
        "--purity",
        &["remembers something between calls"],
        &[
            "in finish, entity city \"a\", window 2026-01-01T00:00:10Z to 2026-01-01T00:00:20Z",
            "output `rows` is 2 as the run had it, and 1 from a fresh instance",
        ],
    );
}

#[test]
fn an_eye_for_batches_is_caught() {
    caught(
        "hidden_state",
        "batches",
        "--purity",
        &["no left fold"],
        &[
            "in accumulate, entity city",
            "state `calls` is 1 in one call, and 2 in two",
        ],
    );
}

#[test]
fn a_merge_that_forgets_breaks_splitting() {
    caught(
        "wrong_merge",
        "forgets",
        "--laws",
        &["law of splitting"],
        &[
            "entity city \"a\", window 2026-01-01T00:00:00Z to 2026-01-01T00:00:10Z",
            "feature `rows` is 3 of all rows at once, and",
        ],
    );
}

#[test]
fn rows_of_short_panes_are_divided_too() {
    // Every pane of a second has one row of a city, and is closed by the next.
    let hopping = |config: &str| {
        let folder = folder("wrong_merge", config);
        let text = folder.text("pipeline.toml");
        let short = "kind = \"hopping\"\nsize = \"20s\"\nslide = \"1s\"\n";
        let text = text.replace("kind = \"tumbling\"\nsize = \"10s\"\n", short);
        folder.write("pipeline.toml", text);
        folder
    };
    let ended = hopping("forgets").penstock(&test(&["--laws"]));
    ended.fails(1, &["law of splitting"]);
    hopping("nothing").penstock(&test(&["--laws"])).fine();

    let alone = folder("wrong_merge", "forgets");
    let first = super::EVENTS.lines().next().unwrap();
    alone.write("events.ndjson", first);
    let said = alone.penstock(&test(&["--laws"])).fine();
    assert!(said.contains("nothing is known of merge"), "{said}");
}

#[test]
fn a_merge_for_which_an_empty_part_counts_breaks_neutrality() {
    caught(
        "wrong_merge",
        "counts_itself",
        "--laws",
        &["law of"],
        &["feature `rows` is 3", "and 4"],
    );
}

#[test]
fn a_merge_that_is_right_passes_within_tolerances_alone() {
    let folder = folder("wrong_merge", "nothing");
    folder.penstock(&test(&["--laws"])).fine();
    // Sums of parts are rounded otherwise than the sum of all: 0.1 + (0.2 + 0.3).
    let row = |second: u32, amount: f64| {
        format!("{{\"at\":\"2026-01-01T00:00:{second:02}Z\",\"city\":\"a\",\"amount\":{amount}}}\n")
    };
    let rows: String = (0..9).map(|n| row(n, 0.1 * f64::from(n + 1))).collect();
    folder.write("events.ndjson", rows);
    let ended = folder.penstock(&test(&["--laws"]));
    assert!(
        ended.stdout().contains("they differ by rounding"),
        "{}",
        ended.stdout()
    );
    ended.fails(1, &["law of"]);
    let within = [
        "--laws",
        "--tolerance",
        "sum=1e-9",
        "--tolerance",
        "mean=1e-9",
    ];
    folder.penstock(&test(&within)).fine();
}

#[test]
fn a_merge_that_is_not_supported_is_told_and_tumbling_windows_do_not_need_it() {
    let folder = folder("wrong_merge", "panics");
    let said = folder.penstock(&test(&["--laws"])).fine();
    assert!(
        said.contains("not supported, and windows of this kind do not need it"),
        "{said}"
    );
}

/// A row in seconds: out of order at times, refused by the transform if it has no amount.
fn row() -> impl Strategy<Value = (i64, char, Option<i32>)> {
    let step = prop_oneof![6 => 0..3_i64, 2 => -8..0_i64, 1 => 5..20_i64];
    let city = prop::sample::select(vec!['a', 'b', 'c']);
    (step, city, prop::option::weighted(0.9, -5..50_i32))
}

fn with_events(guest: &str, rows: &[(i64, char, Option<i32>)]) -> Folder {
    let folder = folder(guest, "nothing");
    let mut at = 100;
    let lines = rows.iter().map(|(step, city, amount)| {
        at += step;
        let amount = amount.map_or("null".to_owned(), |amount| amount.to_string());
        format!(
            "{{\"at\":{},\"city\":\"{city}\",\"amount\":{amount}}}\n",
            at * 1_000_000
        )
    });
    folder.write("events.ndjson", lines.collect::<String>());
    folder
}

proptest! {
    #![proptest_config(cases(12))]

    /// A check that accuses the innocent is worth nothing.
    #[test]
    fn a_transform_that_keeps_its_promises_is_never_accused(
        rows in prop::collection::vec(row(), 1..60),
        guest in prop::sample::select(vec!["hidden_state", "wrong_merge"]),
    ) {
        let folder = with_events(guest, &rows);
        let pipeline = load_pipelines(&[folder.path("pipeline.toml")]).unwrap().remove(0);
        let case = Case {
            events: Some(vec![folder.path("events.ndjson")]),
            environment: "local".into(),
            purity: true,
            laws: true,
            ..Case::default()
        };
        let options = Options { show: 3, bless: false, all: false, lanes: Some(2) };
        let report = run_case(&HOST, &pipeline, &case, options, &Arc::new(AtomicBool::new(false)));
        prop_assert!(report.passed(), "{report:#?}");
        prop_assert_eq!(report.checks.len(), 2);
    }
}
