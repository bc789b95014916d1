//! The columns of the conformance guests: their schema, and rows of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, make_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Float64Type, Schema};

use crate::support::random::Columns;
use crate::support::types::every_type;

/// The event that is offered: the row's columns, in its order.
pub(super) fn event() -> Arc<Schema> {
    let mut fields = vec![
        Field::new("command", DataType::Utf8, true),
        Field::new("required", DataType::Int64, true),
    ];
    fields.extend(every_type());
    Arc::new(Schema::new(fields))
}

/// The values, as a guest gives them: without large types.
pub(super) fn given() -> Vec<Field> {
    every_type()
        .iter()
        .map(|field| {
            let small = match field.data_type() {
                DataType::LargeUtf8 => DataType::Utf8,
                DataType::LargeBinary => DataType::Binary,
                DataType::LargeList(item) => DataType::List(Arc::clone(item)),
                other => other.clone(),
            };
            Field::new(field.name(), small, true)
        })
        .collect()
}

/// Rows of the event.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) rows: usize,
}

impl Batch {
    /// Random ones, sliced out of more, so that bitmaps and offsets start somewhere in their buffers.
    pub(super) fn random(random: &mut Columns, rows: usize, nulls: u32) -> Self {
        const SKIP: usize = 3;
        let required = (0..(rows + SKIP) as i64).map(|row| row.wrapping_mul(0x0123_4567_89ab_cdef));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::new_null(rows + SKIP)),
            Arc::new(Int64Array::from_iter_values(required)),
        ];
        let values = every_type();
        let values = values
            .iter()
            .map(|field| random.column(field.data_type(), rows + SKIP, nulls));
        columns.extend(values);
        let columns = columns.iter().map(|column| column.slice(SKIP, rows));
        Self {
            columns: columns.collect(),
            rows,
        }
    }

    /// Some of the rows.
    pub(super) fn slice(&self, first: usize, rows: usize) -> Self {
        let columns = self.columns.iter().map(|column| column.slice(first, rows));
        Self {
            columns: columns.collect(),
            rows,
        }
    }

    /// The same with commands: the rows named have one, the others none.
    pub(super) fn commanded(mut self, commands: &[(usize, &str)]) -> Self {
        let mut column: Vec<Option<&str>> = vec![None; self.rows];
        commands
            .iter()
            .for_each(|(row, command)| column[*row] = Some(command));
        self.columns[0] = Arc::new(StringArray::from(column));
        self
    }

    /// The same with another column.
    pub(super) fn with(mut self, name: &str, column: ArrayRef) -> Self {
        let (at, field) = event()
            .fields()
            .find(name)
            .map(|(at, field)| (at, Arc::clone(field)))
            .unwrap();
        assert_eq!(column.len(), self.rows);
        self.columns[at] = cast(&column, field.data_type()).unwrap();
        self
    }

    /// A column of the event.
    pub(super) fn column(&self, name: &str) -> &ArrayRef {
        &self.columns[event().index_of(name).unwrap()]
    }

    /// `required` of each row.
    pub(super) fn required(&self) -> &Int64Array {
        self.columns[1].as_primitive()
    }

    /// The values, of the types in which a guest gives them.
    pub(super) fn values(&self) -> Vec<ArrayRef> {
        let values = self.columns[2..].iter().zip(given());
        values
            .map(|(column, field)| cast(column, field.data_type()).unwrap())
            .collect()
    }
}

/// A column in which every NaN is the same one.
pub(super) fn one_nan(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float16 => Arc::new(
            column
                .as_primitive::<Float16Type>()
                .unary::<_, Float16Type>(|value| {
                    if value.is_nan() {
                        Default::default()
                    } else {
                        value
                    }
                }),
        ),
        DataType::Float32 => Arc::new(
            column
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|value| if value.is_nan() { f32::NAN } else { value }),
        ),
        DataType::Float64 => Arc::new(
            column
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|value| if value.is_nan() { f64::NAN } else { value }),
        ),
        DataType::Struct(_) | DataType::List(_) => {
            let data = column.to_data();
            let children = data
                .child_data()
                .iter()
                .map(|child| one_nan(&make_array(child.clone())).to_data());
            let children = children.collect();
            make_array(data.into_builder().child_data(children).build().unwrap())
        }
        _ => Arc::clone(column),
    }
}
