//! The conformance suite: one transform written with every SDK (`guest-sdk/CONFORMANCE.md`), and one set of
//! cases, against an oracle in Arrow.

mod cases;
mod examples;
mod oracle;
mod projects;
mod values;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema};
use penstock::sandbox::{Component, Instance, Limits, MapperInstance};
use penstock::transform::{CallError, Opening};

use crate::support::{HOST, root};

/// The guest of a language, if it was built here: its file is `target/transforms/conformance_LANGUAGE.wasm`.
fn guest(language: &str) -> Option<Component> {
    let name = match language {
        "rust" => "conformance.wasm".to_owned(),
        other => format!("conformance_{other}.wasm"),
    };
    let path: PathBuf = root().join("target/transforms").join(name);
    if !path.exists() {
        println!(
            "left out: conformance of {language}, for want of {}",
            path.display()
        );
        return None;
    }
    Some(HOST.sandbox.load_file(&path).unwrap())
}

/// Interpreters take their time with 65,536 rows of every type.
fn limits() -> Limits {
    Limits {
        cpu_per_call: Duration::from_secs(600),
        memory: 1 << 30,
        ..Limits::default()
    }
}

fn opening(config: &str) -> Opening {
    Opening {
        config: config.into(),
        event: "event".into(),
        event_schema: values::event(),
        key: Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, false)])),
    }
}

fn window(guest: &Component) -> Instance {
    try_window(guest, "{}").unwrap()
}

fn try_window(guest: &Component, config: &str) -> Result<Instance, CallError> {
    let (opening, limits) = (opening(config), limits());
    let opened = guest.open_windowed(&opening, &limits, "conformance");
    HOST.lanes.block_on(opened)
}

fn mapper(guest: &Component) -> MapperInstance {
    try_mapper(guest, "{}").unwrap()
}

fn try_mapper(guest: &Component, config: &str) -> Result<MapperInstance, CallError> {
    let opening = Opening {
        key: Arc::new(Schema::empty()),
        ..opening(config)
    };
    let limits = limits();
    let opened = guest.open_mapper(&opening, &limits, "conformance");
    HOST.lanes.block_on(opened)
}

/// A test for each case, in a module for each language.
macro_rules! languages {
    ($($language:ident),*: $cases:tt) => {
        $(languages!(@ $language $cases);)*
    };
    (@ $language:ident [$($case:ident),* $(,)?]) => {
        mod $language {
            $(#[test]
            fn $case() {
                if let Some(guest) = super::guest(stringify!($language)) {
                    super::cases::$case(&guest);
                }
            })*
        }
    };
}

languages!(rust, c, go, javascript, python: [
    it_says_what_it_is,
    every_type_survives_rows_states_and_output,
    the_least_and_the_greatest_survive,
    the_extremes_of_every_type_survive,
    texts_beyond_ascii_survive,
    many_rows_in_one_group_and_a_group_for_each_row,
    calls_without_rows_or_groups_do_nothing,
    rejected_rows_leave_no_trace,
    lists_that_a_state_took_over_and_changed_are_undone,
    a_row_with_a_null_where_there_may_be_none_is_rejected,
    a_null_deep_inside_where_there_may_be_none_is_rejected_with_its_path,
    an_error_of_the_author_fails_the_call_and_is_shown,
    an_error_anywhere_fails_the_call_and_is_shown,
    figures_are_counted_once,
    lines_are_written_once,
    configuration_is_refused,
    columns_that_do_not_fit_are_named,
    a_mapper_filters_multiplies_and_rejects,
    a_mapper_takes_as_many_rows_as_there_may_be,
    states_of_earlier_versions_are_taken_over,
    earlier_states_that_do_not_fit_are_named,
    a_null_in_an_earlier_state_is_refused,
]);
