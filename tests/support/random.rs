//! Random Arrow columns of any type of the contract.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, make_array, new_empty_array};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::DataType;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// A source of columns; the same seed gives the same.
pub(crate) struct Columns(pub(crate) Pcg64);

impl Columns {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg64::seed_from_u64(seed))
    }

    /// A column in which about one row in `one_in` is null; none for zero.
    pub(crate) fn column(&mut self, data_type: &DataType, rows: usize, one_in: u32) -> ArrayRef {
        make_array(self.data(data_type, rows, one_in))
    }

    fn data(&mut self, data_type: &DataType, rows: usize, one_in: u32) -> ArrayData {
        if rows == 0 {
            return new_empty_array(data_type).to_data();
        }
        let valid: Vec<bool> = (0..rows)
            .map(|_| one_in == 0 || self.0.random_range(0..one_in) > 0)
            .collect();
        let nulls = (one_in > 0).then(|| NullBuffer::from(valid));
        let builder = ArrayData::builder(data_type.clone()).len(rows).nulls(nulls);
        let builder = match data_type {
            DataType::Boolean => builder.add_buffer(self.bytes(rows.div_ceil(8))),
            DataType::Utf8 | DataType::Binary => {
                let (offsets, bytes) = self.texts(rows);
                let offsets: Vec<i32> = offsets.into_iter().map(|at| at as i32).collect();
                builder
                    .add_buffer(Buffer::from_vec(offsets))
                    .add_buffer(bytes)
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                let (offsets, bytes) = self.texts(rows);
                builder
                    .add_buffer(Buffer::from_vec(offsets))
                    .add_buffer(bytes)
            }
            DataType::List(item) => {
                let offsets: Vec<i32> =
                    self.offsets(rows).into_iter().map(|at| at as i32).collect();
                let items = offsets[rows] as usize;
                let child = self.data(
                    item.data_type(),
                    items,
                    if item.is_nullable() { 4 } else { 0 },
                );
                builder
                    .add_buffer(Buffer::from_vec(offsets))
                    .add_child_data(child)
            }
            DataType::LargeList(item) => {
                let offsets = self.offsets(rows);
                let items = offsets[rows] as usize;
                let child = self.data(
                    item.data_type(),
                    items,
                    if item.is_nullable() { 4 } else { 0 },
                );
                builder
                    .add_buffer(Buffer::from_vec(offsets))
                    .add_child_data(child)
            }
            DataType::Struct(fields) => fields.iter().fold(builder, |builder, field| {
                let one_in = if field.is_nullable() { 4 } else { 0 };
                builder.add_child_data(self.data(field.data_type(), rows, one_in))
            }),
            DataType::Decimal128(..) => {
                let values: Vec<i128> = (0..rows)
                    .map(|_| i128::from(self.0.random::<i64>()))
                    .collect();
                builder.add_buffer(Buffer::from_vec(values))
            }
            DataType::Decimal256(..) => {
                let values =
                    (0..rows).map(|_| arrow::datatypes::i256::from(self.0.random::<i64>()));
                builder.add_buffer(Buffer::from_vec(values.collect::<Vec<_>>()))
            }
            DataType::FixedSizeBinary(width) => {
                builder.add_buffer(self.bytes(rows * *width as usize))
            }
            fixed => {
                let width = fixed.primitive_width().expect("all others have a width");
                builder.add_buffer(self.bytes(rows * width))
            }
        };
        builder
            .align_buffers(true)
            .build()
            .expect("laid out as Arrow wants it")
    }

    fn bytes(&mut self, length: usize) -> Buffer {
        Buffer::from_vec(
            (0..length)
                .map(|_| self.0.random::<u8>())
                .collect::<Vec<_>>(),
        )
    }

    fn offsets(&mut self, rows: usize) -> Vec<i64> {
        let mut end = 0;
        let mut offsets = vec![0];
        for _ in 0..rows {
            end += self.0.random_range(0..4_i64);
            offsets.push(end);
        }
        offsets
    }

    fn texts(&mut self, rows: usize) -> (Vec<i64>, Buffer) {
        let (mut offsets, mut bytes) = (vec![0], String::new());
        for _ in 0..rows {
            for _ in 0..self.0.random_range(0..6) {
                bytes.push(['a', 'Z', '0', 'é', '漢', '🦀', '\0'][self.0.random_range(0..7)]);
            }
            offsets.push(bytes.len() as i64);
        }
        (offsets, Buffer::from_vec(bytes.into_bytes()))
    }
}

/// A shared array of one piece of another.
pub(crate) fn slice(columns: &[ArrayRef], first: usize, rows: usize) -> Vec<ArrayRef> {
    columns
        .iter()
        .map(|column| column.slice(first, rows))
        .map(|column| Arc::clone(&column))
        .collect()
}
