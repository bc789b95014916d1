//! A native transform whose states tell what became of every row: a trace of the rows, a sum that
//! is not associative, a count and the last value. Its rejects depend on the state that a row meets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array,
};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
    UInt64Type,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::transform::{
    CallError, Finished, Groups, Reject, Rows, Updated, Windowed, WindowedSpec,
};

/// The value of a row that the transform takes without changing its state.
pub(super) const IGNORED: i64 = 9;

/// What a row is to the transform.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Item {
    /// Tells rows apart in a trace.
    pub(super) id: u64,
    pub(super) value: Option<i64>,
    pub(super) amount: f64,
}

/// A group's state.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    pub(super) trace: String,
    pub(super) sum: f64,
    pub(super) count: u64,
    pub(super) last: Option<i64>,
}

impl State {
    /// Adds a row, or says why not; a refused row leaves the state as it was.
    pub(super) fn add(&mut self, item: Item) -> Result<(), &'static str> {
        let value = item.value.ok_or("null")?;
        if value == IGNORED {
            return Ok(());
        }
        if self.last == Some(value) {
            return Err("repeated");
        }
        let before = if self.trace.is_empty() { "" } else { "," };
        self.trace += &format!("{before}{}", item.id);
        self.sum += item.amount;
        self.count += 1;
        self.last = Some(value);
        Ok(())
    }

    /// What an earlier and a later state make together.
    pub(super) fn merge(&self, later: &Self) -> Self {
        let traces = [self.trace.as_str(), later.trace.as_str()];
        let traces = traces.into_iter().filter(|trace| !trace.is_empty());
        Self {
            trace: traces.collect::<Vec<_>>().join(","),
            sum: self.sum + later.sum,
            count: self.count + later.count,
            last: later.last.or(self.last),
        }
    }

    /// The rows of output of a window with this state. With `odd` there may be none, or two.
    pub(super) fn finish(&self, (start, end): (i64, i64), odd: bool) -> Vec<Output> {
        let width = end - start;
        let state = self.clone();
        match self.count % 7 {
            3 if odd => Vec::new(),
            5 if odd => vec![
                Output { state, width },
                Output {
                    state: Self::default(),
                    width: -width,
                },
            ],
            _ => vec![Output { state, width }],
        }
    }
}

/// A row of output: a state, and how long its window is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Output {
    pub(super) state: State,
    pub(super) width: i64,
}

fn state_fields() -> Vec<Field> {
    vec![
        Field::new("trace", DataType::Utf8, false),
        Field::new("sum", DataType::Float64, false),
        Field::new("count", DataType::UInt64, false),
        Field::new("last", DataType::Int64, true),
    ]
}

fn output_schema() -> SchemaRef {
    let width = Field::new("width", DataType::Int64, false);
    Arc::new(Schema::new([state_fields(), vec![width]].concat()))
}

/// What the transform says of itself.
pub(super) fn spec() -> WindowedSpec {
    let state = Arc::new(Schema::new(state_fields()));
    let initial = RecordBatch::try_new(Arc::clone(&state), columns(&[State::default()])).unwrap();
    WindowedSpec {
        columns: ["id", "value", "amount", "key"].map(Into::into).to_vec(),
        state,
        state_version: 1,
        migrates_from: Vec::new(),
        initial,
        output: output_schema(),
    }
}

/// Rows as the columns that the spec names.
pub(super) fn input(items: &[(Item, i64)]) -> Vec<ArrayRef> {
    let ids = UInt64Array::from_iter_values(items.iter().map(|(item, _)| item.id));
    let values: Int64Array = items.iter().map(|(item, _)| item.value).collect();
    let amounts = Float64Array::from_iter_values(items.iter().map(|(item, _)| item.amount));
    let keys = Int64Array::from_iter_values(items.iter().map(|(_, key)| *key));
    vec![
        Arc::new(ids),
        Arc::new(values),
        Arc::new(amounts),
        Arc::new(keys),
    ]
}

fn columns(states: &[State]) -> Vec<ArrayRef> {
    let traces = StringArray::from_iter_values(states.iter().map(|state| &state.trace));
    let sums = Float64Array::from_iter_values(states.iter().map(|state| state.sum));
    let counts = UInt64Array::from_iter_values(states.iter().map(|state| state.count));
    let lasts: Int64Array = states.iter().map(|state| state.last).collect();
    vec![
        Arc::new(traces),
        Arc::new(sums),
        Arc::new(counts),
        Arc::new(lasts),
    ]
}

/// The states, or outputs without their width, that columns hold.
pub(super) fn states(columns: &[ArrayRef]) -> Vec<State> {
    let traces = columns[0].as_string::<i32>();
    let sums = columns[1].as_primitive::<Float64Type>();
    let counts = columns[2].as_primitive::<UInt64Type>();
    let lasts = columns[3].as_primitive::<Int64Type>();
    let state = |row| State {
        trace: traces.value(row).to_owned(),
        sum: sums.value(row),
        count: counts.value(row),
        last: lasts.is_valid(row).then(|| lasts.value(row)),
    };
    (0..traces.len()).map(state).collect()
}

/// How many groups the transform was asked to merge, over all calls.
pub(super) type Merged = Arc<AtomicU64>;

/// The transform.
pub(super) struct Traced {
    odd: bool,
    calls: u64,
    merged: Merged,
}

impl Traced {
    /// With `odd` some windows give no row and others two.
    pub(super) fn new(odd: bool) -> (Self, Merged) {
        let merged = Merged::default();
        let traced = Self {
            odd,
            calls: 0,
            merged: Arc::clone(&merged),
        };
        (traced, merged)
    }

    fn add(&mut self, rows: Rows<'_>, groups: Groups<'_>) -> Updated {
        let ids = rows.columns[0].as_primitive::<UInt64Type>();
        let values = rows.columns[1].as_primitive::<Int64Type>();
        let amounts = rows.columns[2].as_primitive::<Float64Type>();
        let own_keys = rows.columns[3].as_primitive::<Int64Type>();
        let keys = groups.keys[0].as_primitive::<Int64Type>();
        let mut states = states(groups.states);
        assert_eq!((states.len(), keys.len()), (groups.len, groups.len));
        assert_eq!(ids.len(), rows.group_of_row.len());
        let mut met = vec![false; groups.len];
        let mut applied = vec![false; groups.len];
        let mut rejects = Vec::new();
        for (row, group) in rows.group_of_row.iter().enumerate() {
            let group = *group as usize;
            assert_eq!(
                own_keys.value(row),
                keys.value(group),
                "a row of another key"
            );
            met[group] = true;
            let item = Item {
                id: ids.value(row),
                value: values.is_valid(row).then(|| values.value(row)),
                amount: amounts.value(row),
            };
            match states[group].add(item) {
                Ok(()) => applied[group] |= item.value != Some(IGNORED),
                Err(code) => rejects.push(Reject {
                    row: row as u32,
                    code: code.into(),
                    detail: item.id.to_string(),
                }),
            }
        }
        assert!(met.iter().all(|met| *met), "a group without rows");
        // A transform may give back all states or the changed ones, as it likes.
        self.calls += 1;
        let changed = (!self.calls.is_multiple_of(3)).then(|| {
            let changed = applied.iter().enumerate().filter(|(_, applied)| **applied);
            changed.map(|(group, _)| group as u32).collect::<Vec<u32>>()
        });
        if let Some(changed) = &changed {
            let of = |group: &u32| states[*group as usize].clone();
            states = changed.iter().map(of).collect();
        }
        Updated {
            states: columns(&states),
            changed,
            rejects,
        }
    }

    fn finished(&self, groups: Groups<'_>, bounds: &[ArrayRef]) -> Finished {
        let states = states(groups.states);
        let starts = bounds[0].as_primitive::<TimestampMicrosecondType>();
        let ends = bounds[1].as_primitive::<TimestampMicrosecondType>();
        assert_eq!((states.len(), starts.len()), (groups.len, groups.len));
        let (mut outputs, mut source_group) = (Vec::new(), Vec::new());
        for (group, state) in states.iter().enumerate() {
            let finished = state.finish((starts.value(group), ends.value(group)), self.odd);
            source_group.extend(vec![group as u32; finished.len()]);
            outputs.extend(finished);
        }
        let widths = Int64Array::from_iter_values(outputs.iter().map(|output| output.width));
        let states: Vec<State> = outputs.into_iter().map(|output| output.state).collect();
        let mut columns = columns(&states);
        columns.push(Arc::new(widths));
        Finished {
            output: RecordBatch::try_new(output_schema(), columns).unwrap(),
            source_group,
            failed: Vec::new(),
        }
    }
}

impl Windowed for Traced {
    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        let updated = self.add(rows, groups);
        async move { Ok(updated) }.boxed()
    }

    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<crate::transform::Merged, CallError>> {
        self.merged.fetch_add(earlier.len as u64, Ordering::Relaxed);
        let (earlier, later) = (states(earlier.states), states(later));
        assert_eq!(earlier.len(), later.len());
        let pairs = earlier.iter().zip(&later);
        let merged: Vec<State> = pairs.map(|(earlier, later)| earlier.merge(later)).collect();
        async move { Ok(columns(&merged).into()) }.boxed()
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        let finished = self.finished(groups, bounds);
        async move { Ok(finished) }.boxed()
    }
}
