//! What a pipeline asks of a transform, whatever it is made of.
//!
//! The sandbox implements [`Mapper`] and [`Windowed`] for components; the benchmark implements `Windowed` for the same
//! transform compiled natively, so that both run through one and the same pipeline. Data comes in
//! and goes out as plain Arrow arrays; nothing here knows of Wasm.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Range};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::future::BoxFuture;
use serde::Serialize;

/// The Arrow type of every event time inside Penstock: microseconds since 1970-01-01T00:00:00Z.
pub fn event_time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The schema of the `bounds` of windows: start (inside) and end (outside), never null.
pub fn bounds_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("window_start", event_time_type(), false),
        Field::new("window_end", event_time_type(), false),
    ]))
}

/// What the host calls columns of its own in the output of windows; `revision` and `withdrawn` only
/// where windows may be corrected, but neither a transform nor a key ever has them.
pub const HOST_COLUMNS: [&str; 4] = ["window_start", "window_end", "revision", "withdrawn"];

/// Bytes that the rows of some columns take, without what lies around them in shared buffers.
pub fn bytes_of(columns: &[ArrayRef]) -> usize {
    columns.iter().map(|column| bytes_of_column(column)).sum()
}

fn bytes_of_column(column: &dyn Array) -> usize {
    fn span<O: OffsetSizeTrait>(offsets: &[O]) -> Range<usize> {
        let first = offsets.first().map_or(0, |first| first.as_usize());
        let last = offsets.last().map_or(0, |last| last.as_usize());
        first..last
    }
    let rows = column.len();
    let validity = column.nulls().map_or(0, |_| rows.div_ceil(8));
    let items = |items: &ArrayRef, span: Range<usize>| {
        bytes_of_column(&items.slice(span.start, span.len()))
    };
    let values = match column.data_type() {
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8 => 4 * rows + span(column.as_string::<i32>().offsets()).len(),
        DataType::Binary => 4 * rows + span(column.as_binary::<i32>().offsets()).len(),
        DataType::LargeUtf8 => 8 * rows + span(column.as_string::<i64>().offsets()).len(),
        DataType::LargeBinary => 8 * rows + span(column.as_binary::<i64>().offsets()).len(),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            4 * rows + items(list.values(), span(list.offsets()))
        }
        DataType::LargeList(_) => {
            let list = column.as_list::<i64>();
            8 * rows + items(list.values(), span(list.offsets()))
        }
        DataType::Struct(_) => bytes_of(column.as_struct().columns()),
        DataType::FixedSizeBinary(width) => *width as usize * rows,
        // No other type crosses to a transform.
        other => other.primitive_width().unwrap_or(0) * rows,
    };
    validity + values
}

/// What a transform learns when it is opened.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The pipeline's `config` as JSON text; `{}` if it has none.
    pub config: String,
    /// The pipeline's name of its event.
    pub event: String,
    /// All columns that the source has.
    pub event_schema: SchemaRef,
    /// The columns of the pipeline's key, none of them ever null.
    pub key: SchemaRef,
}

/// What a windowed transform says of itself.
#[derive(Debug, Clone)]
pub struct WindowedSpec {
    /// The columns of the event that it wants, in the order in which it wants them.
    pub columns: Vec<String>,
    /// The schema of a group's state.
    pub state: SchemaRef,
    /// The version of the state's schema and meaning.
    pub state_version: u32,
    /// The older state versions that it can take over.
    pub migrates_from: Vec<u32>,
    /// One row of `state`: what a group starts from.
    pub initial: RecordBatch,
    /// The schema of what `finish` returns.
    pub output: SchemaRef,
}

/// What a mapper says of itself.
#[derive(Debug, Clone)]
pub struct MapperSpec {
    /// The columns of the event that it wants, in the order in which it wants them.
    pub columns: Vec<String>,
    /// The schema of what `map` returns.
    pub output: SchemaRef,
}

/// What `map` gives back.
#[derive(Debug, Clone)]
pub struct Mapped {
    /// Output rows, in the output's schema.
    pub output: RecordBatch,
    /// For each output row the input row that it came from, never falling. An input row that is
    /// neither here nor rejected was filtered.
    pub source_row: Vec<u32>,
    /// The refused rows, rising by row. None of them is in `source_row`.
    pub rejects: Vec<Reject>,
}

/// How the codes of rows begin on which a transform fails. No transform can give such a code: those have no colon.
pub const POISON: &str = "poison:";

impl Reject {
    /// Whether the transform failed on it, rather than refused it.
    pub fn is_poison(&self) -> bool {
        self.code.starts_with(POISON)
    }
}

/// A row that a transform refused, or a row or group on which it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The row's number in the input of the call, or the group's.
    pub row: u32,
    /// The short name by which such rejects are counted.
    pub code: String,
    /// What a person needs to see.
    pub detail: String,
}

/// What `accumulate` gives back.
#[derive(Debug, Clone)]
pub struct Updated {
    /// The new states, as columns of the state's schema.
    pub states: Vec<ArrayRef>,
    /// For each row of `states` the group that it belongs to, rising; `None`: every group, in order.
    pub changed: Option<Vec<u32>>,
    /// The refused rows, rising by row.
    pub rejects: Vec<Reject>,
}

/// What `merge` gives back.
#[derive(Debug, Clone)]
pub struct Merged {
    /// A state for each pair, as columns of the state's schema.
    pub states: Vec<ArrayRef>,
    /// The pairs on which the transform failed, rising by row. Each has its earlier state in `states`.
    pub failed: Vec<Reject>,
}

impl From<Vec<ArrayRef>> for Merged {
    fn from(states: Vec<ArrayRef>) -> Self {
        Self {
            states,
            failed: Vec::new(),
        }
    }
}

/// What `finish` gives back.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Output rows, in the output's schema.
    pub output: RecordBatch,
    /// For each output row the group that it came from, never falling.
    pub source_group: Vec<u32>,
    /// The groups on which the transform failed, rising by row. None of them is in `source_group`.
    pub failed: Vec<Reject>,
}

/// Rows for `accumulate`, already assigned to groups.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The columns that the spec named, in that order, all of one length.
    pub columns: &'a [ArrayRef],
    /// The group of each row: an index into `keys` and `states`.
    pub group_of_row: &'a ScalarBuffer<u32>,
}

/// Groups: a row of key and a row of state for each.
#[derive(Debug, Clone, Copy)]
pub struct Groups<'a> {
    /// The key's columns.
    pub keys: &'a [ArrayRef],
    /// The state's columns.
    pub states: &'a [ArrayRef],
    /// How many groups there are.
    pub len: usize,
}

/// Why a call of a transform failed. The instance may not be called again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The transform ran into one of the host's limits.
    #[error(
        "{call}: the transform ran into its limit `{name}`: {limit} allowed, {current} used, {requested} more asked for{}",
        advice(name)
    )]
    Limit {
        /// The function that was called.
        call: &'static str,
        /// The limit's name: in the pipeline's `[limits]`, if it may be set there.
        name: &'static str,
        /// What is allowed, with its unit.
        limit: String,
        /// What was used when it happened.
        current: String,
        /// What was asked for on top of it.
        requested: String,
    },
    /// It trapped: a panic, an out-of-bounds access, an unreachable instruction.
    #[error("{call}: the transform trapped: {reason}")]
    Trap {
        /// The function that was called.
        call: &'static str,
        /// The reason and the backtrace.
        reason: String,
    },
    /// It waits for something that never comes.
    #[error(
        "{call}: the transform ran into its limit `wall_without_progress`: it waits for a clock or a stream, and there is nothing behind WASI that could wake it; build it without sleeping, timers and blocking input"
    )]
    Waits {
        /// The function that was called.
        call: &'static str,
    },
    /// The host has no room for another instance. That is no fault of the transform.
    #[error(
        "{call}: this host has room for {instances} instances of transforms at once (`instances`), and no more is left ({what}); lower `run.lanes`, or run fewer pipelines in one process"
    )]
    Exhausted {
        /// The function that was called.
        call: &'static str,
        /// How many instances the host has room for.
        instances: usize,
        /// Which part of that room is used up.
        what: String,
    },
    /// The host has no memory left for transforms. That is no fault of this one.
    #[error(
        "{call}: this host has no memory left for transforms (`guest_memory`): {what}; raise `PENSTOCK_GUEST_MEMORY` if the machine has more, lower `run.lanes`, or run fewer pipelines in one process"
    )]
    NoMemory {
        /// The function that was called.
        call: &'static str,
        /// How much there is, and how much was asked for.
        what: String,
    },
    /// The component is something else than what the pipeline runs.
    #[error("{call}: the component exports {exported}, and not `{wanted}`")]
    NotExported {
        /// The function that was called.
        call: &'static str,
        /// The interface that it should export.
        wanted: &'static str,
        /// Those that it does.
        exported: String,
    },
    /// It returned a failure of its own accord.
    #[error("{call}: the transform says: {kind}: {message}")]
    Failure {
        /// The function that was called.
        call: &'static str,
        /// `bad configuration`, `bad input` or `internal failure`.
        kind: &'static str,
        /// Its message.
        message: String,
    },
    /// What it returned breaks the contract.
    #[error("{call}: the transform returned something that breaks the contract: {what}")]
    Hostile {
        /// The function that was called.
        call: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

impl CallError {
    /// Whether the host had no room, which is no fault of the transform and may pass.
    pub fn is_pressure(&self) -> bool {
        matches!(self, Self::Exhausted { .. } | Self::NoMemory { .. })
    }

    /// Whether the transform failed so often that it was given up: it would again.
    pub fn is_given_up(&self) -> bool {
        matches!(self, Self::Limit { name, .. } if matches!(*name, "failures" | "recovery_cpu"))
    }
}

/// The limits that a pipeline may set and a call may run into.
pub(crate) const SETTINGS: [&str; 14] = [
    "columns",
    "cpu_per_call",
    "failures",
    "keys",
    "memory",
    "name_bytes",
    "nesting",
    "output_bytes",
    "output_rows",
    "recovery_cpu",
    "reject_codes",
    "state_bytes",
    "state_per_group",
    "table_elements",
];

/// What to do about a limit; the others are the host's own, and hold for everybody.
fn advice(name: &str) -> String {
    if SETTINGS.contains(&name) {
        format!("; raise `limits.{name}` in the pipeline if that is what it needs")
    } else {
        ", and no pipeline can raise it".into()
    }
}

/// What a transform has told the operator, over all calls that succeeded.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Counters by name.
    pub counts: BTreeMap<String, u64>,
    /// Histograms by name.
    pub observations: BTreeMap<String, Observations>,
    /// Log lines and metrics that were over a limit.
    pub dropped: u64,
    /// Reads of a clock that stands still.
    pub clock_reads: u64,
    /// Reads of random bytes that are always the same.
    pub random_reads: u64,
}

/// The values of a histogram, in short.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Observations {
    /// How many there were.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Default for Observations {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
        }
    }
}

impl Observations {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
    }
}

impl Figures {
    /// Adds what another instance of the same transform has told. Of new names no more than there may be, `names`: a
    /// transform is not to have more of them for failing often.
    pub fn take_in(&mut self, other: &Self, names: usize) {
        let mut other = other.clone();
        let dropped = keep_known(&mut other.counts, &self.counts, names)
            + keep_known(&mut other.observations, &self.observations, names);
        *self += &other;
        self.dropped += dropped;
    }
}

/// Leaves out of `more` what has a name that is not known where there is no room for others; says how many.
fn keep_known<T>(more: &mut BTreeMap<String, T>, known: &BTreeMap<String, T>, names: usize) -> u64 {
    let before = more.len();
    let mut room = names.saturating_sub(known.len());
    more.retain(|name, _| {
        let is_known = known.contains_key(name);
        let is_kept = is_known || room > 0;
        room -= usize::from(is_kept && !is_known);
        is_kept
    });
    (before - more.len()) as u64
}

impl AddAssign<&Self> for Figures {
    fn add_assign(&mut self, other: &Self) {
        for (name, amount) in &other.counts {
            let count = self.counts.entry(name.clone()).or_default();
            *count = count.saturating_add(*amount);
        }
        for (name, more) in &other.observations {
            let all = self.observations.entry(name.clone()).or_default();
            all.count += more.count;
            all.sum += more.sum;
            all.least = all.least.min(more.least);
            all.greatest = all.greatest.max(more.greatest);
        }
        self.dropped += other.dropped;
        self.clock_reads += other.clock_reads;
        self.random_reads += other.random_reads;
    }
}

/// A mapper, opened and ready: rows in, rows out.
///
/// It keeps nothing between calls but what `open` gave it, and any cut of the same rows into calls
/// gives the same rows.
pub trait Mapper: Send {
    /// What it has told the operator so far.
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// Maps `rows` rows, whose columns are those that the spec named, in that order.
    fn map<'a>(
        &'a mut self,
        columns: &'a [ArrayRef],
        rows: usize,
    ) -> BoxFuture<'a, Result<Mapped, CallError>>;
}

/// A windowed transform, opened and ready.
///
/// It keeps nothing between calls but what `open` gave it.
pub trait Windowed: Send {
    /// What it has told the operator so far.
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// Calls that failed so far and were made up for.
    fn failed_calls(&self) -> u64 {
        0
    }

    /// The schema of its states, if it can say.
    fn state(&self) -> Option<SchemaRef> {
        None
    }

    /// Hears of a window that it cannot finish, because it failed at a merge before.
    ///
    /// # Errors
    ///
    /// That was one too many: it is given up.
    fn lose(&mut self, _last: &Reject) -> Result<(), CallError> {
        Ok(())
    }

    /// From now on it is tried on windows that another transform could not finish, or no longer: what fails of those is
    /// not held against it.
    fn forgive(&mut self, _is_forgiven: bool) {}

    /// Adds rows to groups: a left fold in row order.
    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>>;

    /// Combines, row by row, states of an earlier slice of event time with those of a later one.
    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Merged, CallError>>;

    /// Turns states of closed windows into output. `bounds` is as [`bounds_schema`] says.
    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_instances_have_no_more_names_than_one() {
        let of = |names: &[&str]| Figures {
            counts: names.iter().map(|name| ((*name).to_owned(), 1)).collect(),
            ..Figures::default()
        };
        let mut all = of(&["a", "b"]);
        all.take_in(&of(&["b", "c", "d"]), 3);
        let counts = [("a", 1), ("b", 2), ("c", 1)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!((all.counts, all.dropped), (BTreeMap::from(counts), 1));
    }

    #[test]
    fn only_what_a_pipeline_may_set_is_advised() {
        let exceeded = |name| CallError::Limit {
            call: "open",
            name,
            limit: "1".into(),
            current: "1".into(),
            requested: "1".into(),
        };
        let settable = exceeded("memory").to_string();
        assert!(settable.contains("raise `limits.memory`"), "{settable}");
        let fixed = exceeded("stack").to_string();
        assert!(!fixed.contains("limits."), "{fixed}");
    }
}
