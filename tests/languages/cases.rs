//! The cases, each for any guest.

use std::sync::{Arc, Mutex};

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringArray,
    TimestampMicrosecondArray, UInt32Array, UInt64Array, make_array,
};
use arrow::buffer::Buffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt32Type, UInt64Type, i256};
use penstock::sandbox::{Component, Instance, Interface};
use penstock::transform::{CallError, Finished, Groups, Mapper, Opening, Rows, Updated, Windowed};

use super::oracle::{States, bounds, key, same};
use super::values::{Batch, given, one_nan};
use super::{limits, mapper, opening, try_mapper, try_window, window};
use crate::support::HOST;
use crate::support::random::Columns;
use crate::support::types::every_type;

pub(super) fn it_says_what_it_is(guest: &Component) {
    for interface in [Interface::Mapper, Interface::Windowed, Interface::Migration] {
        assert!(guest.interfaces().contains(&interface), "{interface}");
    }
    let ours = |import: &String| import.starts_with("penstock:transform/");
    assert!(guest.imports().iter().all(ours), "{:?}", guest.imports());

    let window = window(guest);
    let spec = window.spec();
    let mut columns = vec!["command".to_owned(), "required".to_owned()];
    columns.extend(given().iter().map(|field| field.name().clone()));
    assert_eq!(spec.columns, columns);
    assert_eq!(
        (spec.state_version, spec.migrates_from.as_slice()),
        (3, [1, 2].as_slice())
    );
    let never_null = |name, data_type| Field::new(name, data_type, false);
    let mut state = vec![
        never_null("count", DataType::UInt64),
        never_null("sum", DataType::Int64),
        never_null("polynomial", DataType::UInt64),
    ];
    state.extend(given());
    let state = Schema::new(state);
    assert_eq!(
        (spec.state.fields(), spec.output.fields()),
        (&state.fields, &state.fields)
    );
    same(spec.initial.columns(), &States::initial(1).columns);

    let mapper = mapper(guest);
    let mut output = vec![
        never_null("copy", DataType::UInt32),
        never_null("required", DataType::Int64),
    ];
    output.extend(given());
    assert_eq!(mapper.spec().output.fields(), &Schema::new(output).fields);
    assert_eq!(mapper.spec().columns, columns);
}

pub(super) fn every_type_survives_rows_states_and_output(guest: &Component) {
    for (seed, rows, groups, nulls) in [
        (1, 1, 1, 0),
        (2, 7, 3, 3),
        (3, 64, 5, 2),
        (4, 200, 20, 4),
        (5, 97, 13, 0),
        (6, 33, 2, 1),
    ] {
        let mut transform = window(guest);
        let mut random = Columns::new(seed);
        let mut expected = States::initial(groups);
        let mut before = expected.clone();
        for round in 0..2 {
            let batch = Batch::random(&mut random, rows, nulls);
            let of_row: Vec<u32> = (0..rows)
                .map(|row| ((row * 7 + round) % groups) as u32)
                .collect();
            let updated = accumulate(&mut transform, &batch, &of_row, &expected.columns).unwrap();
            assert!(updated.rejects.is_empty());
            before = expected.clone();
            expected = expected.accumulate(&batch, &of_row, &[]);
            same(&all(&before, updated), &expected.columns);
        }
        let finished = finish(&mut transform, &expected.columns).unwrap();
        let (groups, rows) = expected.finish();
        assert_eq!(finished.source_group, groups);
        same(finished.output.columns(), &rows);

        let merged = merge(&mut transform, &before.columns, &expected.columns);
        same(&merged, &before.merge(&expected).columns);
    }
}

pub(super) fn the_least_and_the_greatest_survive(guest: &Component) {
    let integers = [0, 1, -1, i64::MIN, i64::MAX, (1 << 53) + 1, -(1 << 53) - 1];
    let integers: ArrayRef = Arc::new(Int64Array::from(integers.to_vec()));
    let floats = [
        0.0,
        -0.0,
        f64::MIN,
        f64::MAX,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let floats: ArrayRef = Arc::new(Float64Array::from(floats.to_vec()));
    let tiny = [
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        f64::EPSILON,
        0.1,
        1e308,
        -1e-308,
    ];
    let tiny: ArrayRef = Arc::new(Float64Array::from(tiny.to_vec()));
    let rows = integers.len();
    for floats in [floats, tiny] {
        let mut random = Columns::new(7);
        let mut batch = Batch::random(&mut random, rows, 0).with("required", Arc::clone(&integers));
        for field in every_type() {
            let column = match field.data_type() {
                DataType::Int64 | DataType::Timestamp(..) | DataType::Duration(_) => &integers,
                DataType::Float64 | DataType::Float32 | DataType::Float16 => &floats,
                _ => continue,
            };
            batch = batch.with(field.name(), Arc::clone(column));
        }
        let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![
            0,
            1,
            u64::MAX,
            1 << 63,
            (1 << 53) + 1,
            u64::MAX - 1,
            (1 << 63) - 1,
        ]));
        batch = batch.with("uint64", unsigned);
        // Each row in a group of its own, so that each value is seen.
        echo(guest, &batch, rows);
    }
}

pub(super) fn the_extremes_of_every_type_survive(guest: &Component) {
    const ROWS: usize = 4;
    let mut batch = Batch::random(&mut Columns::new(21), ROWS, 0);
    for field in every_type() {
        if let Some(extremes) = extremes(field.data_type()) {
            assert_eq!(extremes.len(), ROWS);
            batch = batch.with(field.name(), extremes);
        }
    }
    let long = |item: i64| Some(vec![Some(i64::MIN), None, Some(item), Some(i64::MAX)]);
    let lists = [long(0), Some(vec![]), long((1 << 53) + 1), None];
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    echo(guest, &batch.with("list", Arc::new(lists)), ROWS);
}

/// The least value of a type, the greatest, that of no bit and that of all bits; none for types that lists of
/// numbers do not make out.
fn extremes(of: &DataType) -> Option<ArrayRef> {
    let floats = [f64::NEG_INFINITY, f64::INFINITY, -0.0, f64::NAN];
    let values: [Vec<u8>; 4] = match of {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let floats = Float64Array::from(floats.to_vec());
            return Some(cast(&floats, of).unwrap());
        }
        DataType::Decimal128(precision, _) => {
            let most = 10_i128.pow(u32::from(*precision)) - 1;
            [-most, most, 0, -1].map(|value| value.to_le_bytes().to_vec())
        }
        DataType::Decimal256(precision, _) => {
            let most = i256::from_string(&"9".repeat(usize::from(*precision))).unwrap();
            [-most, most, i256::ZERO, -i256::ONE].map(|value| value.to_le_bytes().to_vec())
        }
        fixed => {
            let width = match fixed {
                DataType::FixedSizeBinary(width) => *width as usize,
                fixed => fixed.primitive_width()?,
            };
            let signed = !fixed.is_unsigned_integer();
            let mut least = vec![0; width];
            let mut most = vec![0xff; width];
            if signed {
                least[width - 1] = 0x80;
                most[width - 1] = 0x7f;
            }
            [least, most, vec![0; width], vec![0xff; width]]
        }
    };
    let data = ArrayData::builder(of.clone())
        .len(values.len())
        .add_buffer(Buffer::from_vec(values.concat()))
        .align_buffers(true);
    Some(make_array(data.build().unwrap()))
}

pub(super) fn texts_beyond_ascii_survive(guest: &Component) {
    let long = "漢字🦀".repeat(1000);
    let texts: Vec<Option<&str>> = vec![
        Some(""),
        Some("ü"),
        Some("e\u{301}"),
        Some("👩‍👩‍👧‍👦"),
        Some("\u{0}a\u{0}"),
        Some("\u{10ffff}\u{feff}"),
        Some(&long),
        None,
        Some("line\r\nbreak\t\"quoted\" \\"),
    ];
    let rows = texts.len();
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    let batch = Batch::random(&mut Columns::new(8), rows, 2)
        .with("utf8", Arc::clone(&texts))
        .with("large_utf8", Arc::clone(&texts))
        .with("binary", Arc::clone(&texts))
        .with("large_binary", texts);
    echo(guest, &batch, rows);
}

pub(super) fn many_rows_in_one_group_and_a_group_for_each_row(guest: &Component) {
    const MANY: usize = 65_536;
    let batch = Batch::random(&mut Columns::new(9), MANY, 5);
    let mut transform = window(guest);
    let initial = States::initial(1);
    let updated = accumulate(&mut transform, &batch, &[0; MANY], &initial.columns).unwrap();
    let expected = initial.accumulate(&batch, &[0; MANY], &[]);
    same(&all(&initial, updated), &expected.columns);

    let few = Batch::random(&mut Columns::new(10), 4096, 5);
    echo(guest, &few, 4096);
}

pub(super) fn calls_without_rows_or_groups_do_nothing(guest: &Component) {
    let mut transform = window(guest);
    let nothing = Batch::random(&mut Columns::new(11), 0, 2);
    for groups in [0, 3] {
        let states = States::initial(groups);
        let updated = accumulate(&mut transform, &nothing, &[], &states.columns).unwrap();
        assert!(updated.rejects.is_empty());
        same(&all(&states, updated), &states.columns);
        let finished = finish(&mut transform, &states.columns).unwrap();
        assert_eq!(
            finished.output.num_rows(),
            0,
            "a group without rows has no output"
        );
        same(
            &merge(&mut transform, &states.columns, &states.columns),
            &states.columns,
        );
    }
    let mapped = HOST
        .lanes
        .block_on(mapper(guest).map(&nothing.columns, 0))
        .unwrap();
    assert_eq!((mapped.output.num_rows(), mapped.rejects.len()), (0, 0));
}

pub(super) fn rejected_rows_leave_no_trace(guest: &Component) {
    let rows = 40;
    let rejected = [0_u32, 1, 5, 17, 38, 39];
    let commands: Vec<(usize, &str)> = rejected
        .iter()
        .map(|row| (*row as usize, "reject"))
        .collect();
    let batch = Batch::random(&mut Columns::new(12), rows, 3).commanded(&commands);
    // Rows 1 and 39 are alone in their groups, which must come back as they were.
    let of_row: Vec<u32> = (0..rows as u32)
        .map(|row| match row {
            1 => 4,
            39 => 5,
            row => row % 4,
        })
        .collect();
    let mut transform = window(guest);
    let warm = Batch::random(&mut Columns::new(13), rows, 3);
    let before = States::initial(6).accumulate(&warm, &of_row, &[]);
    let updated = accumulate(&mut transform, &batch, &of_row, &before.columns).unwrap();
    let found: Vec<u32> = updated.rejects.iter().map(|reject| reject.row).collect();
    assert_eq!(found, rejected);
    for reject in &updated.rejects {
        let texts = batch.column("utf8").as_string::<i32>();
        let row = reject.row as usize;
        let text = if texts.is_valid(row) {
            texts.value(row)
        } else {
            "nothing"
        };
        assert_eq!(
            (reject.code.as_str(), &reject.detail),
            ("refused", &format!("a row of {text}"))
        );
    }
    let expected = before.accumulate(&batch, &of_row, &rejected);
    same(&all(&before, updated), &expected.columns);
}

pub(super) fn lists_that_a_state_took_over_and_changed_are_undone(guest: &Component) {
    let commands = [
        (1, "append"),
        (2, "reject"),
        (3, "append"),
        (4, "reject"),
        (5, "append"),
    ];
    let lists = [
        Some(vec![Some(1), None]),
        None,
        None,
        None,
        Some(vec![]),
        None,
    ];
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    let batch = Batch::random(&mut Columns::new(20), 6, 0)
        .with("list", Arc::new(lists))
        .commanded(&commands);
    let required = |row| Some(batch.required().value(row));
    let mut list = vec![Some(1), None, required(1), required(3), required(5)];
    let mut transform = window(guest);
    let mut before = States::initial(1);
    // The second call begins with a list that the host sent as a part of the state.
    for rows in [0..6, 1..6] {
        let batch = batch.slice(rows.start, rows.len());
        let rejected = [2, 4].map(|row: u32| row - rows.start as u32);
        let of_row = vec![0; batch.rows];
        let updated = accumulate(&mut transform, &batch, &of_row, &before.columns).unwrap();
        let found: Vec<u32> = updated.rejects.iter().map(|reject| reject.row).collect();
        assert_eq!(found, rejected);
        let mut expected = before.accumulate(&batch, &of_row, &rejected);
        if rows.start > 0 {
            list.extend([required(1), required(3), required(5)]);
        }
        let at = given().iter().position(|field| field.name() == "list");
        expected.columns[3 + at.expect("it is one of the values")] = Arc::new(
            ListArray::from_iter_primitive::<Int64Type, _, _>([Some(list.clone())]),
        );
        same(&all(&before, updated), &expected.columns);
        before = expected;
    }
}

pub(super) fn a_row_with_a_null_where_there_may_be_none_is_rejected(guest: &Component) {
    let rows = 20;
    let nulls = [3_usize, 4, 19];
    let required: Int64Array = (0..rows as i64)
        .map(|row| (!nulls.contains(&(row as usize))).then_some(row))
        .collect();
    let batch = Batch::random(&mut Columns::new(14), rows, 3).with("required", Arc::new(required));
    let of_row = vec![0; rows];
    let states = States::initial(1);
    let updated = accumulate(&mut window(guest), &batch, &of_row, &states.columns).unwrap();
    let found: Vec<usize> = updated
        .rejects
        .iter()
        .map(|reject| reject.row as usize)
        .collect();
    assert_eq!(found, nulls);
    for reject in &updated.rejects {
        assert_eq!(reject.code, "null");
        assert!(reject.detail.contains("required"), "{}", reject.detail);
    }
    let nulls = nulls.map(|row| row as u32);
    let expected = states.accumulate(&batch, &of_row, &nulls);
    same(&all(&states, updated), &expected.columns);
}

pub(super) fn a_null_deep_inside_where_there_may_be_none_is_rejected_with_its_path(
    guest: &Component,
) {
    // A source that says of nothing that it is never null, as most do.
    let fields = opening("{}").event_schema;
    let fields: Vec<Field> = fields
        .fields()
        .iter()
        .map(|field| nullable(field))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let opening = Opening {
        event_schema: Arc::clone(&schema),
        ..opening("{}")
    };
    let limits = limits();
    let opened = guest.open_windowed(&opening, &limits, "conformance");
    let mut transform = HOST.lanes.block_on(opened).unwrap();

    let rows = [
        (r#"{"point": {"x": 1}, "visits": []}"#, None),
        (
            r#"{"point": {"y": 1}, "visits": []}"#,
            Some("`place.point.x`"),
        ),
        (r#"{"point": {"x": 1}}"#, Some("`place.visits`")),
        // What is null has nothing inside.
        (r#"{"point": null, "visits": [null]}"#, None),
        ("null", None),
    ];
    let mut lines: Vec<String> = Vec::new();
    for (place, _) in rows {
        lines.push(format!(r#"{{"required": 1, "place": {place}}}"#));
    }
    // The same in a list, behind one that is fine.
    for (place, _) in rows {
        let fine = rows[0].0;
        lines.push(format!(r#"{{"required": 1, "places": [{fine}, {place}]}}"#));
    }
    let mut reader = arrow_json::ReaderBuilder::new(Arc::clone(&schema))
        .build(std::io::Cursor::new(lines.join("\n")))
        .unwrap();
    let columns = reader.next().unwrap().unwrap().columns().to_vec();
    let batch = Batch {
        columns,
        rows: lines.len(),
    };
    let of_row = vec![0; lines.len()];
    let states = States::initial(1);
    let updated = accumulate(&mut transform, &batch, &of_row, &states.columns).unwrap();
    let inside = |path: &str| path.replace("place.", "places.item.");
    let paths = rows.iter().map(|(_, path)| path.map(str::to_owned));
    let paths = paths.chain(rows.iter().map(|(_, path)| path.map(inside)));
    let expected: Vec<(u32, String)> = paths
        .enumerate()
        .filter_map(|(row, path)| Some((row as u32, path?)))
        .collect();
    assert_eq!(updated.rejects.len(), expected.len());
    for (reject, (row, path)) in updated.rejects.iter().zip(&expected) {
        assert_eq!((reject.row, reject.code.as_str()), (*row, "null"));
        assert!(reject.detail.contains(path), "{}", reject.detail);
    }
    let counts = updated.states[0].as_primitive::<UInt64Type>();
    assert_eq!(counts.values(), &[(lines.len() - expected.len()) as u64]);
}

/// The field, and all that are in it, with nulls.
fn nullable(field: &Field) -> Field {
    let inside = |field: &Arc<Field>| Arc::new(nullable(field));
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(inside(item)),
        DataType::LargeList(item) => DataType::LargeList(inside(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inside).collect()),
        other => other.clone(),
    };
    Field::new(field.name(), data_type, true)
}

pub(super) fn an_error_of_the_author_fails_the_call_and_is_shown(guest: &Component) {
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

pub(super) fn figures_are_counted_once(guest: &Component) {
    // A reject after them makes an SDK that computes states anew do so: what it counts then counts once all the same.
    let commands = [(0, "count"), (1, "log"), (2, "count"), (4, "reject")];
    let batch = Batch::random(&mut Columns::new(16), 5, 0)
        .with(
            "float64",
            Arc::new(Float64Array::from(vec![1.5, 0.0, 2.5, 0.0, 0.0])),
        )
        .commanded(&commands);
    let mut transform = window(guest);
    accumulate(&mut transform, &batch, &[0; 5], &States::initial(1).columns).unwrap();
    counted(&transform.figures());
    let mut mapper = mapper(guest);
    HOST.lanes.block_on(mapper.map(&batch.columns, 5)).unwrap();
    counted(&mapper.figures());
}

pub(super) fn lines_are_written_once(guest: &Component) {
    let commands = [(0, "log"), (1, "reject"), (2, "log"), (3, "reject")];
    let texts = StringArray::from(vec![Some("first \u{1f980}"), None, None, None]);
    let batch = Batch::random(&mut Columns::new(22), 4, 0)
        .with("utf8", Arc::new(texts))
        .commanded(&commands);
    let mut transform = window(guest);
    let states = States::initial(1).columns;
    let lines = lines(|| drop(accumulate(&mut transform, &batch, &[0; 4], &states).unwrap()));
    assert_eq!(lines, ["INFO hello first \u{1f980}", "INFO hello nothing"]);
    let mut mapper = mapper(guest);
    let mapping = || drop(HOST.lanes.block_on(mapper.map(&batch.columns, 4)).unwrap());
    assert_eq!(self::lines(mapping), lines);
}

/// What transforms log meanwhile, each line with its level.
fn lines(work: impl FnOnce()) -> Vec<String> {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let written = written.0.lock().unwrap();
    let text = String::from_utf8(written.clone()).unwrap();
    let of_transforms = text
        .lines()
        .filter_map(|line| line.split_once(" transform: "));
    of_transforms
        .map(|(level, line)| {
            // The name of the transform stands behind the line.
            let line = line.split(" transform=").next().unwrap();
            format!("{} {line}", level.trim())
        })
        .collect()
}

/// Where lines go.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[track_caller]
fn counted(figures: &penstock::transform::Figures) {
    assert_eq!(figures.counts.get("rows_counted"), Some(&2));
    let seen = &figures.observations["float64_seen"];
    assert_eq!((seen.count, seen.sum), (2, 4.0));
    assert_eq!((figures.clock_reads, figures.random_reads), (0, 0));
}

pub(super) fn an_error_anywhere_fails_the_call_and_is_shown(guest: &Component) {
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

pub(super) fn configuration_is_refused(guest: &Component) {
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

pub(super) fn columns_that_do_not_fit_are_named(guest: &Component) {
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

pub(super) fn a_mapper_filters_multiplies_and_rejects(guest: &Component) {
    let commands = [(2, "reject"), (50, "log"), (99, "reject")];
    let batch = Batch::random(&mut Columns::new(17), 100, 3).commanded(&commands);
    copied(guest, &batch, &[2, 99]);
}

pub(super) fn a_mapper_takes_as_many_rows_as_there_may_be(guest: &Component) {
    let commands = [(40_000, "reject"), (65_535, "reject")];
    let batch = Batch::random(&mut Columns::new(23), 65_536, 5).commanded(&commands);
    copied(guest, &batch, &[40_000, 65_535]);
}

/// Asserts that a mapper makes the copies that it should, and rejects just these rows.
fn copied(guest: &Component, batch: &Batch, rejected: &[u32]) {
    let rows = batch.rows;
    let mut source = Vec::new();
    let mut copies = Vec::new();
    for row in (0..rows).filter(|row| !rejected.contains(&(*row as u32))) {
        for copy in 0..(batch.required().value(row) & 3) as u32 {
            source.push(row as u32);
            copies.push(copy);
        }
    }
    let mapped = HOST
        .lanes
        .block_on(mapper(guest).map(&batch.columns, rows))
        .unwrap();
    assert_eq!(mapped.source_row, source);
    let found: Vec<u32> = mapped.rejects.iter().map(|reject| reject.row).collect();
    assert_eq!(found, rejected);
    let columns = mapped.output.columns();
    assert_eq!(
        columns[0].as_primitive::<UInt32Type>().values(),
        copies.as_slice()
    );
    let picked =
        |column: &ArrayRef| take(column, &UInt32Array::from(source.clone()), None).unwrap();
    assert_eq!(columns[1].as_ref(), picked(&batch.columns[1]).as_ref());
    let expected: Vec<ArrayRef> = batch.values().iter().map(picked).collect();
    for ((found, expected), field) in columns[2..].iter().zip(&expected).zip(given()) {
        assert_eq!(
            one_nan(found).as_ref(),
            one_nan(expected).as_ref(),
            "{}",
            field.name()
        );
    }
}

pub(super) fn states_of_earlier_versions_are_taken_over(guest: &Component) {
    let fixed = [0, 1, u64::MAX, 1 << 63, (1 << 53) + 1, 255];
    for (version, groups) in [(1, 0), (1, 1), (1, 6), (2, 9), (1, 4096), (2, 257)] {
        let counts = (0..groups as u64).map(|at| match fixed.get(at as usize) {
            Some(count) => *count,
            None => at.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        });
        let counts: ArrayRef = Arc::new(UInt64Array::from_iter_values(counts));
        let (schema, states) = earlier(version, &counts);
        let mut transform = window(guest);
        let migrated = migrate(&mut transform, version, &schema, &states, groups).unwrap();
        let mut expected = States::initial(groups);
        expected.columns[0] = counts;
        same(&migrated, &expected.columns);

        // What was taken over is worked on as any other.
        let batch = Batch::random(&mut Columns::new(version.into()), 50.min(groups), 3);
        let of_row: Vec<u32> = (0..batch.rows as u32).rev().collect();
        let few = expected
            .columns
            .iter()
            .map(|column| column.slice(0, batch.rows));
        // None of them has been counted as often as can be.
        let mut few: Vec<ArrayRef> = few.collect();
        few[0] = Arc::new(UInt64Array::from_iter_values(7..7 + batch.rows as u64));
        let (schema, states) = earlier(version, &few[0]);
        let migrated = migrate(&mut transform, version, &schema, &states, batch.rows).unwrap();
        let before = States { columns: few };
        let updated = accumulate(&mut transform, &batch, &of_row, &migrated).unwrap();
        let after = before.accumulate(&batch, &of_row, &[]);
        same(&all(&before, updated), &after.columns);
    }
}

pub(super) fn earlier_states_that_do_not_fit_are_named(guest: &Component) {
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1", "2"]));
    for (name, column) in [("total", counts), ("count", texts)] {
        let field = Field::new(name, column.data_type().clone(), false);
        let schema = Schema::new(vec![field]);
        let migrated = migrate(&mut window(guest), 1, &schema, &[column], 2);
        let error = migrated.expect_err("it does not fit").to_string();
        assert!(error.contains("count"), "{error}");
    }
}

pub(super) fn a_null_in_an_earlier_state_is_refused(guest: &Component) {
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![Some(1), None, Some(3)]));
    let schema = Schema::new(vec![Field::new("count", DataType::UInt64, true)]);
    let migrated = migrate(&mut window(guest), 1, &schema, &[counts], 3);
    match migrated.expect_err("there is no such count") {
        CallError::Failure { kind, message, .. } => {
            assert_eq!(kind, "bad input");
            assert!(message.contains("`count`"), "{message}");
        }
        other => panic!("{other}"),
    }
    // That it could be null does not matter where it is not.
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2]));
    migrate(&mut window(guest), 1, &schema, &[counts], 2).unwrap();
}

/// States as an earlier version had them. Those of version 2 have other columns around the one that counts.
fn earlier(version: u32, counts: &ArrayRef) -> (Schema, Vec<ArrayRef>) {
    const SKIP: usize = 3;
    let count = Field::new("count", DataType::UInt64, false);
    if version == 1 {
        return (Schema::new(vec![count]), vec![Arc::clone(counts)]);
    }
    let mut random = Columns::new(18);
    let others = ["places", "utf8"].map(|name| {
        let field = given().into_iter().find(|field| field.name() == name);
        let field = field.expect("it is one of the values");
        let column = random.column(field.data_type(), counts.len() + SKIP, 3);
        (field, column.slice(SKIP, counts.len()))
    });
    let [(places, place), (utf8, text)] = &others;
    let schema = Schema::new(vec![places.clone(), count, utf8.clone()]);
    (
        schema,
        vec![Arc::clone(place), Arc::clone(counts), Arc::clone(text)],
    )
}

fn migrate(
    transform: &mut Instance,
    version: u32,
    schema: &Schema,
    states: &[ArrayRef],
    groups: usize,
) -> Result<Vec<ArrayRef>, CallError> {
    HOST.lanes
        .block_on(transform.migrate(version, schema, states, groups))
}

/// Sends each row through a state and an output of its own.
fn echo(guest: &Component, batch: &Batch, rows: usize) {
    let mut transform = window(guest);
    let of_row: Vec<u32> = (0..rows as u32).collect();
    let initial = States::initial(rows);
    let updated = accumulate(&mut transform, batch, &of_row, &initial.columns).unwrap();
    let expected = initial.accumulate(batch, &of_row, &[]);
    same(&all(&initial, updated), &expected.columns);
    let finished = finish(&mut transform, &expected.columns).unwrap();
    same(finished.output.columns(), &expected.finish().1);
}

/// The states of all groups after a call that may have named only those that changed.
fn all(before: &States, updated: Updated) -> Vec<ArrayRef> {
    let Some(changed) = updated.changed else {
        return updated.states;
    };
    let groups = before.columns[0].len();
    let mut from: Vec<u32> = (0..groups as u32).collect();
    for (at, group) in changed.iter().enumerate() {
        from[*group as usize] = (groups + at) as u32;
    }
    let from = UInt32Array::from(from);
    let columns = before.columns.iter().zip(&updated.states);
    columns
        .map(|(before, after)| {
            let both = arrow::compute::concat(&[before.as_ref(), after.as_ref()]).unwrap();
            take(&both, &from, None).unwrap()
        })
        .collect()
}

fn keys(groups: usize) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from_iter_values((0..groups).map(key)))]
}

fn accumulate(
    transform: &mut Instance,
    batch: &Batch,
    of_row: &[u32],
    states: &[ArrayRef],
) -> Result<Updated, CallError> {
    let len = states[0].len();
    let keys = keys(len);
    let rows = Rows {
        columns: &batch.columns,
        group_of_row: &of_row.to_vec().into(),
    };
    let groups = Groups {
        keys: &keys,
        states,
        len,
    };
    HOST.lanes.block_on(transform.accumulate(rows, groups))
}

fn merge(transform: &mut Instance, earlier: &[ArrayRef], later: &[ArrayRef]) -> Vec<ArrayRef> {
    try_merge(transform, earlier, later).unwrap()
}

fn try_merge(
    transform: &mut Instance,
    earlier: &[ArrayRef],
    later: &[ArrayRef],
) -> Result<Vec<ArrayRef>, CallError> {
    let len = earlier[0].len();
    let keys = keys(len);
    let groups = Groups {
        keys: &keys,
        states: earlier,
        len,
    };
    let merged = HOST.lanes.block_on(transform.merge(groups, later))?;
    Ok(merged.states)
}

fn finish(transform: &mut Instance, states: &[ArrayRef]) -> Result<Finished, CallError> {
    let len = states[0].len();
    let bound = |which: usize| -> ArrayRef {
        let moments = (0..len).map(|group| bounds(group)[which]);
        Arc::new(TimestampMicrosecondArray::from_iter_values(moments).with_timezone("UTC"))
    };
    let bounds = [bound(0), bound(1)];
    let keys = keys(len);
    let groups = Groups {
        keys: &keys,
        states,
        len,
    };
    HOST.lanes.block_on(transform.finish(groups, &bounds))
}
