//! Runs a [`Mapper`] or a [`ColumnarMapper`] over the columns of a batch.

use super::{first_event_only, groups, opened, states};
use crate::buffers::{Batch, Cursor};
use crate::columnar::{EventRows, Rejects, null};
use crate::contract::{self, Columns, Failure, Mapped, MapperSpec, Opening};
use crate::mapper::{ColumnarMapper, IntoRows, MappedRows, Mapper};
use crate::schema::{Layout, schema_of};
use crate::value::Record;
use crate::window::Config;

/// The functions of the contract's `mapper` interface, over borrowed buffers.
pub trait Mapping: Sized + 'static {
    /// Opens an instance, and says what the host must know of it.
    fn open(opening: &Opening) -> Result<(Self, MapperSpec), Failure>;

    /// Maps rows. `input` holds the columns that [`MapperSpec::needs`] names.
    fn map(&self, event: u32, input: Batch<'_>) -> Result<Mapped, Failure>;
}

/// An opened mapper that sees one row at a time.
pub struct MapByRows<M> {
    mapper: M,
    input: Layout,
}

/// The struct of one row that a mapper makes.
pub(crate) type OutputOf<'a, M> = <<M as Mapper>::Output<'a> as IntoRows<'a>>::Row;

impl<M: Mapper> Mapping for MapByRows<M> {
    fn open(opening: &Opening) -> Result<(Self, MapperSpec), Failure> {
        let mapper = M::open(&Config::new(&opening.config))?;
        let (input, spec) = open::<M::Row<'_>, OutputOf<'_, M>>(opening)?;
        Ok((Self { mapper, input }, spec))
    }

    fn map(&self, event: u32, input: Batch<'_>) -> Result<Mapped, Failure> {
        first_event_only(event)?;
        let count = input.rows as usize;
        let rows = <M::Row<'_> as Record<'_>>::bind(&mut Cursor::new(&self.input, input), count)?;
        if states::look_for_nulls::<M::Row<'_>>(&rows) {
            self.run::<true>(&rows, count)
        } else {
            self.run::<false>(&rows, count)
        }
    }
}

impl<M: Mapper> MapByRows<M> {
    /// The hot loop. With `NULLS` false the compiler drops all looks at validity.
    fn run<'a, const NULLS: bool>(
        &'a self,
        rows: &<M::Row<'a> as Record<'a>>::Reader,
        count: usize,
    ) -> Result<Mapped, Failure> {
        let mut mapped = MappedRows::<OutputOf<'a, M>>::new(count);
        let mut rejects = Rejects::default();
        for row in 0..count {
            let Some(values) = <M::Row<'a> as Record<'a>>::get::<NULLS>(rows, row) else {
                rejects.add(row, null::<M::Row<'a>>(rows, row));
                continue;
            };
            match self.mapper.map(values) {
                Ok(outputs) => outputs.each(|output| mapped.push(row, &output)),
                Err(reject) => rejects.add(row, reject),
            }
        }
        Ok(seal(mapped, rejects.into_vec()))
    }
}

/// An opened mapper that sees a batch as columns.
pub struct MapByColumns<M> {
    mapper: M,
    input: Layout,
}

impl<M: ColumnarMapper> Mapping for MapByColumns<M> {
    fn open(opening: &Opening) -> Result<(Self, MapperSpec), Failure> {
        let mapper = M::open(&Config::new(&opening.config))?;
        let (input, spec) = open::<M::Row<'_>, M::Output<'_>>(opening)?;
        Ok((Self { mapper, input }, spec))
    }

    fn map(&self, event: u32, input: Batch<'_>) -> Result<Mapped, Failure> {
        first_event_only(event)?;
        let count = input.rows as usize;
        let rows = EventRows::<M::Row<'_>> {
            columns: <M::Row<'_> as Record<'_>>::bind(&mut Cursor::new(&self.input, input), count)?,
            len: count,
        };
        let mut mapped = MappedRows::new(count);
        let mut rejects = Rejects::default();
        self.mapper.map(&rows, &mut mapped, &mut rejects)?;
        let rejects = rejects.into_sorted();
        check(&mapped.source_row, &rejects, input.rows)?;
        Ok(seal(mapped, rejects))
    }
}

fn open<'a, R: Record<'a>, O: Record<'a>>(
    opening: &Opening,
) -> Result<(Layout, MapperSpec), Failure> {
    let (input, needs) = opened::select_event::<R>(opening)?;
    let spec = MapperSpec {
        needs: vec![needs],
        output: schema_of::<O>(),
        options: Vec::new(),
    };
    Ok((input, spec))
}

fn seal<'a, O: Record<'a>>(mapped: MappedRows<'a, O>, rejects: Vec<contract::Reject>) -> Mapped {
    let rows = mapped.source_row.len();
    let mut buffers = Vec::new();
    O::seal(mapped.writer, &mut buffers);
    Mapped {
        output: Columns {
            rows: u32::try_from(rows).expect("a batch has fewer rows than 32 bits count"),
            buffers,
        },
        source_row: groups::to_bytes(mapped.source_row),
        rejects,
    }
}

/// What the author of a columnar mapper upholds.
fn check(source_row: &[u32], rejects: &[contract::Reject], rows: u32) -> Result<(), Failure> {
    let wrong = |what: String| Err(Failure::Internal(format!("the mapper {what}")));
    if !source_row.is_sorted() {
        return wrong("pushed outputs out of the order of their rows".to_owned());
    }
    let rejected = rejects.last().map(|reject| reject.row);
    if let Some(row) = rejected.max(source_row.last().copied())
        && row >= rows
    {
        return wrong(format!("named row {row}, and there are {rows} rows"));
    }
    match rejects
        .iter()
        .find(|reject| source_row.binary_search(&reject.row).is_ok())
    {
        Some(both) => wrong(format!("rejected row {} and mapped it too", both.row)),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
