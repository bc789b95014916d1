//! What is kept of windows, as a broken disk or another build may leave it.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema};

use super::{Codec, Progress};
use crate::fuzz::{columns, run};

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
        let _ = codec.decode_unfinished([(key, value)]);
        let _ = codec.decode_instants([input]);
        let _ = Codec::instant(input);
    });
}
