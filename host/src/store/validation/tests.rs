//! Columns checked against what a reader of the rules would say row by row, and rules that make no
//! sense.

use std::sync::Arc;

use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array,
    Float64Array, Int8Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
    TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{Int32Type, i256};
use proptest::prelude::*;

use super::*;
use crate::config::types::parse_type;

/// A validation as it is written in JSON.
fn validation(json: &str) -> Validation {
    serde_json::from_str(json).expect(json)
}

fn checker(type_name: &str, json: &str) -> Checker {
    Checker::new(&validation(json), &parse_type(type_name).expect(type_name)).expect(json)
}

/// `row code` for each failure, with the reason.
fn failures(checker: &Checker, column: impl Array + 'static) -> Vec<String> {
    let column: ArrayRef = Arc::new(column);
    let failures = checker
        .failures(&column)
        .expect("the column is of the type");
    let rows = failures.map(|failures| failures.rows).unwrap_or_default();
    rows.into_iter()
        .map(|failure| {
            format!(
                "{} {}: {}",
                failure.row,
                failure.rule.code(),
                checker.describe(&column, failure)
            )
        })
        .collect()
}

#[test]
fn a_range_of_floats() {
    let unit = checker("float64", r#"{"min": 0, "max": 1.0, "nulls": false}"#);
    let column = Float64Array::from(vec![
        Some(0.5),
        None,
        Some(-0.0),
        Some(f64::NAN),
        Some(-0.1),
        Some(1.5),
    ]);
    assert_eq!(
        failures(&unit, column),
        [
            "1 null: null, where nulls are not allowed",
            "3 not-a-number: NaN, where a range is given",
            "4 below-min: -0.1 is below the minimum of 0",
            "5 above-max: 1.5 is above the maximum of 1.0",
        ]
    );
    assert!(failures(&unit, Float64Array::from(vec![0.0, 1.0])).is_empty());
    // The bound is the nearest float of the column's own width.
    let tenth = checker("float32", r#"{"max": 0.1}"#);
    assert!(failures(&tenth, Float32Array::from(vec![0.1])).is_empty());
    assert!(
        failures(
            &checker("float64", "{}"),
            Float64Array::from(vec![f64::NAN])
        )
        .is_empty()
    );
    let half = checker("float16", r#"{"min": 0.1}"#);
    let column = cast(
        &Float32Array::from(vec![0.1, 0.05, f32::NAN]),
        &DataType::Float16,
    )
    .expect("a cast");
    let found = half.failures(&column).expect("the type").expect("failures");
    let rules: Vec<_> = found
        .rows
        .iter()
        .map(|failure| (failure.row, failure.rule))
        .collect();
    assert_eq!(rules, [(1, Rule::Min), (2, Rule::NotANumber)]);
}

#[test]
fn ranges_of_other_types() {
    assert_eq!(
        failures(
            &checker("uint64", r#"{"min": 5}"#),
            UInt64Array::from(vec![4, 5, u64::MAX])
        ),
        ["0 below-min: 4 is below the minimum of 5"]
    );
    assert_eq!(
        failures(
            &checker("uint64", r#"{"max": 5}"#),
            UInt64Array::from(vec![4, 5, u64::MAX])
        ),
        ["2 above-max: 18446744073709551615 is above the maximum of 5"]
    );
    let money = |values: Vec<i128>| {
        Decimal128Array::from(values)
            .with_precision_and_scale(12, 2)
            .expect("it fits")
    };
    assert_eq!(
        failures(
            &checker("decimal128[12, 2]", r#"{"min": "-0.50", "max": 10.05}"#),
            money(vec![-50, -51, 1005, 1006])
        ),
        [
            "1 below-min: -0.51 is below the minimum of \"-0.50\"",
            "3 above-max: 10.06 is above the maximum of 10.05"
        ]
    );
    let wide = Decimal256Array::from(vec![i256::from_i128(99), i256::from_i128(101)])
        .with_precision_and_scale(40, 2);
    assert_eq!(
        failures(
            &checker("decimal256[40, 2]", r#"{"min": 1}"#),
            wide.expect("it fits")
        ),
        ["0 below-min: 0.99 is below the minimum of 1"]
    );
    let negative_scale = Decimal128Array::from(vec![1, 2, 3])
        .with_precision_and_scale(5, -2)
        .expect("it fits");
    assert_eq!(
        failures(
            &checker("decimal128[5, -2]", r#"{"max": 200}"#),
            negative_scale
        )
        .len(),
        1
    );
    assert_eq!(
        failures(
            &checker("date32", r#"{"min": "1970-01-02"}"#),
            Date32Array::from(vec![0, 1])
        ),
        ["0 below-min: 1970-01-01 is below the minimum of \"1970-01-02\""]
    );
    let moments = TimestampMicrosecondArray::from(vec![-1, 0, 1]).with_timezone("UTC");
    assert_eq!(
        failures(
            &checker(
                "timestamp[us, UTC]",
                r#"{"max": "1970-01-01T01:00:00+01:00"}"#
            ),
            moments
        ),
        [
            "2 above-max: 1970-01-01T00:00:00.000001Z is above the maximum of \"1970-01-01T01:00:00+01:00\""
        ]
    );
    // Half a second is no value of the type: the least one is the second after it, the greatest the one before.
    let halves = checker(
        "timestamp[s]",
        r#"{"min": "1969-12-31T23:59:58.5", "max": "1970-01-01T00:00:00.5"}"#,
    );
    let found = failures(&halves, TimestampSecondArray::from(vec![-2, -1, 0, 1]));
    assert_eq!(
        found.iter().map(|found| &found[..1]).collect::<Vec<_>>(),
        ["0", "3"]
    );
}

#[test]
fn allowed_values_and_lengths() {
    let tiers = checker(
        "utf8",
        r#"{"allowed": ["silver", "gold"], "max_length": 4}"#,
    );
    let column = StringArray::from(vec![Some("gold"), Some("silver"), Some("bronze"), None]);
    assert_eq!(
        failures(&tiers, column),
        [
            "1 too-long: silver is longer than 4",
            "2 not-allowed: bronze is not one of the allowed values"
        ]
    );
    let many: Vec<String> = (0..20).map(|number| format!("\"{number}\"")).collect();
    let many = checker("utf8", &format!("{{\"allowed\": [{}]}}", many.join(",")));
    assert_eq!(
        failures(&many, StringArray::from(vec!["19", "20"])).len(),
        1
    );
    let characters = checker("utf8", r#"{"max_length": 3}"#);
    assert_eq!(
        failures(&characters, StringArray::from(vec!["äöü", "äöüx"])),
        ["1 too-long: äöüx is longer than 3"]
    );
    let codes = checker("int8", r#"{"allowed": [3, -1]}"#);
    assert_eq!(
        failures(
            &codes,
            Int8Array::from(vec![Some(3), None, Some(0), Some(-1)])
        )
        .len(),
        1
    );
    let codes = checker("uint64", r#"{"allowed": [3]}"#);
    assert_eq!(
        failures(&codes, UInt64Array::from(vec![3, u64::MAX])).len(),
        1
    );
    let yes = checker("bool", r#"{"allowed": [true]}"#);
    assert_eq!(
        failures(
            &yes,
            BooleanArray::from(vec![Some(true), Some(false), None])
        ),
        ["1 not-allowed: false is not one of the allowed values"]
    );
    let bytes = checker("binary", r#"{"max_length": 2}"#);
    assert_eq!(
        failures(
            &bytes,
            BinaryArray::from(vec!["ab".as_bytes(), "ä€".as_bytes()])
        )
        .len(),
        1
    );
    let items = checker("list[int32]", r#"{"max_length": 1}"#);
    let lists = [Some(vec![Some(1)]), None, Some(vec![Some(1), None])];
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    assert_eq!(
        failures(&items, lists),
        ["2 too-long: [1, ] is longer than 1"]
    );
}

#[test]
fn the_mask_keeps_valid_rows() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 20, 3, 40]));
    let found = checker("int64", r#"{"max": 9}"#)
        .failures(&column)
        .expect("the type")
        .expect("failures");
    assert_eq!(
        found.valid(),
        BooleanArray::from(vec![true, false, true, false])
    );
}

#[test]
fn a_column_of_another_type_is_refused() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let error = checker("int8", r#"{"max": 9}"#)
        .failures(&column)
        .expect_err("another type")
        .to_string();
    assert_eq!(
        error,
        "a column of type int64 was to be validated as int8; give the column that the feature was declared for"
    );
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    for (type_name, json, said) in [
        ("utf8", r#"{"min": 1}"#, "type utf8 has no range to keep to"),
        ("bool", r#"{"max": 1}"#, "type bool has no range"),
        (
            "list[int8]",
            r#"{"max": 1}"#,
            "type list[int8] has no range",
        ),
        (
            "int64",
            r#"{"min": 2, "max": 1}"#,
            "the minimum is greater than the maximum",
        ),
        (
            "int64",
            r#"{"min": 1.5}"#,
            "1.5 is not a value of type int64; write a whole number",
        ),
        (
            "uint8",
            r#"{"min": -1}"#,
            "-1 is not a value of type uint8; uint8 goes from 0 to 255",
        ),
        ("float64", r#"{"min": "a"}"#, "\"a\" is not a finite number"),
        (
            "float64",
            r#"{"allowed": [1.5]}"#,
            "type float64 cannot be limited to a list",
        ),
        (
            "float64",
            r#"{"max_length": 1}"#,
            "type float64 has no length to limit",
        ),
        (
            "fixed_size_binary[4]",
            r#"{"max_length": 1}"#,
            "has no length to limit",
        ),
        ("utf8", r#"{"allowed": []}"#, "no value at all is allowed"),
        (
            "utf8",
            r#"{"allowed": ["a", 1]}"#,
            "1 is not a value of type utf8; write it in quotes",
        ),
        (
            "int8",
            r#"{"allowed": [128]}"#,
            "128 is not a value of type int8; int8 goes from -128 to 127",
        ),
        (
            "bool",
            r#"{"allowed": ["true"]}"#,
            "write `true` or `false`",
        ),
        (
            "decimal128[4, 2]",
            r#"{"min": 0.125}"#,
            "0.125 has more digits after the point than the type",
        ),
        (
            "decimal128[4, 2]",
            r#"{"min": 100}"#,
            "100 has more digits than the type",
        ),
        (
            "decimal128[4, 2]",
            r#"{"min": "1e3"}"#,
            "\"1e3\" is not a decimal number",
        ),
        (
            "decimal128[4, 2]",
            r#"{"min": "+1"}"#,
            "is not a decimal number",
        ),
        (
            "decimal128[4, -2]",
            r#"{"min": 150}"#,
            "150 has more digits after the point than the type",
        ),
        (
            "date32",
            r#"{"min": 3}"#,
            "3 is not a value of type date32; write it as in 2026-01-31",
        ),
        (
            "timestamp[us]",
            r#"{"min": "2026-01-31T12:00:00Z"}"#,
            "write it as in 2026-01-31T12:00:00",
        ),
        (
            "timestamp[us, UTC]",
            r#"{"min": "2026-01-31T12:00:00"}"#,
            "write it as in 2026-01-31T12:00:00Z",
        ),
        (
            "timestamp[ns, UTC]",
            r#"{"min": "2500-01-31T12:00:00Z"}"#,
            "outside of what timestamp[ns, UTC] can hold",
        ),
    ] {
        let data_type = parse_type(type_name).expect(type_name);
        let senseless = Checker::new(&validation(json), &data_type).expect_err(json);
        let [one] = senseless.as_slice() else {
            panic!("{json}: {senseless:?}")
        };
        assert!(one.to_string().contains(said), "{type_name} {json}: {one}");
    }
}

fn naive(value: Option<i64>, rules: &Validation) -> Option<Rule> {
    let bound = |bound: &Option<Literal>| match bound {
        Some(Literal::Integer(bound)) => Some(*bound),
        _ => None,
    };
    let Some(value) = value else {
        return (!rules.nulls).then_some(Rule::Nulls);
    };
    if bound(&rules.min).is_some_and(|min| value < min) {
        return Some(Rule::Min);
    }
    if bound(&rules.max).is_some_and(|max| value > max) {
        return Some(Rule::Max);
    }
    let unlisted = rules
        .allowed
        .as_ref()
        .is_some_and(|allowed| !allowed.contains(&Literal::Integer(value)));
    unlisted.then_some(Rule::Allowed)
}

proptest! {
    /// Integers of any column type, sliced anywhere, against the rules read row by row.
    #[test]
    fn columns_are_checked_as_rows_would_be(
        values in prop::collection::vec(prop::option::of(0i64..100), 0..200),
        from in 0usize..70,
        min in prop::option::of(0i64..60),
        above_min in prop::option::of(0i64..60),
        nulls: bool,
        allowed in prop::option::of(prop::collection::vec(0i64..100, 1..60)),
        type_name in prop::sample::select(vec!["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "decimal128[12, 0]"]),
    ) {
        let allowed = allowed.filter(|_| type_name.contains("int"));
        let rules = Validation {
            min: min.map(Literal::Integer),
            max: above_min.map(|above| Literal::Integer(min.unwrap_or(0) + above)),
            nulls,
            allowed: allowed.map(|allowed| allowed.into_iter().map(Literal::Integer).collect()),
            max_length: None,
        };
        let data_type = parse_type(type_name).expect(type_name);
        let column = cast(&Int64Array::from(values.clone()), &data_type).expect("a cast");
        let from = from.min(values.len());
        let column = column.slice(from, values.len() - from);
        let expected: Vec<Failure> = values[from..]
            .iter()
            .enumerate()
            .filter_map(|(row, value)| naive(*value, &rules).map(|rule| Failure { row, rule }))
            .collect();
        let found = Checker::new(&rules, &data_type).expect("sensible").failures(&column).expect("the type");
        let rows = found.map(|found| found.rows).unwrap_or_default();
        prop_assert_eq!(rows, expected);
    }

    /// Any value of a literal for any type makes a checker or an error, never a panic.
    #[test]
    fn any_bound_is_read_or_refused(
        text in "[-0-9.:TZ+]{0,24}",
        number: f64,
        type_name in prop::sample::select(vec!["int8", "float16", "float32", "date32", "date64", "timestamp[ns, UTC]", "timestamp[s]", "decimal128[38, 38]", "decimal256[76, -76]"]),
    ) {
        let data_type = parse_type(type_name).expect(type_name);
        for literal in [Literal::Text(text), Literal::Float(number), Literal::Boolean(true)] {
            let rules = Validation { min: Some(literal), ..Validation::default() };
            let _ = Checker::new(&rules, &data_type);
        }
    }
}
