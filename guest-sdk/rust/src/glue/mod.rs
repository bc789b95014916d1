//! Between the contract and the author's traits: in come borrowed buffers, out go owned ones. The
//! same code runs in Wasm, in native tests and in benchmarks; only `component` knows which.
//!
//! It never keeps anything between calls but what `open` found.

mod by_columns;
mod by_rows;
#[cfg(target_arch = "wasm32")]
pub(crate) mod component;
mod groups;
mod mapping;
mod opened;
pub(crate) mod states;
mod undo;

pub use by_columns::ByColumns;
pub use by_rows::ByRows;
pub use groups::Groups;
pub use mapping::{MapByColumns, MapByRows, Mapping};

use crate::buffers::Batch;
use crate::contract::{Columns, Failure, Field, Finished, Opening, Updated, WindowedSpec};

/// The functions of the contract's `windowed` interface, over borrowed buffers.
pub trait Windowed: Sized + 'static {
    /// Opens an instance, and says what the host must know of it.
    fn open(opening: &Opening) -> Result<(Self, WindowedSpec), Failure>;

    /// Adds rows to groups. `input` holds the columns that [`WindowedSpec::needs`] names.
    fn accumulate(
        &self,
        event: u32,
        input: Batch<'_>,
        groups: Groups<'_>,
        keys: Batch<'_>,
        states: Batch<'_>,
    ) -> Result<Updated, Failure>;

    /// Combines states row by row.
    fn merge(
        &self,
        keys: Batch<'_>,
        earlier: Batch<'_>,
        later: Batch<'_>,
    ) -> Result<Columns, Failure>;

    /// Turns states of closed windows into output.
    fn finish(
        &self,
        keys: Batch<'_>,
        bounds: Batch<'_>,
        states: Batch<'_>,
    ) -> Result<Finished, Failure>;
}

/// The function of the contract's `migration` interface, over borrowed buffers.
pub trait Migrating: Windowed {
    /// The versions it takes.
    const FROM: &'static [u32];

    /// Turns old states into new ones.
    fn migrate(
        &self,
        version: u32,
        schema: &[Field],
        states: Batch<'_>,
    ) -> Result<Columns, Failure>;
}

fn first_event_only(event: u32) -> Result<(), Failure> {
    if event == 0 {
        Ok(())
    } else {
        Err(Failure::Internal(format!(
            "the host sent rows of event number {event}, but offered only one event"
        )))
    }
}

#[cfg(test)]
mod tests;
