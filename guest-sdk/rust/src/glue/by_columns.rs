//! Runs a [`ColumnarWindow`].

use super::{Groups, Migrating, Windowed, first_event_only, groups, opened, states};
use crate::buffers::{Batch, Cursor};
use crate::columnar::{ColumnarWindow, EventRows, Rejects, Rows};
use crate::contract::{Columns, Failure, Field, Finished, Opening, Updated, WindowedSpec};
use crate::old::OldStates;
use crate::value::{Record, StateRecord};
use crate::window::{Config, Migrate};

/// An opened transform that sees a batch as columns.
pub struct ByColumns<W> {
    window: W,
    layouts: opened::Layouts,
}

impl<W: ColumnarWindow> Windowed for ByColumns<W> {
    fn open(opening: &Opening) -> Result<(Self, WindowedSpec), Failure> {
        let window = W::open(&Config::new(&opening.config))?;
        let (layouts, spec) =
            opened::open::<W::Row<'_>, W::Key<'_>, W::State, W::Output>(opening, W::STATE_VERSION)?;
        Ok((Self { window, layouts }, spec))
    }

    fn accumulate(
        &self,
        event: u32,
        input: Batch<'_>,
        groups: Groups<'_>,
        keys: Batch<'_>,
        states: Batch<'_>,
    ) -> Result<Updated, Failure> {
        first_event_only(event)?;
        groups.expect(input.rows)?;
        opened::same_rows("keys", keys, states.rows)?;
        let group_count = states.rows as usize;
        let rows = Rows::<W::Row<'_>, W::Key<'_>> {
            events: EventRows {
                columns: <W::Row<'_> as Record<'_>>::bind(
                    &mut Cursor::new(&self.layouts.input, input),
                    groups.len(),
                )?,
                len: groups.len(),
            },
            keys: <W::Key<'_> as Record<'_>>::bind(
                &mut Cursor::new(&self.layouts.keys, keys),
                group_count,
            )?,
            groups: groups.checked(group_count)?,
            group_count,
        };
        let mut columns = read_columns::<W::State>(&self.layouts, states)?;

        let mut rejects = Rejects::default();
        self.window.accumulate(&rows, &mut columns, &mut rejects)?;

        let rejects = rejects.into_sorted();
        if let Some(reject) = rejects.last().filter(|reject| reject.row >= input.rows) {
            return Err(Failure::Internal(format!(
                "the transform rejected row {}, and there are {} rows",
                reject.row, input.rows
            )));
        }
        let changed = groups.changed(group_count, &rejects);
        let states = write_columns::<W::State>(&columns, group_count, changed.as_deref())?;
        Ok(Updated {
            states,
            changed: changed.map(groups::to_bytes),
            rejects,
        })
    }

    fn merge(
        &self,
        keys: Batch<'_>,
        earlier: Batch<'_>,
        later: Batch<'_>,
    ) -> Result<Columns, Failure> {
        opened::same_rows("keys", keys, earlier.rows)?;
        opened::merge::<W::State>(&self.layouts, earlier, later, |earlier, later| {
            self.window.merge(earlier, later)
        })
    }

    fn finish(
        &self,
        keys: Batch<'_>,
        bounds: Batch<'_>,
        states: Batch<'_>,
    ) -> Result<Finished, Failure> {
        opened::finish(&self.layouts, keys, bounds, states, |key, state, bounds| {
            self.window.finish(key, state, bounds)
        })
    }
}

impl<W: ColumnarWindow + Migrate<<W as ColumnarWindow>::State>> Migrating for ByColumns<W> {
    const FROM: &'static [u32] = <W as Migrate<_>>::FROM;

    fn migrate(
        &self,
        version: u32,
        schema: &[Field],
        states: Batch<'_>,
    ) -> Result<Columns, Failure> {
        let migrated = self.window.migrate(OldStates {
            version,
            schema,
            states,
        })?;
        opened::same_rows("old states", states, migrated.len() as u32)?;
        Ok(states::write(migrated.iter()))
    }
}

fn read_columns<S: StateRecord>(
    layouts: &opened::Layouts,
    states: Batch<'_>,
) -> Result<S::Columns, Failure> {
    let rows = states.rows as usize;
    let reader = <S as Record<'_>>::bind(&mut Cursor::new(&layouts.states, states), rows)?;
    S::read_columns(&reader, rows).ok_or_else(|| {
        let row = (0..rows).find(|row| <S as Record<'_>>::null_path(&reader, *row).is_some());
        states::unexpected_null::<S>(&reader, row.unwrap_or_default())
    })
}

fn write_columns<S: StateRecord>(
    columns: &S::Columns,
    rows: usize,
    keep: Option<&[u32]>,
) -> Result<Columns, Failure> {
    let mut buffers = Vec::new();
    S::write_columns(columns, rows, keep, &mut buffers).map_err(|name| {
        Failure::Internal(format!(
            "the transform changed the length of the state's column `{name}`: it must stay {rows}"
        ))
    })?;
    Ok(Columns {
        rows: keep.map_or(rows, <[u32]>::len) as u32,
        buffers,
    })
}
