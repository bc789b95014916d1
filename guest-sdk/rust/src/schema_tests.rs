//! What is found where, and what is said when it is not there.

use super::*;
use crate::types::*;
use crate::value::field;
use crate::{Row, State};

#[derive(State, Debug, PartialEq)]
struct Stop {
    latitude: f64,
}

#[derive(State, Debug, PartialEq)]
struct Ride {
    #[column("fareAmount")]
    fare: Decimal<10, 2>,
    r#type: Option<String>,
    at: Timestamp,
    stops: Vec<Stop>,
}

fn nullable(name: &str, format: &str, children: usize) -> Field {
    field(name, format, true, children)
}

fn offered() -> Schema {
    vec![
        nullable("id", "l", 0),
        nullable("stops", "+L", 1),
        nullable("element", "+s", 2),
        nullable("longitude", "g", 0),
        nullable("latitude", "g", 0),
        nullable("type", "U", 0),
        nullable("at", "tsu:Europe/Paris", 0),
        nullable("fareAmount", "d:10,2", 0),
        nullable("unknown", "vu", 0),
    ]
}

fn refusal(change: impl FnOnce(&mut Schema)) -> String {
    let mut schema = offered();
    change(&mut schema);
    let expected = schema_of::<Ride>();
    let picked = pick(&expected, &schema, "event `rides`")
        .and_then(|picked| Layout::select(&expected, &picked, "event `rides`"));
    match picked {
        Err(Failure::BadInput(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_schema_of_a_record_is_in_pre_order() {
    let fields: Vec<_> = schema_of::<Ride>()
        .into_iter()
        .map(|f| (f.name, f.format, f.nullable, f.children))
        .collect();
    let expected = [
        ("fareAmount", "d:10,2", false, 0),
        ("type", "u", true, 0),
        ("at", "tsu:UTC", false, 0),
        ("stops", "+l", false, 1),
        ("item", "+s", false, 1),
        ("latitude", "g", false, 0),
    ];
    assert_eq!(
        fields,
        expected.map(|(name, format, nullable, children)| (
            name.to_owned(),
            format.to_owned(),
            nullable,
            children
        ))
    );
}

#[test]
fn columns_are_found_by_name_and_the_rest_is_skipped() {
    let expected = schema_of::<Ride>();
    let picked = pick(&expected, &offered(), "event `rides`").unwrap();
    let names: Vec<_> = picked.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "fareAmount",
            "type",
            "at",
            "stops",
            "element",
            "longitude",
            "latitude"
        ]
    );
    let layout = Layout::select(&expected, &picked, "event `rides`").unwrap();
    let slots: Vec<_> = layout
        .slots()
        .iter()
        .map(|slot| (slot.path.as_str(), slot.first_buffer, slot.large))
        .collect();
    let expected = [
        ("fareAmount", 0, false),
        ("type", 2, true),
        ("at", 5, false),
        ("stops", 7, true),
        ("stops.item", 9, false),
        ("stops.item.latitude", 12, false),
    ];
    assert_eq!(slots, expected);
}

#[test]
fn a_missing_column_is_named() {
    let message = refusal(|schema| schema[7].name = "fare".to_owned());
    assert_eq!(
        message,
        "event `rides` has no column `fareAmount`, which the transform expects as decimal128(10, 2); there are: `id`, `stops`, `type`, `at`, `fare`, `unknown`. If it has another name, put #[column(\"that name\")] on the field"
    );
    let message = refusal(|schema| schema[4].name = "lat".to_owned());
    assert!(message.starts_with("event `rides` has no column `stops.item.latitude`, which the transform expects as float64; there are: `longitude`, `lat`."), "{message}");
}

#[test]
fn a_wrong_type_is_named_with_the_way_out() {
    let message = refusal(|schema| schema[6].format = "tsn:".to_owned());
    assert_eq!(
        message,
        "event `rides` has a column `at` of type timestamp[ns], but the transform expects timestamp[us, UTC]: declare the field as `Timestamp<Nanosecond, NoZone>`, or have the pipeline hand over timestamp[us, UTC]"
    );
    // Without a zone it is not an instant.
    refusal(|schema| schema[6].format = "tsu:".to_owned());
    let message = refusal(|schema| schema[2].format = "vu".to_owned());
    assert!(
        message.contains("column `element` has the type `vu`"),
        "{message}"
    );
}

#[test]
fn types_are_called_as_people_call_them() {
    #[track_caller]
    fn check(schema: &[Field], name: &str, rust: &str) {
        let tree = &trees(schema).unwrap()[0];
        assert_eq!(
            (type_name(tree).as_str(), rust_name(tree).as_str()),
            (name, rust)
        );
    }
    let one = |format: &str| [nullable("x", format, 0)];
    check(&one("l"), "int64", "i64");
    check(&one("e"), "float16", "Float16");
    check(&one("d:40,2,256"), "decimal256(40, 2)", "Decimal256<40, 2>");
    check(&one("w:16"), "fixed_size_binary[16]", "[u8; 16]");
    check(&one("ttm"), "time[ms]", "TimeOfDay<Millisecond>");
    check(&one("tDn"), "duration[ns]", "Duration<Nanosecond>");
    check(
        &one("tsu:UTC"),
        "timestamp[us, UTC]",
        "Timestamp<Microsecond>",
    );
    check(
        &[nullable("x", "+l", 1), nullable("item", "u", 0)],
        "list<utf8>",
        "Vec<Option<String>>",
    );
    check(
        &[nullable("x", "+s", 1), nullable("a", "b", 0)],
        "struct<a: boolean>",
        "a struct with #[derive(Row)]",
    );
}

#[test]
fn a_schema_that_ends_early_is_a_failure() {
    let schema = [nullable("x", "+s", 2), nullable("a", "b", 0)];
    assert!(matches!(
        Layout::select(&schema, &schema, "it"),
        Err(Failure::Internal(_))
    ));
}

#[test]
fn a_row_without_columns_needs_none() {
    #[derive(Row)]
    struct Any;
    assert_eq!(schema_of::<Any>(), []);
    assert_eq!(
        pick(&schema_of::<Any>(), &offered(), "event `rides`").unwrap(),
        []
    );
}
