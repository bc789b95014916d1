//! Unit tests of a transform: rows go in as structs, outputs come back as structs, and between them
//! runs the very code that runs in the component, columns and all.
//!
//! ```
//! # use penstock_sdk::prelude::*;
//! # #[derive(Row)]
//! # struct Offer { accepted: bool }
//! # #[derive(State, Clone, Default)]
//! # struct Counts { offers: u64, accepted: u64 }
//! # #[derive(Output, Debug, PartialEq)]
//! # struct Acceptance { share: f64 }
//! # #[derive(Default)]
//! # struct DriverAcceptProportion;
//! # impl Window for DriverAcceptProportion {
//! #     type Row<'a> = Offer;
//! #     type State = Counts;
//! #     type Output = Option<Acceptance>;
//! #     fn accumulate(&self, counts: &mut Counts, offer: Offer) -> Result<(), Reject> {
//! #         counts.offers += 1;
//! #         counts.accepted += u64::from(offer.accepted);
//! #         Ok(())
//! #     }
//! #     fn merge(&self, a: Counts, b: Counts) -> Counts {
//! #         Counts { offers: a.offers + b.offers, accepted: a.accepted + b.accepted }
//! #     }
//! #     fn finish(&self, counts: &Counts, _: Bounds) -> Option<Acceptance> {
//! #         (counts.offers > 0).then(|| Acceptance { share: counts.accepted as f64 / counts.offers as f64 })
//! #     }
//! # }
//! use penstock_sdk::testing::Native;
//!
//! let mut window = Native::<DriverAcceptProportion>::open("{}")?;
//! window.accumulate([Offer { accepted: true }, Offer { accepted: false }]);
//! assert_eq!(window.finish(), [Acceptance { share: 0.5 }]);
//! # Ok::<(), Failure>(())
//! ```

mod mapper;

pub use mapper::{MappedBatch, MapperDriver, NativeColumnarMapper, NativeMapper, TypedMapping};

use crate::buffers::Batch;
use crate::columnar::ColumnarWindow;
use crate::contract::{Columns, Event, Failure, Opening, Reject, WindowedSpec};
use crate::glue::{ByColumns, ByRows, Groups, Windowed, states};
use crate::schema::{Layout, schema_of};
use crate::value::Record;
use crate::window::{Bounds, Emit, KeyedWindow};

/// Drives a [`crate::Window`] or a [`KeyedWindow`].
pub type Native<W> = Driver<ByRows<W>>;

/// Drives a [`ColumnarWindow`].
pub type NativeColumnar<W> = Driver<ByColumns<W>>;

/// A transform whose types are known.
pub trait Typed: Windowed {
    /// The key.
    type Key<'a>: Record<'a>;
    /// A row.
    type Row<'a>: Record<'a>;
    /// The state.
    type State: for<'a> Record<'a>;
    /// What `finish` gives.
    type Output: Emit;
}

impl<W: KeyedWindow> Typed for ByRows<W> {
    type Key<'a> = W::Key<'a>;
    type Row<'a> = W::Row<'a>;
    type State = W::State;
    type Output = W::Output;
}

impl<W: ColumnarWindow> Typed for ByColumns<W> {
    type Key<'a> = W::Key<'a>;
    type Row<'a> = W::Row<'a>;
    type State = W::State;
    type Output = W::Output;
}

/// One row of output.
pub type OutputRow<T> = <<T as Typed>::Output as Emit>::Row;

/// Drives a transform as the host would, with all its groups in every call.
///
/// Its functions panic where a call fails: in a test that is what should happen.
pub struct Driver<T: Typed> {
    transform: T,
    spec: WindowedSpec,
    /// One row each.
    keys: Vec<Columns>,
    states: Columns,
}

impl<T: Typed> Driver<T> {
    /// Opens the transform with a configuration, as JSON text. The event has the columns of the
    /// row, the key those of the key. There is one group, unless the transform looks at its key:
    /// then there are none until [`Driver::add_group`].
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
            key: schema_of::<T::Key<'_>>(),
            options: Vec::new(),
        };
        let (transform, spec) = T::open(&opening)?;
        let mut driver = Self {
            transform,
            spec,
            keys: Vec::new(),
            states: states::write(std::iter::empty::<&T::State>()),
        };
        if <T::Key<'_> as Record<'_>>::NAMES.is_empty() {
            driver.push_group(Columns {
                rows: 1,
                buffers: Vec::new(),
            });
        }
        Ok(driver)
    }

    /// What the transform said when it was opened.
    pub fn spec(&self) -> &WindowedSpec {
        &self.spec
    }

    /// Adds a group with this key, and gives its number. The first is 0.
    pub fn add_group(&mut self, key: T::Key<'_>) -> u32 {
        self.push_group(columns(std::iter::once(key)));
        self.states.rows - 1
    }

    /// Adds rows to group 0, in one call, and gives those that were rejected.
    pub fn accumulate<'r>(&mut self, rows: impl IntoIterator<Item = T::Row<'r>>) -> Vec<Reject> {
        self.accumulate_into(rows.into_iter().map(|row| (0, row)))
    }

    /// Adds rows to the groups beside them, in one call, and gives those that were rejected.
    pub fn accumulate_into<'r>(
        &mut self,
        rows: impl IntoIterator<Item = (u32, T::Row<'r>)>,
    ) -> Vec<Reject> {
        let (groups, rows): (Vec<u32>, Vec<T::Row<'r>>) = rows.into_iter().unzip();
        self.accumulate_columns(&columns(rows.into_iter()), &groups)
    }

    /// Adds rows that come as columns, and so may have nulls where the row has no `Option`.
    pub fn accumulate_columns(&mut self, rows: &Columns, groups: &[u32]) -> Vec<Reject> {
        let keys = join::<T>(&self.keys);
        let updated = self
            .transform
            .accumulate(
                0,
                batch(rows, &slices(rows)),
                Groups::from(groups),
                batch(&keys, &slices(&keys)),
                batch(&self.states, &slices(&self.states)),
            )
            .unwrap_or_else(|failure| panic!("accumulate failed: {failure:?}"));
        match updated.changed {
            None => self.states = updated.states,
            Some(changed) => {
                let mut all = self.read_states(&self.states);
                let changed = Groups::from_bytes(&changed).expect("the SDK writes whole numbers");
                for (group, state) in changed.iter().zip(self.read_states(&updated.states)) {
                    all[group as usize] = state;
                }
                self.states = states::write(all.iter());
            }
        }
        updated.rejects
    }

    /// Merges the state of a group with that of another, which is the later one. The result is the
    /// first group's; the other starts anew.
    pub fn merge(&mut self, earlier: u32, later: u32) {
        let mut all = self.read_states(&self.states);
        let [one, other] =
            [earlier, later].map(|group| states::write(std::iter::once(&all[group as usize])));
        let key = &self.keys[earlier as usize];
        let merged = self
            .transform
            .merge(
                batch(key, &slices(key)),
                batch(&one, &slices(&one)),
                batch(&other, &slices(&other)),
            )
            .unwrap_or_else(|failure| panic!("merge failed: {failure:?}"));
        all[earlier as usize] = self.read_states(&merged).remove(0);
        all[later as usize] = self.read_states(&self.spec.initial).remove(0);
        self.states = states::write(all.iter());
    }

    /// The output of all groups, for a window of the first ten minutes of 1970.
    pub fn finish(&self) -> Vec<OutputRow<T>> {
        self.finish_with(Bounds {
            start: 0,
            end: 600_000_000,
        })
    }

    /// The output of all groups.
    pub fn finish_with(&self, bounds: Bounds) -> Vec<OutputRow<T>> {
        let groups = self.states.rows as usize;
        let starts = bounds.start.to_le_bytes().repeat(groups);
        let ends = bounds.end.to_le_bytes().repeat(groups);
        let keys = join::<T>(&self.keys);
        let finished = self
            .transform
            .finish(
                batch(&keys, &slices(&keys)),
                Batch {
                    rows: self.states.rows,
                    buffers: &[&[], &starts, &[], &ends],
                },
                batch(&self.states, &slices(&self.states)),
            )
            .unwrap_or_else(|failure| panic!("finish failed: {failure:?}"));
        read::<OutputRow<T>>(&finished.output)
    }

    /// The states of all groups.
    pub fn states(&self) -> Vec<T::State> {
        self.read_states(&self.states)
    }

    fn read_states(&self, states: &Columns) -> Vec<T::State> {
        read::<T::State>(states)
    }

    fn push_group(&mut self, key: Columns) {
        self.keys.push(key);
        let mut all = self.read_states(&self.states);
        all.extend(self.read_states(&self.spec.initial));
        self.states = states::write(all.iter());
    }
}

fn join<T: Typed>(keys: &[Columns]) -> Columns {
    let layout = Layout::of::<T::Key<'_>>().unwrap_or_else(|failure| panic!("{failure:?}"));
    let slices: Vec<_> = keys.iter().map(slices).collect();
    let keys = keys.iter().zip(&slices).flat_map(|(key, slices)| {
        states::read::<T::Key<'_>>(&layout, batch(key, slices))
            .unwrap_or_else(|failure| panic!("{failure:?}"))
    });
    columns(keys)
}

/// Writes rows as columns.
pub fn columns<'a, R: Record<'a>>(rows: impl Iterator<Item = R>) -> Columns {
    let mut writer = R::writer(0);
    let mut count = 0;
    for row in rows {
        R::put(&row, &mut writer);
        count += 1;
    }
    let mut buffers = Vec::new();
    R::seal(writer, &mut buffers);
    Columns {
        rows: count,
        buffers,
    }
}

/// Reads columns as records. Panics if they are not laid out as the contract says.
pub fn read<R: for<'a> Record<'a>>(columns: &Columns) -> Vec<R> {
    let layout = Layout::of::<R>().unwrap_or_else(|failure| panic!("{failure:?}"));
    states::read::<R>(&layout, batch(columns, &slices(columns)))
        .unwrap_or_else(|failure| panic!("{failure:?}"))
}

fn slices(columns: &Columns) -> Vec<&[u8]> {
    columns.buffers.iter().map(Vec::as_slice).collect()
}

fn batch<'a>(columns: &Columns, buffers: &'a [&'a [u8]]) -> Batch<'a> {
    Batch {
        rows: columns.rows,
        buffers,
    }
}
