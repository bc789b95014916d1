//! What windows give: rows of output with the key and the bounds of the window in front.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Array, new_null_array,
};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use futures::future::BoxFuture;

use super::WindowError;
use super::calls::{Calls, Purpose};
use super::state::RecordId;
use super::states::{NONE, States};
use crate::transform::{Finished, Groups, Reject, bounds_schema, bytes_of};

/// Rows of windows that were emitted.
#[derive(Debug, Clone)]
pub struct Emission {
    /// Which of the pipeline's lengths the windows have.
    pub length: usize,
    /// The key's columns, `window_start`, `window_end`; `revision` and `withdrawn` where a window
    /// may be emitted more than once; then the transform's output.
    pub rows: RecordBatch,
    /// Where a window may be emitted more than once: when each row was. Otherwise windows are
    /// emitted as they end, and rows come in the order of (end, start from the latest on, key).
    pub moments: Option<Vec<Moment>>,
    /// The rows of windows that could not be emitted, if there are any. They have nulls for the transform's output.
    pub failed: Option<Box<FailedWindows>>,
}

/// What there is to say of windows on which a transform failed: a text for each row of an emission, null for those that
/// are well.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedWindows {
    /// The short name of what went wrong.
    pub codes: StringArray,
    /// What a person needs to see.
    pub details: StringArray,
}

impl FailedWindows {
    /// Whether a row is none of output.
    pub fn is_failed(&self, row: usize) -> bool {
        self.codes.is_valid(row)
    }
}

/// When a row was emitted, in the order of event time rather than of clocks: the same for every
/// number of lanes and every cut into batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The watermark that brought it: the end of a window that closed, or the watermark at the row
    /// that corrected one.
    pub watermark: i64,
    /// The sequence of the row that brought it; zero if it was the watermark alone.
    pub sequence: u64,
}

/// Where emissions go.
pub trait Emit: Send {
    /// Takes an emission.
    ///
    /// # Errors
    ///
    /// [`WindowError::Closed`]: nobody listens any more.
    fn emit(&mut self, emission: Emission) -> BoxFuture<'_, Result<(), WindowError>>;
}

/// The schema of what is emitted. The output's columns may be null, because validation removes
/// values.
pub fn emitted_schema(key: &Schema, revises: bool, output: &Schema) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = key.fields().iter().cloned().collect();
    fields.extend(bounds_schema().fields().iter().cloned());
    if revises {
        fields.push(Arc::new(Field::new("revision", DataType::UInt32, false)));
        fields.push(Arc::new(Field::new("withdrawn", DataType::Boolean, false)));
    }
    let output = output.fields().iter();
    fields.extend(output.map(|field| Arc::new(field.as_ref().clone().with_nullable(true))));
    Arc::new(Schema::new(fields))
}

/// Which emission of a window one is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Revision {
    /// How often the window was emitted before.
    pub(super) number: u32,
    /// Whether a row with its bounds was emitted and holds until now.
    pub(super) stands: bool,
    /// When it is emitted.
    pub(super) moment: Moment,
}

/// Windows that are to be emitted: an item of each list for a window.
#[derive(Debug, Default)]
pub(super) struct Finishing {
    /// The key.
    pub(super) keys: Vec<u32>,
    /// The slot of the window's state, or of its earlier part.
    pub(super) earlier: Vec<u32>,
    /// The slot of its later part; [`NONE`] if the other is all.
    pub(super) later: Vec<u32>,
    /// Start and end.
    pub(super) bounds: Vec<(i64, i64)>,
    /// Empty where windows are emitted once.
    pub(super) revisions: Vec<Revision>,
    /// By what they are kept if they cannot be finished; empty where they come out once more in any case.
    pub(super) ids: Vec<RecordId>,
}

impl Finishing {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn push(
        &mut self,
        key: u32,
        (earlier, later): (u32, u32),
        bounds: (i64, i64),
        revision: Option<Revision>,
    ) {
        self.keys.push(key);
        self.earlier.push(earlier);
        self.later.push(later);
        self.bounds.push(bounds);
        self.revisions.extend(revision);
    }
}

/// What became of windows that were to be finished, by their places.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Those without a row, if windows may be emitted more than once.
    pub(super) silent: Vec<usize>,
    /// Those on which the transform failed.
    pub(super) failed: Vec<usize>,
}

/// Windows whose emitted rows hold no longer.
#[derive(Debug, Default)]
pub(super) struct Withdrawing {
    pub(super) keys: Vec<u32>,
    pub(super) bounds: Vec<(i64, i64)>,
    pub(super) revisions: Vec<Revision>,
}

impl Withdrawing {
    pub(super) fn push(&mut self, key: u32, bounds: (i64, i64), revision: Revision) {
        self.keys.push(key);
        self.bounds.push(bounds);
        self.revisions.push(revision);
    }
}

/// Turns states into emissions.
pub(super) struct Emitter {
    schema: SchemaRef,
    output_columns: usize,
}

impl Emitter {
    /// For emissions of `schema`, the last `output_columns` of which are the transform's output.
    pub(super) fn new(schema: SchemaRef, output_columns: usize) -> Self {
        Self {
            schema,
            output_columns,
        }
    }

    /// Finishes windows, in as many calls as it takes. Where a window's earlier row stands and the
    /// transform gives none now, that row is withdrawn. A window on which the transform fails is emitted as such, and
    /// an earlier row of it stands.
    pub(super) async fn finish(
        &self,
        length: usize,
        windows: &Finishing,
        states: &States,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<Ended, WindowError> {
        let mut first = 0;
        let mut ended = Ended::default();
        let within = calls.bytes();
        while first < windows.len() {
            let (range, (keys, columns)) =
                calls.fitting(Purpose::Finish, first..windows.len(), |range| {
                    let keys = states.keys.gather(&windows.keys[range.clone()])?;
                    let columns = states.gather_within(&windows.earlier[range], within)?;
                    let bytes = bytes_of(&keys) + bytes_of(&columns);
                    Ok((bytes, (keys, columns)))
                })?;
            let (columns, lost) =
                with_later(windows, range.clone(), columns, states, calls).await?;
            let groups = Groups {
                keys: &keys,
                states: &columns,
                len: range.len(),
            };
            let bounds = bounds_columns(&windows.bounds[range.clone()]);
            let finished = finish_but(lost, groups, &bounds, calls).await?;
            let failed = finished.failed.iter();
            let failed = failed.map(|it| range.start + it.row as usize);
            ended.failed.extend(failed);
            let revisions = windows.revisions.get(range.clone());
            if let Some(revisions) = revisions.filter(|revisions| !revisions.is_empty()) {
                let mut withdrawing = Withdrawing::default();
                for group in without_rows(&finished.source_group, range.len()) {
                    let at = range.start + group;
                    let is_failed = finished.failed.iter().any(|it| it.row as usize == group);
                    if is_failed && revisions[group].stands {
                        continue;
                    }
                    ended.silent.push(at);
                    if revisions[group].stands {
                        withdrawing.push(windows.keys[at], windows.bounds[at], revisions[group]);
                    }
                }
                self.withdraw(length, &withdrawing, states, out).await?;
            }
            let made = self.made(finished)?;
            if !made.source.is_empty() {
                let emission = self.emission(length, &keys, &bounds, revisions, false, made)?;
                out.emit(emission).await?;
            }
            first = range.end;
        }
        Ok(ended)
    }

    /// What a call gave, with a row for each group on which the transform failed.
    fn made(&self, finished: Finished) -> Result<Made, ArrowError> {
        let rows = finished.output.num_rows();
        if finished.failed.is_empty() {
            return Ok(Made {
                source: finished.source_group.into(),
                columns: finished.output.columns().to_vec(),
                failed: None,
            });
        }
        // Groups with rows and groups that failed are two rising lists that have none in common.
        let good = finished.source_group.iter().enumerate();
        let good = good.map(|(row, group)| (*group, Ok(row as u32)));
        let bad = finished.failed.iter().map(|it| (it.row, Err(it)));
        let mut all: Vec<(u32, Result<u32, &Reject>)> = good.chain(bad).collect();
        all.sort_by_key(|(group, _)| *group);
        let picked: UInt32Array = all.iter().map(|(_, row)| row.ok()).collect();
        let fields = self.output_fields();
        let columns = fields.iter().enumerate().map(|(at, field)| match rows {
            0 => Ok(new_null_array(field.data_type(), all.len())),
            _ => take(finished.output.column(at), &picked, None),
        });
        let text = |text: fn(&Reject) -> &str| -> StringArray {
            all.iter().map(|(_, row)| row.err().map(text)).collect()
        };
        Ok(Made {
            columns: columns.collect::<Result<_, _>>()?,
            failed: Some(Box::new(FailedWindows {
                codes: text(|it| &it.code),
                details: text(|it| &it.detail),
            })),
            source: all
                .iter()
                .map(|(group, _)| *group)
                .collect::<Vec<u32>>()
                .into(),
        })
    }

    fn output_fields(&self) -> &[Arc<Field>] {
        let fields = self.schema.fields();
        &fields[fields.len() - self.output_columns..]
    }

    /// Emits a marked row for each window whose earlier rows hold no longer.
    pub(super) async fn withdraw(
        &self,
        length: usize,
        windows: &Withdrawing,
        states: &States,
        out: &mut dyn Emit,
    ) -> Result<(), WindowError> {
        let rows = windows.keys.len();
        if rows == 0 {
            return Ok(());
        }
        let keys = states.keys.gather(&windows.keys)?;
        let output = self.output_fields().iter();
        let nulls = output.map(|field| new_null_array(field.data_type(), rows));
        let made = Made {
            source: UInt32Array::from_iter_values(0..rows as u32),
            columns: nulls.collect(),
            failed: None,
        };
        let bounds = bounds_columns(&windows.bounds);
        let revisions = Some(windows.revisions.as_slice());
        let emission = self.emission(length, &keys, &bounds, revisions, true, made)?;
        out.emit(emission).await
    }

    fn emission(
        &self,
        length: usize,
        keys: &[ArrayRef],
        bounds: &[ArrayRef],
        revisions: Option<&[Revision]>,
        withdrawn: bool,
        made: Made,
    ) -> Result<Emission, WindowError> {
        let source = &made.source;
        let front = keys.iter().chain(bounds);
        // The usual case: one row of output for each window.
        let is_each_once = source
            .values()
            .iter()
            .copied()
            .eq(0..bounds[0].len() as u32);
        let front = front.map(|column| match is_each_once {
            true => Ok(Arc::clone(column)),
            false => take(column, source, None),
        });
        let mut columns = front.collect::<Result<Vec<_>, _>>()?;
        let mut moments = None;
        if let Some(revisions) = revisions.filter(|revisions| !revisions.is_empty()) {
            let of = |row: &u32| revisions[*row as usize];
            let numbers = source.values().iter().map(|row| of(row).number);
            columns.push(Arc::new(UInt32Array::from_iter_values(numbers)));
            columns.push(Arc::new(BooleanArray::from(vec![withdrawn; source.len()])));
            moments = Some(source.values().iter().map(|row| of(row).moment).collect());
        }
        columns.extend(made.columns);
        Ok(Emission {
            length,
            rows: RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?,
            moments,
            failed: made.failed,
        })
    }
}

/// Columns of the transform's output, and what they are about.
struct Made {
    /// For each row its group.
    source: UInt32Array,
    columns: Vec<ArrayRef>,
    failed: Option<Box<FailedWindows>>,
}

/// Finishes groups, but for some of which there is no state.
async fn finish_but(
    lost: BTreeMap<usize, Reject>,
    groups: Groups<'_>,
    bounds: &[ArrayRef],
    calls: &mut Calls,
) -> Result<Finished, WindowError> {
    if lost.is_empty() {
        return calls.finish(groups, bounds).await;
    }
    let left = (0..groups.len).filter(|group| !lost.contains_key(group));
    let left: Vec<u32> = left.map(|group| group as u32).collect();
    let mut finished = Finished {
        output: RecordBatch::new_empty(Arc::new(Schema::empty())),
        source_group: Vec::new(),
        failed: Vec::new(),
    };
    if !left.is_empty() {
        let picked = UInt32Array::from(left.clone());
        let pick = |columns: &[ArrayRef]| -> Result<Vec<ArrayRef>, ArrowError> {
            let columns = columns.iter();
            columns.map(|column| take(column, &picked, None)).collect()
        };
        let (keys, states, bounds) = (pick(groups.keys)?, pick(groups.states)?, pick(bounds)?);
        let groups = Groups {
            keys: &keys,
            states: &states,
            len: left.len(),
        };
        finished = calls.finish(groups, &bounds).await?;
        let of = |group: &mut u32| *group = left[*group as usize];
        finished.source_group.iter_mut().for_each(of);
        finished.failed.iter_mut().for_each(|it| of(&mut it.row));
    }
    for (group, failure) in lost {
        calls.lose(&failure)?;
        finished.failed.push(Reject {
            row: group as u32,
            ..failure
        });
    }
    finished.failed.sort_by_key(|it| it.row);
    Ok(finished)
}

/// The states of some windows, of which `columns` are those of the earlier parts; and the windows for which there is no
/// state, by their places in the range, since a merge failed.
async fn with_later(
    windows: &Finishing,
    range: Range<usize>,
    columns: Vec<ArrayRef>,
    states: &States,
    calls: &mut Calls,
) -> Result<(Vec<ArrayRef>, BTreeMap<usize, Reject>), WindowError> {
    let failure = |at: usize| states.failure([windows.earlier[at], windows.later[at]]);
    let lost = range.clone();
    let lost = lost.filter_map(|at| Some((at - range.start, failure(at)?.clone())));
    let mut lost: BTreeMap<usize, Reject> = lost.collect();
    let is_pair =
        |at: &usize| windows.later[*at] != NONE && !lost.contains_key(&(at - range.start));
    let pairs: Vec<usize> = range.clone().filter(is_pair).collect();
    if pairs.is_empty() {
        return Ok((columns, lost));
    }
    let earlier: Vec<u32> = pairs.iter().map(|at| windows.earlier[*at]).collect();
    let later: Vec<u32> = pairs.iter().map(|at| windows.later[*at]).collect();
    // Source 0 are the earlier parts; each call of the transform adds one.
    let mut sources: Vec<(usize, usize)> = (0..range.len()).map(|row| (0, row)).collect();
    let mut merged = vec![columns];
    let mut first = 0;
    while first < pairs.len() {
        let (done, made) = calls.merged(states, &earlier, &later, first).await?;
        let of_call = &pairs[done.clone()];
        let failed = made.failed.into_iter();
        lost.extend(failed.map(|it| (of_call[it.row as usize] - range.start, it)));
        if done.len() == range.len() {
            return Ok((made.states, lost));
        }
        for (row, at) in of_call.iter().enumerate() {
            sources[at - range.start] = (merged.len(), row);
        }
        merged.push(made.states);
        first = done.end;
    }
    let columns = (0..merged[0].len()).map(|column| {
        let parts: Vec<_> = merged.iter().map(|part| part[column].as_ref()).collect();
        interleave(&parts, &sources)
    });
    Ok((columns.collect::<Result<_, _>>()?, lost))
}

/// The groups of which no output row came.
fn without_rows(source_group: &[u32], groups: usize) -> impl Iterator<Item = usize> {
    let mut with = vec![false; groups];
    for group in source_group {
        with[*group as usize] = true;
    }
    (0..groups).filter(move |group| !with[*group])
}

/// Bounds as columns; see [`bounds_schema`].
fn bounds_columns(bounds: &[(i64, i64)]) -> Vec<ArrayRef> {
    let column = |bound: fn(&(i64, i64)) -> i64| {
        let column = TimestampMicrosecondArray::from_iter_values(bounds.iter().map(bound));
        Arc::new(column.with_timezone("UTC")) as ArrayRef
    };
    vec![column(|bounds| bounds.0), column(|bounds| bounds.1)]
}
