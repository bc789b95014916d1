//! Runs a [`KeyedWindow`], and so every [`crate::Window`]: the loop over rows.

use super::undo::Undo;
use super::{Groups, Migrating, Windowed, first_event_only, groups, opened, states};
use crate::buffers::{Batch, Cursor};
use crate::columnar::{Rejects, null};
use crate::contract::{Columns, Failure, Field, Finished, Opening, Updated, WindowedSpec};
use crate::old::OldStates;
use crate::value::Record;
use crate::window::{Config, KeyedWindow, Migrate};

/// An opened transform that sees one row at a time.
pub struct ByRows<W> {
    window: W,
    layouts: opened::Layouts,
}

impl<W: KeyedWindow> Windowed for ByRows<W> {
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
        let mut new_states = states::read::<W::State>(&self.layouts.states, states)?;
        let fold = Fold::<W> {
            window: &self.window,
            rows: <W::Row<'_> as Record<'_>>::bind(
                &mut Cursor::new(&self.layouts.input, input),
                input.rows as usize,
            )?,
            keys: <W::Key<'_> as Record<'_>>::bind(
                &mut Cursor::new(&self.layouts.keys, keys),
                group_count,
            )?,
            sent: <W::State as Record<'_>>::bind(
                &mut Cursor::new(&self.layouts.states, states),
                group_count,
            )?,
            groups,
        };
        let mut rejects = Rejects::default();
        if states::look_for_nulls::<W::Row<'_>>(&fold.rows) {
            fold.run::<true>(&mut new_states, &mut rejects)?;
        } else {
            fold.run::<false>(&mut new_states, &mut rejects)?;
        }

        let rejects = rejects.into_vec();
        let changed = groups.changed(group_count, &rejects);
        let states = match &changed {
            None => states::write(new_states.iter()),
            Some(changed) => {
                states::write(changed.iter().map(|&group| &new_states[group as usize]))
            }
        };
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

impl<W: KeyedWindow + Migrate<<W as KeyedWindow>::State>> Migrating for ByRows<W> {
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

/// Everything that a call looks at and does not change.
struct Fold<'a, W: KeyedWindow> {
    window: &'a W,
    rows: <W::Row<'a> as Record<'a>>::Reader,
    keys: <W::Key<'a> as Record<'a>>::Reader,
    sent: <W::State as Record<'a>>::Reader,
    groups: Groups<'a>,
}

impl<'a, W: KeyedWindow> Fold<'a, W> {
    /// The hot loop. With `NULLS` false the compiler drops all looks at validity, and what is left
    /// of a row is to read its values and to call the author's function.
    fn run<const NULLS: bool>(
        &self,
        states: &mut [W::State],
        rejects: &mut Rejects,
    ) -> Result<(), Failure> {
        let group_count = states.len();
        let mut undo = Undo::new();
        for (row, group) in self.groups.iter().enumerate() {
            let Some(state) = states.get_mut(group as usize) else {
                return Err(groups::no_such(group, group_count));
            };
            let Some(values) = <W::Row<'a> as Record<'a>>::get::<NULLS>(&self.rows, row) else {
                rejects.add(row, null::<W::Row<'a>>(&self.rows, row));
                continue;
            };
            if let Err(reject) = self.window.accumulate(self.key(group)?, state, values) {
                rejects.add(row, reject);
                *state = undo.state_before(
                    row,
                    self.groups,
                    group_count,
                    || self.state_as_sent(group),
                    |earlier, state| self.apply_again(earlier, group, state),
                )?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn key(&self, group: u32) -> Result<W::Key<'a>, Failure> {
        <W::Key<'a> as Record<'a>>::get::<true>(&self.keys, group as usize)
            .ok_or_else(|| states::unexpected_null::<W::Key<'a>>(&self.keys, group as usize))
    }

    fn state_as_sent(&self, group: u32) -> Result<W::State, Failure> {
        <W::State as Record<'a>>::get::<true>(&self.sent, group as usize)
            .ok_or_else(|| states::unexpected_null::<W::State>(&self.sent, group as usize))
    }

    fn apply_again(&self, row: usize, group: u32, state: &mut W::State) -> Result<(), Failure> {
        let Some(values) = <W::Row<'a> as Record<'a>>::get::<true>(&self.rows, row) else {
            return Ok(());
        };
        self.window.accumulate(self.key(group)?, state, values).map_err(|reject| {
            Failure::Internal(format!(
                "the transform took row {row} at first and then rejected it with `{}` ({}): what it does must depend on the state and the row alone",
                reject.code, reject.detail
            ))
        })
    }
}
