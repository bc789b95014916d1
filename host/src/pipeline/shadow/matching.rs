//! Two streams of emissions, put next to each other: what one version emits for an entity and a window, and what the other
//! does.
//!
//! An emission waits for its counterpart until the other version has come as far as its own had when it emitted it: after
//! as many rows, and up to the same watermark, both have emitted the same windows. What still waits then is of one version
//! alone. Of one entity and window the first emission of one version belongs to the first of the other, and so on.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow_row::{RowConverter, SortField};

use super::comparing::CompareError;
use super::report::{Case, Figures, Report, window};
use crate::pipeline::features::{DeliveredFeature, Features};
use crate::pipeline::output::Output;
use crate::pipeline::plan::Plan;
use crate::text::{json_texts, record_lines};

/// Bytes of emissions that wait for their counterparts, at most.
const WAITING: usize = 256 << 20;

/// Bytes that are known of an emission, beside its row.
const ENTRY: usize = 128;

/// Whole numbers that a float holds exactly end here.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Which of the two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one at work.
    Old,
    /// The other one.
    New,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "the version at work",
            Self::New => "the new version",
        }
    }
}

/// How far a lane has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reached {
    /// Everything before this sequence was judged.
    pub(super) sequence: u64,
    pub(super) watermark: i64,
}

impl Reached {
    const NOTHING: Self = Self {
        sequence: 0,
        watermark: i64::MIN,
    };
    const ALL: Self = Self {
        sequence: u64::MAX,
        watermark: i64::MAX,
    };

    fn covers(self, other: Self) -> bool {
        self.sequence >= other.sequence && self.watermark >= other.watermark
    }
}

/// What an emission is about: its length, its key, its bounds, and which emission of that window it is.
type Identity = Box<[u8]>;

/// What emissions are compared, and those that wait.
pub(in crate::pipeline) struct Matching {
    identity: RowConverter,
    /// The first columns, which say what a row is about.
    identity_columns: usize,
    keys: usize,
    has_start: bool,
    compared: Vec<Compared>,
    waiting: HashMap<Identity, VecDeque<Waiting>>,
    waiting_bytes: usize,
    sides: [OneSide; 2],
    /// Of the next emission.
    number: u64,
}

/// A feature that both versions have.
struct Compared {
    name: String,
    length: usize,
    /// Its column in what each side emits.
    columns: [usize; 2],
}

struct OneSide {
    features: Arc<Features>,
    reached: Reached,
    /// Rows that it has emitted since.
    since: u64,
    /// Emissions since, by their numbers.
    emitted: Vec<(u64, Identity)>,
    /// Those before, with how far it had come when it had emitted them.
    before: VecDeque<(Reached, Vec<(u64, Identity)>)>,
}

/// An emission that waits.
struct Waiting {
    number: u64,
    side: Side,
    rows: Arc<Rows>,
    row: usize,
}

/// Rows that were emitted together.
struct Rows {
    length: usize,
    rows: RecordBatch,
    /// The values of each compared feature as floats, where they are numbers.
    numbers: Vec<Option<Float64Array>>,
    /// What one of them takes in memory, about.
    row_bytes: usize,
}

impl Matching {
    /// Of two versions of a pipeline, the one at work first.
    ///
    /// # Errors
    ///
    /// They have other keys, or keys that cannot be told apart.
    pub(in crate::pipeline) fn new(
        (old, old_features): (&Plan, Arc<Features>),
        (new, new_features): (&Plan, Arc<Features>),
    ) -> Result<Self, CompareError> {
        let (identity_columns, schema) = identity(old);
        if identity(new) != (identity_columns, Arc::clone(&schema)) {
            return Err(CompareError::Shape);
        }
        let fields = schema.fields().iter();
        let fields = fields.map(|field| SortField::new(field.data_type().clone()));
        let compared = old_features.all().iter().filter_map(|feature| {
            let is_same = |other: &&_| is_same_feature(feature, other);
            let other = new_features.all().iter().find(is_same)?;
            Some(Compared {
                name: feature.declaration.to_string(),
                length: feature.length,
                columns: [feature.column, other.column],
            })
        });
        Ok(Self {
            compared: compared.collect(),
            identity: RowConverter::new(fields.collect())?,
            identity_columns,
            keys: old.key.len(),
            has_start: old.windows().is_some(),
            waiting: HashMap::new(),
            waiting_bytes: 0,
            sides: [old_features, new_features].map(|features| OneSide {
                features,
                reached: Reached::NOTHING,
                since: 0,
                emitted: Vec::new(),
                before: VecDeque::new(),
            }),
            number: 0,
        })
    }

    /// A report in which nothing was compared.
    pub(in crate::pipeline) fn report(&self) -> Report {
        let features = self.compared.iter();
        let features = features.map(|compared| (compared.name.clone(), Figures::default()));
        Report {
            features: features.collect(),
            ..Report::default()
        }
    }

    /// The side that is behind, so that little waits if it is listened to next.
    pub(super) fn behind(&self) -> Side {
        let [old, new] = &self.sides;
        match (old.reached, old.since) <= (new.reached, new.since) {
            true => Side::Old,
            false => Side::New,
        }
    }

    /// A side emits rows.
    ///
    /// # Errors
    ///
    /// Arrow cannot compare them, or too much waits.
    pub(super) fn emit(
        &mut self,
        side: Side,
        output: &Output,
        report: &mut Report,
    ) -> Result<(), CompareError> {
        let features = &self.sides[side as usize].features;
        let (rows, _) = features.validated(output)?;
        let identity = &rows.columns()[..self.identity_columns];
        let identities = self.identity.convert_columns(identity)?;
        let rows = Arc::new(Rows::new(rows, output.length, &self.compared, side)?);
        self.sides[side as usize].since += rows.rows.num_rows() as u64;
        for (row, identity) in identities.iter().enumerate() {
            let length = (output.length as u32).to_be_bytes();
            let identity: Identity = [&length[..], identity.data()].concat().into();
            let counterpart = self.take(&identity, side);
            let here = (&*rows, row);
            match counterpart {
                Some(there) => {
                    let there = (&*there.rows, there.row);
                    let (old, new) = match side {
                        Side::Old => (here, there),
                        Side::New => (there, here),
                    };
                    self.compare(old, new, report)?;
                }
                None => self.wait(side, identity, &rows, row)?,
            }
        }
        Ok(())
    }

    /// A side has come so far. What waits and will have no counterpart is of one version alone.
    ///
    /// # Errors
    ///
    /// As [`Self::emit`].
    pub(super) fn reach(
        &mut self,
        side: Side,
        reached: Reached,
        report: &mut Report,
    ) -> Result<(), CompareError> {
        let ours = &mut self.sides[side as usize];
        (ours.reached, ours.since) = (reached, 0);
        let emitted = std::mem::take(&mut ours.emitted);
        if !emitted.is_empty() {
            ours.before.push_back((reached, emitted));
        }
        self.settle(Side::Old, report)?;
        self.settle(Side::New, report)
    }

    /// A side will emit no more.
    ///
    /// # Errors
    ///
    /// As [`Self::emit`].
    pub(super) fn end(&mut self, side: Side, report: &mut Report) -> Result<(), CompareError> {
        self.reach(side, Reached::ALL, report)
    }

    /// Counts what a side has emitted and the other one has not, as far as that is sure.
    fn settle(&mut self, side: Side, report: &mut Report) -> Result<(), CompareError> {
        let theirs = self.sides[side.other() as usize].reached;
        loop {
            let before = &mut self.sides[side as usize].before;
            if before.front().is_none_or(|(ours, _)| !theirs.covers(*ours)) {
                return Ok(());
            }
            let Some((_, emitted)) = before.pop_front() else {
                return Ok(());
            };
            for (number, identity) in emitted {
                if let Some(waiting) = self.give_up(number, &identity) {
                    self.miss(side, (&waiting.rows, waiting.row), report)?;
                }
            }
        }
    }

    fn wait(
        &mut self,
        side: Side,
        identity: Identity,
        rows: &Arc<Rows>,
        row: usize,
    ) -> Result<(), CompareError> {
        self.waiting_bytes += rows.row_bytes + identity.len() + ENTRY;
        if self.waiting_bytes > WAITING {
            return Err(CompareError::Apart(WAITING));
        }
        let number = self.number;
        self.number += 1;
        self.sides[side as usize]
            .emitted
            .push((number, identity.clone()));
        let waiting = self.waiting.entry(identity).or_default();
        waiting.push_back(Waiting {
            number,
            side,
            rows: Arc::clone(rows),
            row,
        });
        Ok(())
    }

    /// The first emission of the other side that waits for one like this.
    fn take(&mut self, identity: &Identity, side: Side) -> Option<Waiting> {
        let waiting = self.waiting.get(identity)?.front()?;
        let number = (waiting.side != side).then_some(waiting.number)?;
        self.give_up(number, identity)
    }

    /// An emission does not wait any longer, if it still does.
    fn give_up(&mut self, number: u64, identity: &Identity) -> Option<Waiting> {
        let all = self.waiting.get_mut(identity)?;
        let waiting = all.pop_front_if(|waiting| waiting.number == number)?;
        if all.is_empty() {
            self.waiting.remove(identity);
        }
        self.waiting_bytes -= waiting.rows.row_bytes + identity.len() + ENTRY;
        Some(waiting)
    }

    fn compare(
        &self,
        old: (&Rows, usize),
        new: (&Rows, usize),
        report: &mut Report,
    ) -> Result<(), CompareError> {
        for (at, compared) in self.compared.iter().enumerate() {
            if compared.length != old.0.length {
                continue;
            }
            let figures = report.features.entry(compared.name.clone()).or_default();
            let [old_column, new_column] = compared.columns;
            let (old_values, new_values) =
                (old.0.rows.column(old_column), new.0.rows.column(new_column));
            match (old_values.is_valid(old.1), new_values.is_valid(new.1)) {
                (false, false) => {}
                (true, false) => self.lone(Side::Old, old, old_column, figures)?,
                (false, true) => self.lone(Side::New, new, new_column, figures)?,
                (true, true) => {
                    let numbers = (old.0.number(at, old.1), new.0.number(at, new.1));
                    if are_equal((old_values, old.1), (new_values, new.1), numbers) {
                        figures.equal += 1;
                        continue;
                    }
                    figures.different += 1;
                    let distance = distance(numbers);
                    if let Some(distance) = distance {
                        figures.spread.add(distance);
                    }
                    if figures.shows(distance) {
                        figures.show(Case {
                            old: Some(json(old_values, old.1)?),
                            new: Some(json(new_values, new.1)?),
                            distance,
                            ..self.case(old)?
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts the values of a row that one side alone has.
    fn miss(
        &self,
        side: Side,
        row: (&Rows, usize),
        report: &mut Report,
    ) -> Result<(), CompareError> {
        let of_length = |compared: &&Compared| compared.length == row.0.length;
        for compared in self.compared.iter().filter(of_length) {
            let column = compared.columns[side as usize];
            if row.0.rows.column(column).is_valid(row.1) {
                let figures = report.features.entry(compared.name.clone()).or_default();
                self.lone(side, row, column, figures)?;
            }
        }
        Ok(())
    }

    /// Counts a value that one side alone has.
    fn lone(
        &self,
        side: Side,
        row: (&Rows, usize),
        column: usize,
        figures: &mut Figures,
    ) -> Result<(), CompareError> {
        let value = |figures: &Figures| match figures.shows_missing() {
            true => json(row.0.rows.column(column), row.1).map(Some),
            false => Ok(None),
        };
        let value = value(figures)?;
        match side {
            Side::Old => figures.only_old += 1,
            Side::New => figures.only_new += 1,
        }
        if value.is_some() {
            let (old, new) = match side {
                Side::Old => (value, None),
                Side::New => (None, value),
            };
            let case = self.case(row)?;
            figures.missing.push(Case { old, new, ..case });
        }
        Ok(())
    }

    /// What a row is about.
    fn case(&self, (rows, row): (&Rows, usize)) -> Result<Case, CompareError> {
        let rows = rows.rows.slice(row, 1);
        let keys: Vec<usize> = (0..self.keys).collect();
        let entity = record_lines(&rows.project(&keys)?)?.swap_remove(0);
        let time = |column: usize| {
            let column = rows.column(column);
            column.as_primitive::<TimestampMicrosecondType>().value(0)
        };
        let window = match self.has_start {
            true => window(Some(time(self.keys)), time(self.keys + 1)),
            false => window(None, time(self.keys)),
        };
        Ok(Case {
            entity,
            window,
            old: None,
            new: None,
            distance: None,
        })
    }
}

impl Rows {
    fn new(
        rows: RecordBatch,
        length: usize,
        compared: &[Compared],
        side: Side,
    ) -> Result<Self, ArrowError> {
        let numbers = compared.iter().map(|compared| {
            let values = rows.column(compared.columns[side as usize]);
            if compared.length != length || !values.data_type().is_numeric() {
                return Ok(None);
            }
            let floats = cast(values, &DataType::Float64)?;
            Ok(Some(floats.as_primitive::<Float64Type>().clone()))
        });
        let numbers = numbers.collect::<Result<_, ArrowError>>()?;
        let row_bytes = rows.get_array_memory_size() / rows.num_rows().max(1);
        Ok(Self {
            length,
            rows,
            numbers,
            row_bytes,
        })
    }

    fn number(&self, compared: usize, row: usize) -> Option<f64> {
        let numbers = self.numbers[compared].as_ref()?;
        Some(numbers.value(row))
    }
}

/// The first columns of what a plan's lanes emit, which say what a row is about.
fn identity(plan: &Plan) -> (usize, SchemaRef) {
    let last = plan.withdrawn_column();
    let columns = last.unwrap_or(plan.event_time_column()) + 1;
    let all: Vec<usize> = (0..columns).collect();
    let schema = plan.emitted_schema().project(&all);
    (columns, Arc::new(schema.expect("they are there")))
}

fn is_same_feature(one: &DeliveredFeature, other: &DeliveredFeature) -> bool {
    one.declaration.to_string() == other.declaration.to_string() && one.length == other.length
}

/// Whether two values are the same. Of numbers that a float holds exactly the floats say it.
fn are_equal(
    (old, old_row): (&ArrayRef, usize),
    (new, new_row): (&ArrayRef, usize),
    numbers: (Option<f64>, Option<f64>),
) -> bool {
    if let (Some(one), Some(other)) = numbers {
        let is_exact = match old.data_type() {
            DataType::Int64 | DataType::UInt64 => one.abs() < EXACT && other.abs() < EXACT,
            data_type => !matches!(
                data_type,
                DataType::Decimal32(..)
                    | DataType::Decimal64(..)
                    | DataType::Decimal128(..)
                    | DataType::Decimal256(..)
            ),
        };
        if is_exact {
            return one.to_bits() == other.to_bits();
        }
    }
    old.slice(old_row, 1).to_data() == new.slice(new_row, 1).to_data()
}

/// How far two numbers are apart; none if one is no number, or infinite.
fn distance(numbers: (Option<f64>, Option<f64>)) -> Option<f64> {
    let (Some(old), Some(new)) = numbers else {
        return None;
    };
    Some((new - old).abs()).filter(|distance| distance.is_finite())
}

fn json(values: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    Ok(json_texts(&values.slice(row, 1))?.swap_remove(0))
}
