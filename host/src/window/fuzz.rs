//! What is kept of windows, as a broken disk or another build may leave it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};

use super::{Codec, Progress};
use crate::fuzz::run;

fn columns() -> Vec<ArrayRef> {
    let list = vec![Some(vec![Some(1), None]), None];
    vec![
        Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
        Arc::new(Float64Array::from(vec![-0.0, f64::NAN])),
        Arc::new(StringArray::from(vec![Some("zürich"), None])),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(list)),
    ]
}

#[test]
fn fuzz_window_records() {
    let schema = |columns: &[ArrayRef]| {
        let fields = columns
            .iter()
            .enumerate()
            .map(|(at, column)| Field::new(format!("c{at}"), column.data_type().clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    let key = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("city", DataType::Utf8, false),
    ]);
    let codec = Codec::new(&key, &schema(&columns())).unwrap();
    let progress = Progress {
        watermark: 1,
        closed: -1,
        next_session: i64::MAX,
    };
    let seeds = vec![progress.encode(), vec![0; 64], (0..=255).collect()];
    run("window_records", seeds, |input| {
        let _ = Progress::decode(input);
        let (key, value) = input.split_at(input.len() / 2);
        let _ = codec.decode([(key, value)]);
        let _ = codec.decode_instants([input]);
        let _ = Codec::instant(input);
    });
}
