//! The second form of a window transform, for those who want the loop themselves.

use std::borrow::Cow;
use std::ops::Deref;

use crate::contract::{self, Failure};
use crate::value::{Record, StateRecord};
use crate::window::{Bounds, Config, Emit, Reject};

/// A [`crate::Window`] whose `accumulate` gets a batch as columns. Everything else is the same.
///
/// Measure before you take it: for a plain count per group the rows of a [`crate::Window`] are faster,
/// because a group's whole state lies in one place. What gains is work on a column as a whole.
///
/// Here the author upholds what the SDK otherwise does: a row with a null where there may be none
/// is rejected, a rejected row changes no state, and each group sees its rows in their order.
pub trait ColumnarWindow: Default + 'static {
    /// The key: `()`, or a struct with `#[derive(Row)]`.
    type Key<'a>: Record<'a>;
    /// As in [`crate::Window::Row`].
    type Row<'a>: Record<'a>;
    /// As in [`crate::Window::State`]; here it must be a struct with `#[derive(State)]`.
    type State: StateRecord + Default;
    /// As in [`crate::Window::Output`].
    type Output: Emit;

    /// As in [`crate::Window::STATE_VERSION`].
    const STATE_VERSION: u32 = 1;

    /// As in [`crate::Window::open`].
    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        config.refuse()?;
        Ok(Self::default())
    }

    /// Adds rows to the groups' states.
    ///
    /// `rows` has a view over each column, under the name of the row's field; `states` has a
    /// boxed slice with a value for each group, under the name of the state's field.
    fn accumulate<'a>(
        &self,
        rows: &Rows<'a, Self::Row<'a>, Self::Key<'a>>,
        states: &mut StateColumns<Self::State>,
        rejects: &mut Rejects,
    ) -> Result<(), Failure>;

    /// As in [`crate::Window::merge`].
    fn merge(&self, earlier: Self::State, later: Self::State) -> Self::State;

    /// As in [`crate::KeyedWindow::finish`].
    fn finish(&self, key: Self::Key<'_>, state: &Self::State, bounds: Bounds) -> Self::Output;
}

/// A boxed slice for each field of a state, with a value for each group.
pub type StateColumns<S> = <S as StateRecord>::Columns;

/// Rows of an event as columns: a view for each field of the row, under the field's name.
pub struct EventRows<'a, R: Record<'a>> {
    pub(crate) columns: R::Reader,
    pub(crate) len: usize,
}

impl<'a, R: Record<'a>> EventRows<'a, R> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A row as a struct. If something in it is null where that is not allowed, the reject to add
    /// for it.
    #[inline(always)]
    pub fn row(&self, row: usize) -> Result<R, Reject> {
        R::get::<true>(&self.columns, row).ok_or_else(|| null::<R>(&self.columns, row))
    }

    /// Whether there may be nulls, in any of the columns.
    pub fn has_nulls(&self) -> bool {
        R::has_nulls(&self.columns)
    }

    /// The reject to add for a row, if something in it is null where that is not allowed.
    pub fn null(&self, row: usize) -> Option<Reject> {
        R::null_path(&self.columns, row).map(|path| null_at(&path))
    }
}

impl<'a, R: Record<'a>> Deref for EventRows<'a, R> {
    type Target = R::Reader;
    fn deref(&self) -> &R::Reader {
        &self.columns
    }
}

/// A batch of rows as columns, each in a group: all that [`EventRows`] has, and the groups.
pub struct Rows<'a, R: Record<'a>, K: Record<'a> = ()> {
    pub(crate) events: EventRows<'a, R>,
    pub(crate) keys: K::Reader,
    pub(crate) groups: Cow<'a, [u32]>,
    pub(crate) group_count: usize,
}

impl<'a, R: Record<'a>, K: Record<'a>> Rows<'a, R, K> {
    /// The group of each row. Each is less than [`Rows::group_count`].
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// How many groups there are: how long the columns of the states and keys are.
    pub fn group_count(&self) -> usize {
        self.group_count
    }

    /// A view over each column of the key, with a row for each group.
    pub fn keys(&self) -> &K::Reader {
        &self.keys
    }
}

impl<'a, R: Record<'a>, K: Record<'a>> Deref for Rows<'a, R, K> {
    type Target = EventRows<'a, R>;
    fn deref(&self) -> &EventRows<'a, R> {
        &self.events
    }
}

/// The reject for a row in which something is null where that is not allowed.
#[cold]
pub(crate) fn null<'a, R: Record<'a>>(columns: &R::Reader, row: usize) -> Reject {
    null_at(&R::null_path(columns, row).unwrap_or_default())
}

fn null_at(path: &str) -> Reject {
    Reject::new(
        "null",
        format!("column `{}` is null", path.trim_start_matches('.')),
    )
}

/// The rows of a batch that were refused.
#[derive(Debug, Default)]
pub struct Rejects {
    rejects: Vec<contract::Reject>,
}

impl Rejects {
    /// Refuses a row. It must not change any state. The first reject of a row is the one that counts.
    #[cold]
    pub fn add(&mut self, row: usize, reject: Reject) {
        let row = u32::try_from(row).expect("a batch has fewer rows than 32 bits count");
        self.rejects.push(contract::Reject {
            row,
            code: reject.code.into_owned(),
            detail: reject.detail,
        });
    }

    /// As they were added.
    pub(crate) fn into_vec(self) -> Vec<contract::Reject> {
        self.rejects
    }

    /// In rising order, once for each row.
    pub(crate) fn into_sorted(mut self) -> Vec<contract::Reject> {
        if !self.rejects.is_sorted_by_key(|reject| reject.row) {
            self.rejects.sort_by_key(|reject| reject.row);
        }
        self.rejects.dedup_by_key(|reject| reject.row);
        self.rejects
    }
}
