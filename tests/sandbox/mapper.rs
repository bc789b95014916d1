//! What a mapper may not do: all limits of a call, and all that is checked of what comes back.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, Schema};
use penstock::sandbox::{Limits, MapperInstance};
use penstock::transform::{CallError, Mapper, Opening};

use super::{folder_with, rejects_of};
use crate::support::{HOST, Tuning, transform};

/// Opens it on rows of `key` and `amount`.
fn open(misdeed: &str, limits: &Limits) -> Result<MapperInstance, CallError> {
    let component = HOST.sandbox.load_file(&transform("unruly_mapper")).unwrap();
    let field = |name, data_type| Field::new(name, data_type, true);
    let fields = vec![
        field("amount", DataType::Float64),
        field("key", DataType::Int64),
    ];
    let opening = Opening {
        config: format!("{{\"misdeed\":\"{misdeed}\"}}"),
        event: "entry".into(),
        event_schema: Arc::new(Schema::new(fields)),
        key: Arc::new(Schema::empty()),
    };
    HOST.lanes
        .block_on(component.open_mapper(&opening, limits, "unruly_mapper"))
}

/// Forty rows, in the order in which the mapper wants their columns.
fn rows() -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from_iter_values(0..40)),
        Arc::new(Float64Array::from_iter_values((0..40).map(f64::from))),
    ]
}

fn call(misdeed: &str, limits: &Limits) -> (MapperInstance, Result<(), CallError>) {
    let mut mapper = open(misdeed, limits).unwrap();
    let mapped = HOST.lanes.block_on(mapper.map(&rows(), 40));
    (mapper, mapped.map(|_| ()))
}

#[test]
fn what_comes_back_is_checked() {
    for (misdeed, expected) in [
        ("short", "`source-row` names 39 rows, and there are 40"),
        ("ragged", "no whole number of u32"),
        ("long", "`source-row` names 41 rows"),
        ("backwards", "`source-row` must never fall"),
        (
            "beyond",
            "`source-row` must never fall and name rows below 40",
        ),
        ("both", "row 3 is rejected and named in `source-row` too"),
        (
            "reject-beyond",
            "rejects must rise by row and name rows below 40",
        ),
        ("reject-backwards", "rejects must rise by row"),
        ("mislabel", "code `\\u{1b}[2J`"),
        ("cut-column", "breaks the contract"),
        ("more-rows", "breaks the contract"),
        ("null", "breaks the contract"),
    ] {
        let (mut mapper, called) = call(misdeed, &Limits::default());
        let error = called.expect_err(misdeed);
        assert!(
            matches!(error, CallError::Hostile { .. }),
            "{misdeed}: {error}"
        );
        assert!(error.to_string().contains(expected), "{misdeed}: {error}");
        // It is spent.
        let again = HOST.lanes.block_on(mapper.map(&rows(), 40)).unwrap_err();
        assert!(
            again.to_string().contains("may not be called again"),
            "{again}"
        );
    }
}

#[test]
fn its_limits_are_those_of_every_call() {
    let limits = Limits {
        memory: 16 << 20,
        cpu_per_call: std::time::Duration::from_millis(50),
        output_bytes: 1 << 20,
        reject_codes: 30,
        ..Limits::default()
    };
    for (misdeed, expected) in [
        ("spin", "cpu_per_call"),
        ("allocate", "memory"),
        ("flood", "output_bytes"),
        ("many-codes", "reject_codes"),
    ] {
        let error = call(misdeed, &limits).1.expect_err(misdeed);
        let CallError::Limit { name, call, .. } = error else {
            panic!("{misdeed}: {error}");
        };
        assert_eq!((name, call), (expected, "map"), "{misdeed}");
    }
    let few = Limits {
        output_rows: 39,
        ..Limits::default()
    };
    let error = call("nothing", &few).1.unwrap_err().to_string();
    assert!(error.contains("raise `limits.output_rows`"), "{error}");

    let (mapper, called) = call("chatter", &limits);
    called.unwrap();
    assert_eq!(mapper.figures().dropped, 900);
    assert_eq!(mapper.figures().counts["thirteens"], 1);
}

#[test]
fn what_it_says_of_itself_is_checked() {
    for (misdeed, expected) in [
        ("needs-nothing", "needs 0 events"),
        ("needs-ghosts", "`ghost`, which event `entry` does not have"),
        ("no-output", "its output has no columns"),
        ("twins", "its output"),
    ] {
        let error = open(misdeed, &Limits::default()).err().expect(misdeed);
        assert!(error.to_string().contains(expected), "{misdeed}: {error}");
    }
}

#[test]
fn a_component_is_asked_only_for_what_it_exports() {
    let component = HOST.sandbox.load_file(&transform("unruly")).unwrap();
    let opening = Opening {
        config: "{}".into(),
        event: "entry".into(),
        event_schema: Arc::new(Schema::empty()),
        key: Arc::new(Schema::empty()),
    };
    let limits = Limits::default();
    let opened = component.open_mapper(&opening, &limits, "unruly");
    let error = HOST.lanes.block_on(opened).err().expect("it has none");
    let text = error.to_string();
    assert!(
        text.contains("exports `windowed`, and not `mapper`"),
        "{text}"
    );
}

#[test]
fn a_mapper_that_fails_ends_the_run_and_is_named() {
    let mapper = transform("unruly_mapper");
    for (misdeed, expected) in [("panic", "thirteen"), ("fail", "no thirteens")] {
        let map = format!("[map]\ntransform = {mapper:?}\nconfig = {{ misdeed = {misdeed:?} }}\n");
        let folder = folder_with("unruly", "{}", &map, super::STRICT);
        let tuning = Tuning {
            lanes: 1,
            batch_rows: 100,
        };
        let error = folder.run(tuning).expect_err(misdeed);
        for part in ["entries", "mapper sha256:", "map:", expected] {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }
}

#[test]
fn calls_that_would_return_too_much_are_made_with_fewer_rows() {
    let mapper = transform("unruly_mapper");
    let map = format!("[map]\ntransform = {mapper:?}\n");
    let run = |more: &str, batch_rows| {
        let folder = folder_with("unruly", "{}", &map, more);
        let report = folder.run(Tuning {
            lanes: 1,
            batch_rows,
        });
        report.map(|report| (report.accounting, folder.text("out/out.ndjson")))
    };
    let expected = run("", 40).unwrap();
    for limits in ["output_rows = 14", "output_bytes = \"1KiB\""] {
        for batch_rows in [40, 7] {
            let found = run(&format!("[limits]\n{limits}\n"), batch_rows).unwrap();
            assert_eq!(found, expected, "{limits}, batches of {batch_rows}");
        }
    }
}

#[test]
fn a_row_on_which_a_mapper_fails_goes_to_the_rejects_and_the_others_count() {
    let mapper = transform("unruly_mapper");
    for misdeed in ["panic", "fail", "beyond", "null"] {
        let map = format!("[map]\ntransform = {mapper:?}\nconfig = {{ misdeed = {misdeed:?} }}\n");
        let run = |batch_rows| {
            let folder = folder_with("unruly", "{}", &map, "");
            let report = folder.run(Tuning {
                lanes: 1,
                batch_rows,
            });
            let accounting = report
                .unwrap_or_else(|error| panic!("{misdeed}: {error}"))
                .accounting;
            assert!(accounting.balances(), "{misdeed}: {accounting:?}");
            (
                accounting,
                [rejects_of(&folder), folder.text("out/out.ndjson")],
            )
        };
        let whole = run(100);
        assert_eq!((whole.0.poisoned, whole.0.applied), (1, 38), "{misdeed}");
        assert!(whole.1[0].contains("poison:"), "{}", whole.1[0]);
        for batch_rows in [7, 1] {
            assert_eq!(run(batch_rows), whole, "{misdeed}, batches of {batch_rows}");
        }
    }
}
