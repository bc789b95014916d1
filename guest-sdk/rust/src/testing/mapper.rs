//! Unit tests of a mapper.

use super::{batch, columns, slices};
use crate::buffers::Batch;
use crate::contract::{Columns, Event, Failure, MapperSpec, Opening, Reject};
use crate::glue::{Groups, MapByColumns, MapByRows, Mapping, states};
use crate::mapper::{ColumnarMapper, IntoRows, Mapper};
use crate::schema::{Layout, schema_of};
use crate::value::Record;

/// Drives a [`Mapper`].
pub type NativeMapper<M> = MapperDriver<MapByRows<M>>;

/// Drives a [`ColumnarMapper`].
pub type NativeColumnarMapper<M> = MapperDriver<MapByColumns<M>>;

/// A mapper whose types are known.
pub trait TypedMapping: Mapping {
    /// A row.
    type Row<'a>: Record<'a>;
    /// A row of output.
    type Output<'a>: Record<'a>;
}

impl<M: Mapper> TypedMapping for MapByRows<M> {
    type Row<'a> = M::Row<'a>;
    type Output<'a> = <M::Output<'a> as IntoRows<'a>>::Row;
}

impl<M: ColumnarMapper> TypedMapping for MapByColumns<M> {
    type Row<'a> = M::Row<'a>;
    type Output<'a> = M::Output<'a>;
}

/// What became of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedBatch<O> {
    /// The rows that were made of them.
    pub rows: Vec<O>,
    /// For each of `rows` the number of the row that it came from.
    pub source_row: Vec<u32>,
    /// The rows that were rejected.
    pub rejects: Vec<Reject>,
}

/// Drives a mapper as the host would. Its functions panic where a call fails: in a test that is
/// what should happen.
pub struct MapperDriver<T: TypedMapping> {
    mapper: T,
    spec: MapperSpec,
}

impl<T: TypedMapping> MapperDriver<T> {
    /// Opens the mapper with a configuration, as JSON text. The event has the columns of the row.
    pub fn open(config: &str) -> Result<Self, Failure> {
        let mut schema = schema_of::<T::Row<'_>>();
        for field in &mut schema {
            field.nullable = true;
        }
        let opening = Opening {
            config: config.to_owned(),
            events: vec![Event {
                name: "event".to_owned(),
                schema,
            }],
            key: Vec::new(),
            options: Vec::new(),
        };
        let (mapper, spec) = T::open(&opening)?;
        Ok(Self { mapper, spec })
    }

    /// What the mapper said when it was opened.
    pub fn spec(&self) -> &MapperSpec {
        &self.spec
    }

    /// Maps rows, in one call.
    pub fn map<'r>(
        &self,
        rows: impl IntoIterator<Item = T::Row<'r>>,
    ) -> MappedBatch<T::Output<'static>> {
        self.map_columns(&columns(rows.into_iter()))
    }

    /// Maps rows that come as columns, and so may have nulls where the row has no `Option`.
    pub fn map_columns(&self, rows: &Columns) -> MappedBatch<T::Output<'static>> {
        let mapped = self
            .mapper
            .map(0, batch(rows, &slices(rows)))
            .unwrap_or_else(|failure| panic!("map failed: {failure:?}"));
        let source_row =
            Groups::from_bytes(&mapped.source_row).expect("the SDK writes whole numbers");
        MappedBatch {
            source_row: source_row.iter().collect(),
            rejects: mapped.rejects,
            rows: read::<T::Output<'static>>(mapped.output),
        }
    }
}

/// Rows that may borrow from their columns. A test ends soon, so the columns may as well stay.
fn read<R: Record<'static>>(columns: Columns) -> Vec<R> {
    let layout = Layout::of::<R>().unwrap_or_else(|failure| panic!("{failure:?}"));
    let buffers = columns.buffers.into_iter();
    let buffers: Vec<&'static [u8]> = buffers.map(|buffer| &*buffer.leak()).collect();
    let batch = Batch {
        rows: columns.rows,
        buffers: buffers.leak(),
    };
    states::read::<R>(Box::leak(Box::new(layout)), batch)
        .unwrap_or_else(|failure| panic!("{failure:?}"))
}
