//! Rows that are rejected: by the transform, and for a null where there may be none.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, ListArray, new_null_array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};
use penstock::sandbox::Component;
use penstock::transform::Opening;

use super::super::oracle::{States, same};
use super::super::values::{Batch, given};
use super::super::{limits, opening, window};
use super::{accumulate, all};
use crate::support::HOST;
use crate::support::random::Columns;

pub(in super::super) fn rejected_rows_leave_no_trace(guest: &Component) {
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

pub(in super::super) fn lists_that_a_state_took_over_and_changed_are_undone(guest: &Component) {
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

pub(in super::super) fn a_row_with_a_null_where_there_may_be_none_is_rejected(guest: &Component) {
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

pub(in super::super) fn a_null_deep_inside_where_there_may_be_none_is_rejected_with_its_path(
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
    let read: Vec<Field> = ["required", "place", "places"]
        .map(|name| schema.field_with_name(name).unwrap().clone())
        .into();
    let mut reader = arrow_json::ReaderBuilder::new(Arc::new(Schema::new(read)))
        .build(std::io::Cursor::new(lines.join("\n")))
        .unwrap();
    let read = reader.next().unwrap().unwrap();
    let columns = schema.fields().iter().map(|field| {
        let found = read.column_by_name(field.name());
        found.map_or_else(
            || new_null_array(field.data_type(), lines.len()),
            Arc::clone,
        )
    });
    let columns = columns.collect();
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
