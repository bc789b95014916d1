//! What an author writes: the traits of a window transform, and the small types in their
//! signatures.

use std::borrow::Cow;

use crate::contract::Failure;
use crate::old::OldStates;
use crate::value::Record;

/// A keyed aggregation over event-time windows.
///
/// It consists of three small functions over one row, one state and one output; windows, keys,
/// late rows and storage are the host's. The [crate's documentation](crate) walks through one.
///
/// A transform remembers nothing but the states: two instances that were opened with the same
/// configuration must do the same with the same rows, whatever each has seen before.
pub trait Window: Default + 'static {
    /// One row of the event: a struct with `#[derive(Row)]`, with a field for each column that the
    /// transform wants. The host decodes no others.
    type Row<'a>: Record<'a>;
    /// What is remembered of a group: a struct with `#[derive(State, Clone, Default)]`. Its default
    /// is what every group starts from, and must change nothing when it is merged with another.
    type State: for<'a> Record<'a> + Clone + Default + 'static;
    /// What `finish` gives for a closed window: a struct with `#[derive(Output)]`, or an `Option`,
    /// a `Vec` or an array of one.
    type Output: Emit;

    /// Raise it whenever the fields of the state, or what they mean, change.
    const STATE_VERSION: u32 = 1;

    /// Makes the transform from its configuration. Without this function there is none, and any
    /// other configuration than `{}` is refused.
    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        config.refuse()?;
        Ok(Self::default())
    }

    /// Adds a row to a state. A row that is rejected leaves no trace: whatever was done to the
    /// state before, the SDK undoes it.
    fn accumulate(&self, state: &mut Self::State, row: Self::Row<'_>) -> Result<(), Reject>;

    /// Combines the states of two slices of time of the same key. It must be associative.
    fn merge(&self, earlier: Self::State, later: Self::State) -> Self::State;

    /// Turns the state of a closed window into output.
    fn finish(&self, state: &Self::State, bounds: Bounds) -> Self::Output;
}

/// A [`Window`] that sees the key of each group. Everything else is the same. It is not in the
/// prelude: `use penstock_sdk::KeyedWindow;`.
pub trait KeyedWindow: Default + 'static {
    /// The key: a struct with `#[derive(Row)]`, with a field for each column of the pipeline's key
    /// that the transform wants to see.
    type Key<'a>: Record<'a>;
    /// As in [`Window::Row`].
    type Row<'a>: Record<'a>;
    /// As in [`Window::State`].
    type State: for<'a> Record<'a> + Clone + Default + 'static;
    /// As in [`Window::Output`].
    type Output: Emit;

    /// As in [`Window::STATE_VERSION`].
    const STATE_VERSION: u32 = 1;

    /// As in [`Window::open`].
    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        config.refuse()?;
        Ok(Self::default())
    }

    /// As in [`Window::accumulate`].
    fn accumulate(
        &self,
        key: Self::Key<'_>,
        state: &mut Self::State,
        row: Self::Row<'_>,
    ) -> Result<(), Reject>;

    /// As in [`Window::merge`].
    fn merge(&self, earlier: Self::State, later: Self::State) -> Self::State;

    /// As in [`Window::finish`].
    fn finish(&self, key: Self::Key<'_>, state: &Self::State, bounds: Bounds) -> Self::Output;
}

impl<W: Window> KeyedWindow for W {
    type Key<'a> = ();
    type Row<'a> = W::Row<'a>;
    type State = W::State;
    type Output = W::Output;

    const STATE_VERSION: u32 = W::STATE_VERSION;

    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        <W as Window>::open(config)
    }

    #[inline(always)]
    fn accumulate(
        &self,
        (): (),
        state: &mut Self::State,
        row: Self::Row<'_>,
    ) -> Result<(), Reject> {
        <W as Window>::accumulate(self, state, row)
    }

    #[inline(always)]
    fn merge(&self, earlier: Self::State, later: Self::State) -> Self::State {
        <W as Window>::merge(self, earlier, later)
    }

    #[inline(always)]
    fn finish(&self, (): (), state: &Self::State, bounds: Bounds) -> Self::Output {
        <W as Window>::finish(self, state, bounds)
    }
}

/// A transform that takes over the states which an older version of itself left behind. Export it
/// with `export_window!(Transform, migrating)`.
pub trait Migrate<State> {
    /// The older state versions that [`Migrate::migrate`] knows.
    const FROM: &'static [u32];

    /// Turns each of the old states into one of now. [`OldStates::map`] reads them as a struct with
    /// the old version's fields.
    fn migrate(&self, old: OldStates<'_>) -> Result<Vec<State>, Failure>;
}

/// A row that a transform refuses, and why. The host counts rejects by their code, and keeps the
/// row with the detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    pub(crate) code: Cow<'static, str>,
    pub(crate) detail: String,
}

impl Reject {
    /// Refuses a row. The code is short and stable, `negative-fare`; the detail is for a person.
    #[cold]
    pub fn new(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            detail: detail.into(),
        }
    }

    /// The name by which such rows are counted.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What a person needs to see.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// The window of an output: `start` is inside it, `end` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bounds {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub start: i64,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub end: i64,
}

impl Bounds {
    /// The length of the window in microseconds.
    pub fn length(&self) -> i64 {
        self.end.saturating_sub(self.start)
    }
}

/// The pipeline's configuration for this transform, as JSON text.
///
/// The SDK brings no JSON parser along, so that a transform without configuration stays small.
/// With `serde_json` among the transform's own dependencies:
///
/// ```ignore
/// fn open(config: &Config<'_>) -> Result<Self, Failure> {
///     serde_json::from_str(config.json()).map_err(|error| config.wrong(error))
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    json: &'a str,
}

impl<'a> Config<'a> {
    pub(crate) fn new(json: &'a str) -> Self {
        Self { json }
    }

    /// The JSON text; `{}` if the pipeline says nothing.
    pub fn json(&self) -> &'a str {
        self.json
    }

    /// Whether the pipeline says nothing.
    pub fn is_empty(&self) -> bool {
        let json = self.json.trim();
        json.is_empty()
            || json
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'))
                .is_some_and(|inside| inside.trim().is_empty())
    }

    /// Fails unless the configuration is empty.
    pub fn refuse(&self) -> Result<(), Failure> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Failure::BadConfig(format!(
                "this transform takes no configuration, but was given {}: remove `config` from the pipeline",
                self.json
            )))
        }
    }

    /// The failure to return when the configuration is wrong. Say what, and what would be right.
    pub fn wrong(&self, what: impl ToString) -> Failure {
        Failure::BadConfig(what.to_string())
    }
}

/// What `finish` may return: an output, an `Option`, a `Vec` or an array of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the output of a window",
    note = "an output is a struct with #[derive(Output)] that owns its data, or an Option, a Vec or an array of one"
)]
pub trait Emit {
    /// The struct of one output row.
    type Row: for<'a> Record<'a> + 'static;
    /// Hands over each row.
    fn emit(self, sink: impl FnMut(Self::Row));
}

impl<T: for<'a> Record<'a> + 'static> Emit for T {
    type Row = T;
    #[inline(always)]
    fn emit(self, mut sink: impl FnMut(T)) {
        sink(self);
    }
}

impl<T: for<'a> Record<'a> + 'static> Emit for Option<T> {
    type Row = T;
    #[inline(always)]
    fn emit(self, sink: impl FnMut(T)) {
        self.into_iter().for_each(sink);
    }
}

impl<T: for<'a> Record<'a> + 'static> Emit for Vec<T> {
    type Row = T;
    fn emit(self, sink: impl FnMut(T)) {
        self.into_iter().for_each(sink);
    }
}

impl<T: for<'a> Record<'a> + 'static, const N: usize> Emit for [T; N] {
    type Row = T;
    fn emit(self, sink: impl FnMut(T)) {
        self.into_iter().for_each(sink);
    }
}
