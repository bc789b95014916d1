//! The sandbox: what a transform may not do, and what it is told.

mod mapper;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use futures::FutureExt as _;
use penstock::sandbox::{Compiler, Limits, MAX_INSTANCES, Resting, Sandbox};
use penstock::transform::{CallError, Groups, Opening, Windowed};

use crate::support::{Folder, Tuning, transform};

/// A folder with 40 rows, the 13th of which a misbehaving transform waits for.
fn folder(transform_name: &str, config: &str, more: &str) -> Folder {
    folder_with(transform_name, config, "", more)
}

/// The same, with tables before the window's.
fn folder_with(transform_name: &str, config: &str, map: &str, more: &str) -> Folder {
    let folder = Folder::new();
    let lines: String = (0..40)
        .map(|row| {
            format!(
                "{{\"at\":\"2026-01-01T00:00:{row:02}Z\",\"key\":{},\"amount\":{row}.0}}\n",
                row % 3
            )
        })
        .collect();
    folder.write("events.ndjson", lines);
    folder.write(
        "penstock.toml",
        "[environments.local]\noutput = \"out\"\n[environments.local.events.entry]\nfiles = \"events.ndjson\"\nevent_time = \"at\"\n",
    );
    folder.write(
        "pipeline.toml",
        format!(
            r#"name = "entries"
event = "entry"
transform = {:?}
key = "key"
group = "entry"
config = {config}
{map}
[window]
kind = "tumbling"
size = "10s"
[[feature]]
name = "rows"
type = "uint64"
[outputs]
store = false
features = "out.ndjson"
{more}"#,
            transform(transform_name)
        ),
    );
    folder
}

/// The first failed call is the end of it.
const STRICT: &str = "[limits]\nfailures = 0\n";

fn fails(misdeed: &str, more: &str, expected: &[&str]) {
    let limits = more.trim_start_matches("[limits]\n");
    let more = format!("{STRICT}{limits}");
    let folder = folder("unruly", &format!("{{ misdeed = {misdeed:?} }}"), &more);
    let error = folder
        .run(Tuning {
            lanes: 1,
            batch_rows: 100,
        })
        .expect_err("it misbehaves");
    for part in expected.iter().chain(&["entries", "sha256:"]) {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    assert!(
        !folder.path("out/out.ndjson").exists(),
        "nothing is shown as done"
    );
}

#[test]
fn a_transform_that_never_ends_is_stopped() {
    fails(
        "spin",
        "[limits]\ncpu_per_call = \"50ms\"\n",
        &["cpu_per_call", "50ms"],
    );
}

#[test]
fn a_transform_that_takes_all_memory_is_stopped() {
    fails(
        "allocate",
        "[limits]\nmemory = \"8MiB\"\n",
        &["memory", "8388608 bytes"],
    );
}

#[test]
fn a_transform_that_panics_tells_where() {
    fails(
        "panic",
        "",
        &["accumulate", "trapped", "thirteen", "lib.rs"],
    );
}

#[test]
fn the_message_of_a_panic_is_kept_when_the_log_is_full() {
    fails("rant", "", &["trapped", "thirteen at last"]);
}

#[test]
fn what_a_transform_says_does_not_reach_the_terminal_raw() {
    fails("scrawl", "", &["trapped", "\\u{1b}[2J\\u{202e}thirteen"]);
    fails(
        "mislabel",
        "",
        &["breaks the contract", "code `\\u{1b}[2J`"],
    );
}

#[test]
fn too_many_output_rows_are_refused() {
    fails(
        "nothing",
        "[limits]\noutput_rows = 1\n",
        &[
            "output_rows",
            "1 rows allowed",
            "raise `limits.output_rows`",
        ],
    );
}

#[test]
fn a_transform_that_recurses_without_end_traps() {
    // Rust's own stack lies in the guest's memory and ends first; `hostile::` has guests without one.
    fails("recurse", "", &["accumulate", "trapped"]);
}

#[test]
fn a_state_that_grows_too_large_is_refused() {
    fails("hoard", "", &["state_per_group", "1048576"]);
    fails(
        "hoard",
        "[limits]\nstate_per_group = \"4MiB\"\noutput_bytes = \"1MiB\"\n",
        &["output_bytes"],
    );
}

#[test]
fn a_transform_that_talks_too_much_is_cut_short_and_counted() {
    let folder = folder("unruly", "{ misdeed = \"chatter\" }", "");
    let report = folder
        .run(Tuning {
            lanes: 1,
            batch_rows: 100,
        })
        .unwrap();
    assert_eq!(report.figures.dropped, 900);
    assert_eq!(report.figures.counts["groups"], 12);
    assert_eq!(report.figures.observations["rows"].sum, 39.0);
    // The SDK applies rows once more after a reject; what they count is not counted twice.
    assert_eq!(report.figures.counts["seen"], 40);
}

#[test]
fn a_configuration_that_a_transform_refuses_is_told() {
    let folder = folder("unruly", "{ misdeed = \"sing\" }", "");
    folder
        .penstock(&["validate", "pipeline.toml"])
        .fails(2, &["unruly.wasm", "bad configuration", "misdeed"]);
}

#[test]
fn wasi_has_nothing_behind_it_and_reads_are_counted() {
    // Somebody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let reach = format!("{{ reach = \"{}\" }}", listener.local_addr().unwrap());
    let folder = folder("clockwatcher", &reach, "");
    let report = folder
        .run(Tuning {
            lanes: 1,
            batch_rows: 7,
        })
        .unwrap();
    assert!(report.figures.clock_reads >= 80, "{:?}", report.figures);
    let text = folder.text("out/out.ndjson");
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        for nothing in [
            "wall_seconds",
            "elapsed_nanos",
            "environment",
            "files",
            "network",
        ] {
            assert_eq!(row[nothing], 0, "{nothing} in {line}");
        }
    }
    // A second run reads the same random bytes.
    folder
        .run(Tuning {
            lanes: 1,
            batch_rows: 7,
        })
        .unwrap();
    assert_eq!(folder.text("out/out.ndjson"), text);
}

#[test]
fn a_transform_that_sleeps_is_stopped_at_once() {
    // All of them alike, though a real timer would have ended the first before anybody looked.
    for nap in ["nanosecond", "second", "forever"] {
        let folder = folder("clockwatcher", &format!("{{ nap = {nap:?} }}"), STRICT);
        let error = folder
            .run(Tuning {
                lanes: 1,
                batch_rows: 100,
            })
            .expect_err("it sleeps");
        assert!(error.contains("waits for a clock"), "{error}");
    }
    let folder = folder("clockwatcher", "{ nap = \"nothing\" }", "");
    let report = folder.run(Tuning {
        lanes: 1,
        batch_rows: 100,
    });
    report.expect("to wait for no time at all is not to wait");
}

/// What was refused, but for the folder, which is another one for each run.
fn rejects_of(folder: &Folder) -> String {
    let rejects = folder.text("out/entries.rejects.ndjson");
    rejects.replace(&*folder.path("").to_string_lossy(), "")
}

/// What was applied and poisoned, the rejects, and what was written.
fn poison_of(misdeed: &str, limits: &str, tuning: Tuning) -> (u64, u64, String, String) {
    let more = format!("[limits]\n{limits}");
    let folder = folder("unruly", &format!("{{ misdeed = {misdeed:?} }}"), &more);
    let report = folder.run(tuning).expect("the others count");
    assert!(report.accounting.balances(), "{misdeed}");
    let accounting = report.accounting;
    (
        accounting.applied,
        accounting.poisoned,
        rejects_of(&folder),
        folder.text("out/out.ndjson"),
    )
}

#[test]
fn a_row_on_which_a_transform_fails_goes_to_the_rejects_and_the_others_count() {
    for (misdeed, limits, code) in [
        ("panic", "", "poison:trap"),
        ("spin", "cpu_per_call = \"30ms\"\n", "poison:cpu_per_call"),
        ("allocate", "memory = \"8MiB\"\n", "poison:memory"),
        ("recurse", "", "poison:trap"),
        ("hoard", "", "poison:state_per_group"),
        ("mislabel", "", "poison:contract"),
    ] {
        let cuts = [(1, 100), (1, 7), (2, 13), (1, 1)];
        let all = cuts
            .map(|(lanes, batch_rows)| poison_of(misdeed, limits, Tuning { lanes, batch_rows }));
        // One row of 40 is poison, and one is refused.
        assert_eq!((all[0].0, all[0].1), (38, 1), "{misdeed}");
        for part in [code, "\"poison\"", "sha256:", "13"] {
            assert!(
                all[0].2.contains(part),
                "{misdeed}: {part} is not in {}",
                all[0].2
            );
        }
        for other in &all[1..] {
            assert_eq!(*other, all[0], "{misdeed}: wherever batches are cut");
        }
    }
}

/// What was written, and what went to the invalid values, of a run whose windows are of a kind.
fn failed_windows(misdeed: &str, window: &str, tuning: Tuning) -> (String, String) {
    let folder = folder("unruly", &format!("{{ misdeed = {misdeed:?} }}"), "");
    let pipeline = folder.text("pipeline.toml");
    let pipeline = pipeline.replace("kind = \"tumbling\"\nsize = \"10s\"", window);
    folder.write("pipeline.toml", pipeline);
    let report = folder.run(tuning).expect("the others count");
    assert!(report.accounting.balances(), "{misdeed}");
    assert_eq!(report.accounting.poisoned, 0, "no row is to blame");
    let invalid = match report.invalid {
        0 => String::new(),
        _ => folder.text("out/entries.invalid.ndjson"),
    };
    (folder.text("out/out.ndjson"), invalid)
}

#[test]
fn a_window_on_which_a_transform_fails_goes_to_the_invalid_values_and_the_others_count() {
    let hopping = "kind = \"hopping\"\nsize = \"20s\"\nslide = \"10s\"";
    for (misdeed, window) in [
        ("choke", "kind = \"tumbling\"\nsize = \"10s\""),
        ("choke", hopping),
        ("stumble", hopping),
    ] {
        let tuning = |(lanes, batch_rows)| Tuning { lanes, batch_rows };
        let cuts = [(1, 100), (1, 7), (2, 13), (1, 1)].map(tuning);
        let all = cuts.map(|tuning| failed_windows(misdeed, window, tuning));
        let (sound, none) = failed_windows("nothing", window, cuts[0]);
        assert!(none.is_empty());
        let (written, failed) = &all[0];
        for part in ["\"*\"", "poison:trap", "sha256:", "thirteen to", "ballast"] {
            assert!(
                failed.contains(part),
                "{misdeed}: {part} is not in {failed}"
            );
        }
        let missing = sound.lines().filter(|line| !written.contains(line)).count();
        assert_eq!(missing, failed.lines().count(), "{misdeed}: {failed}");
        assert_eq!(sound.lines().count(), written.lines().count() + missing);
        for other in &all[1..] {
            assert_eq!(other, &all[0], "{misdeed}: wherever batches are cut");
        }
    }
}

/// What `unruly` is opened with.
fn opening() -> Opening {
    let columns = |name, data_type| Arc::new(Schema::new(vec![Field::new(name, data_type, false)]));
    Opening {
        config: "{}".into(),
        event: "entry".into(),
        event_schema: columns("amount", DataType::Float64),
        key: columns("key", DataType::Int64),
    }
}

#[test]
fn a_pool_without_room_is_no_fault_of_the_transform() {
    let sandbox = Sandbox::start(Compiler::InProcess, None).unwrap();
    let component = sandbox.load_file(&transform("unruly")).unwrap();
    let opening = opening();
    let limits = Limits::default();
    let open = || futures::executor::block_on(component.open_windowed(&opening, &limits, "unruly"));
    let instances: Vec<_> = (0..MAX_INSTANCES).map(|_| open().unwrap()).collect();
    let error = open().err().expect("there is no room");
    assert!(
        matches!(error, CallError::Exhausted { .. }),
        "{error}, and it names what to do"
    );
    assert!(error.to_string().contains("run.lanes"), "{error}");
    drop(instances);
    open().expect("there is room again");
}

#[test]
fn lanes_that_rest_hold_no_instance_and_tell_all_that_they_told() {
    let sandbox = Sandbox::start(Compiler::InProcess, None).unwrap();
    let component = Arc::new(sandbox.load_file(&transform("unruly")).unwrap());
    let opening = Arc::new(opening());
    let limits = Limits::default();
    let open = || Resting::open(&component, &opening, &limits, "unruly");
    // More than there is room for.
    let lanes = (0..MAX_INSTANCES + 100).map(|_| futures::executor::block_on(open()).unwrap());
    let mut lanes: Vec<Resting> = lanes.collect();
    let states = lanes[0].spec().initial.columns().to_vec();
    let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1]))];
    let bounds = TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC");
    let bounds: Vec<ArrayRef> = vec![Arc::new(bounds.clone()), Arc::new(bounds)];
    for _ in 0..2 {
        for lane in &mut lanes {
            let groups = Groups {
                keys: &keys,
                states: &states,
                len: 1,
            };
            let finished = futures::executor::block_on(lane.finish(groups, &bounds)).unwrap();
            assert_eq!(finished.output.num_rows(), 1);
        }
    }
    assert!(sandbox.let_go() > 0);
    assert_eq!(sandbox.guest_memory().1, 0, "nobody holds memory");
    // Instances have gone and come, and nothing of what they counted is lost.
    assert!(
        lanes
            .iter()
            .all(|lane| lane.figures().counts["groups"] == 2)
    );
}

#[test]
fn a_call_waits_for_room_that_others_give_back() {
    let sandbox = Sandbox::start(Compiler::InProcess, None).unwrap();
    let component = Arc::new(sandbox.load_file(&transform("unruly")).unwrap());
    let opening = Arc::new(opening());
    let limits = Limits::default();
    let lane = Resting::open(&component, &opening, &limits, "unruly");
    let mut lane = futures::executor::block_on(lane).unwrap();
    let states = lane.spec().initial.columns().to_vec();
    let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1]))];
    let bounds = TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC");
    let bounds: Vec<ArrayRef> = vec![Arc::new(bounds.clone()), Arc::new(bounds)];
    sandbox.let_go();
    // Others are at work, and have all that there is.
    let open = || component.open_windowed(&opening, &limits, "unruly");
    let others = (0..MAX_INSTANCES).map(|_| futures::executor::block_on(open()).unwrap());
    let others: Vec<_> = others.collect();
    let groups = Groups {
        keys: &keys,
        states: &states,
        len: 1,
    };
    let mut call = std::pin::pin!(lane.finish(groups, &bounds));
    assert!(call.as_mut().now_or_never().is_none(), "there is no room");
    drop(others);
    let finished = futures::executor::block_on(call).unwrap();
    assert_eq!(finished.output.num_rows(), 1);
}
