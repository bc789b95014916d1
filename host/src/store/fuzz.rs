//! What is kept in stores, as a broken disk or another build may leave it.

use arrow::array::Array;

use crate::fuzz::{columns, run};
use crate::store::Value;
use crate::store::item::bytes::Cursor;
use crate::store::item::value::ValueEncoder;
use crate::store::item::{self, Attribute, types};

#[test]
fn fuzz_value() {
    let mut seeds = Vec::new();
    for column in columns() {
        let encoder = ValueEncoder::new(&column).unwrap();
        for row in 0..column.len() {
            let mut bytes = Vec::new();
            if !encoder.is_null(row) {
                encoder.encode(row, &mut bytes);
            }
            seeds.push(bytes);
        }
    }
    run("value", seeds, |input| {
        if let Ok(value) = Value::decode(input) {
            value
                .array()
                .to_data()
                .validate_full()
                .expect("it was checked");
            let _ = value.to_json();
        }
    });
}

#[test]
fn fuzz_value_type() {
    let mut seeds = Vec::new();
    for column in columns() {
        let mut bytes = Vec::new();
        types::write_type(column.data_type(), &mut bytes).unwrap();
        seeds.push(bytes);
    }
    run("value_type", seeds, |input| {
        let _ = types::read_type(&mut Cursor::new(input));
    });
}

#[test]
fn fuzz_item() {
    // Two attributes: a removal, and one of the same order with a value of one byte.
    let seed = [
        &[1_u8, 1, 3][..],
        b"a@1",
        &[0; 8],
        &[2, 5, 2, 3],
        b"b@1",
        &[1, 7],
    ]
    .concat();
    run("item", vec![seed], |input| {
        if let Ok(attributes) = Attribute::read_all(input) {
            let merged = item::merge(&[input, input]).expect("it was read");
            assert_eq!(
                Attribute::read_all(&merged).unwrap().len(),
                attributes.len()
            );
        }
    });
}
