//! Calls that fail: errors of the author, configuration, columns that do not fit.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use penstock::sandbox::Component;
use penstock::transform::{CallError, Mapper, Opening};

use super::super::oracle::States;
use super::super::values::Batch;
use super::super::{limits, mapper, opening, try_mapper, try_window, window};
use super::{accumulate, earlier, finish, migrate, try_merge};
use crate::support::HOST;
use crate::support::random::Columns;

pub(in super::super) fn an_error_of_the_author_fails_the_call_and_is_shown(guest: &Component) {
    let batch = Batch::random(&mut Columns::new(15), 5, 0).commanded(&[(3, "fail")]);
    let states = States::initial(1);
    let failed = accumulate(&mut window(guest), &batch, &[0; 5], &states.columns).map(|_| ());
    shown(failed);
    let failed = HOST
        .lanes
        .block_on(mapper(guest).map(&batch.columns, 5))
        .map(|_| ());
    shown(failed);
}

#[track_caller]
fn shown(failed: Result<(), CallError>) {
    let error = failed.expect_err("it was asked to fail").to_string();
    assert!(error.contains("asked to fail"), "{error}");
}

pub(in super::super) fn an_error_anywhere_fails_the_call_and_is_shown(guest: &Component) {
    let failing = |function: &str| {
        let config = format!(r#"{{"fails":"{function}"}}"#);
        try_window(guest, &config)
    };
    shown(failing("open").map(|_| ()));
    let batch = Batch::random(&mut Columns::new(24), 5, 0);
    let states = States::initial(1).accumulate(&batch, &[0; 5], &[]).columns;
    // That it was opened shows that it takes a configuration.
    let merged = try_merge(&mut failing("merge").unwrap(), &states, &states);
    shown(merged.map(|_| ()));
    let finished = finish(&mut failing("finish").unwrap(), &states);
    shown(finished.map(|_| ()));
    let (schema, old) = earlier(1, &states[0]);
    let migrated = migrate(&mut failing("migrate").unwrap(), 1, &schema, &old, 1);
    shown(migrated.map(|_| ()));
}

pub(in super::super) fn configuration_is_refused(guest: &Component) {
    // Another name, another value, no JSON.
    let wrong = [
        r#"{"most": 5}"#,
        r#"{"fails":"accumulate"}"#,
        r#"{"fails":"#,
    ];
    let of_windows = wrong.map(|config| try_window(guest, config).map(|_| ()));
    let of_mappers = wrong.map(|config| try_mapper(guest, config).map(|_| ()));
    for refused in of_windows.into_iter().chain(of_mappers) {
        match refused.expect_err("that is no configuration of theirs") {
            CallError::Failure { kind, .. } => assert_eq!(kind, "bad configuration"),
            other => panic!("{other}"),
        }
    }
}

pub(in super::super) fn columns_that_do_not_fit_are_named(guest: &Component) {
    let refuse = |fields: Vec<Field>, expected: &[&str]| {
        let opening = Opening {
            event_schema: Arc::new(Schema::new(fields)),
            ..opening("{}")
        };
        let limits = limits();
        let opened = guest.open_windowed(&opening, &limits, "conformance");
        let opened = HOST.lanes.block_on(opened);
        match opened.map(|_| ()).expect_err("it does not fit") {
            CallError::Failure { kind, message, .. } => {
                assert_eq!(kind, "bad input");
                for part in expected {
                    assert!(message.contains(part), "`{part}` is not in: {message}");
                }
            }
            other => panic!("{other}"),
        }
    };
    let fields = |change: &dyn Fn(&Field) -> Option<Field>| -> Vec<Field> {
        let event = opening("{}").event_schema;
        event
            .fields()
            .iter()
            .filter_map(|field| change(field))
            .collect()
    };
    refuse(
        fields(&|field| (field.name() != "uint16").then(|| field.clone())),
        &["`uint16`", "`uint32`"],
    );
    refuse(
        fields(&|field| match field.name().as_str() {
            "float64" => Some(Field::new("float64", DataType::Utf8, true)),
            _ => Some(field.clone()),
        }),
        &["`float64`", "utf8"],
    );
}
