//! Windows that are interrupted: made anew from what was kept, or without the keys that were put
//! away. Nothing of that may show.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use futures::executor::block_on;
use proptest::prelude::*;

use super::super::{
    Calls, Changes, Codec, Edit, Emit, Outcome, Progress, Records, RowBatch, Schedule, Shape,
    Windows,
};
use super::traced;

/// What the keys of records begin with.
const RECORDS: &[u8] = &[1];

/// What happens to windows between batches.
#[derive(Debug, Clone)]
pub(super) enum Rest {
    None,
    /// After so many batches, over and over, they are thrown away and made anew.
    Restart(Vec<usize>),
    /// After so many batches, over and over, keys are put away; which ones follows from the number.
    PutAway(Vec<usize>, u64),
}

impl Rest {
    pub(super) fn puts_away(&self) -> bool {
        matches!(self, Self::PutAway(..))
    }
}

pub(super) fn rests() -> impl Strategy<Value = Rest> {
    let batches = || prop::collection::vec(1..4_usize, 1..3);
    prop_oneof![
        2 => Just(Rest::None),
        1 => batches().prop_map(Rest::Restart),
        2 => (batches(), any::<u64>()).prop_map(|(batches, which)| Rest::PutAway(batches, which)),
    ]
}

/// Windows with what is kept of them.
pub(super) struct Resting {
    windows: Windows,
    shape: Shape,
    key: SchemaRef,
    codec: Codec,
    kept: BTreeMap<Vec<u8>, Vec<u8>>,
    progress: Progress,
    /// Batches until the next rest, over and over.
    batches: Vec<usize>,
    until: usize,
    rests: usize,
    which: Option<u64>,
}

impl Resting {
    pub(super) fn new(shape: &Shape, key: &SchemaRef, rest: &Rest) -> Self {
        let (batches, which) = match rest {
            Rest::None => (Vec::new(), None),
            Rest::Restart(batches) => (batches.clone(), None),
            Rest::PutAway(batches, which) => (batches.clone(), Some(*which)),
        };
        let mut windows = Windows::new(shape, key, &traced::spec()).unwrap();
        if !batches.is_empty() {
            windows.keep();
        }
        Self {
            windows,
            shape: shape.clone(),
            key: SchemaRef::clone(key),
            codec: Codec::new(key, &traced::spec().state).unwrap(),
            kept: BTreeMap::new(),
            progress: Progress::START,
            until: batches.first().copied().unwrap_or(usize::MAX),
            batches,
            rests: 0,
            which,
        }
    }

    pub(super) fn batch(
        &mut self,
        batch: &RowBatch,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Outcome {
        let before = self.progress;
        if self.which.is_some() {
            self.fetch(&batch.keys, calls);
        }
        let mut outcome = block_on(self.windows.batch(batch, calls, out)).unwrap();
        if self.which.is_some() {
            let advance = |windows: &mut Windows, calls: &mut Calls, out: &mut dyn Emit| {
                block_on(windows.advance(batch.watermark, calls, out)).unwrap()
            };
            self.take_changes();
            outcome.closed += self.advance_absent(batch.watermark, before, calls, out, advance);
        }
        self.until -= 1;
        if self.until == 0 {
            self.rests += 1;
            self.until = self.batches[self.rests % self.batches.len()];
            self.rest(calls);
        }
        outcome
    }

    pub(super) fn end(&mut self, calls: &mut Calls, out: &mut dyn Emit) -> u64 {
        let end = |windows: &mut Windows, calls: &mut Calls, out: &mut dyn Emit| {
            block_on(windows.end(calls, out)).unwrap()
        };
        let mut closed = end(&mut self.windows, calls, out);
        let before = self.progress;
        if !self.batches.is_empty() {
            self.take_changes();
            closed += self.advance_absent(i64::MAX, before, calls, out, end);
            assert!(self.kept.is_empty(), "{:?} are left", self.kept);
        }
        closed
    }

    pub(super) fn states(&self) -> usize {
        self.windows.states()
    }

    fn rest(&mut self, calls: &mut Calls) {
        self.take_changes();
        match self.which {
            None => {
                self.windows = self.resumed(self.progress);
                let records = self.records();
                block_on(self.windows.load(&records, calls)).unwrap();
            }
            Some(which) => {
                let keys = self.records().keys;
                let chosen = |row: &u32| which >> ((self.rests * 7 + *row as usize) % 64) & 1 == 1;
                let rows: Vec<u32> = (0..keys[0].len() as u32).filter(chosen).collect();
                let schedule = self.windows.put_away(&taken(&keys, rows)).unwrap();
                self.apply_schedule(&schedule);
            }
        }
    }

    /// All records that are kept.
    fn records(&self) -> Records {
        let records = self.kept.iter().filter(|(key, _)| key.starts_with(RECORDS));
        let records = records.map(|(key, value)| (&key[..], &value[..]));
        self.codec.decode(records).unwrap()
    }

    /// Fresh windows that have come as far.
    fn resumed(&self, progress: Progress) -> Windows {
        let mut windows = Windows::new(&self.shape, &self.key, &traced::spec()).unwrap();
        windows.keep();
        windows.resume(Progress::decode(&progress.encode()).unwrap());
        windows
    }

    fn take_changes(&mut self) {
        let changes = self.windows.changes().unwrap();
        self.progress = changes.progress;
        self.apply(&changes);
    }

    fn apply(&mut self, changes: &Changes) {
        let kept = &mut self.kept;
        self.codec
            .encode(changes, |edit| change(kept, edit))
            .unwrap();
    }

    fn apply_schedule(&mut self, schedule: &Schedule) {
        let kept = &mut self.kept;
        let encoded = self
            .codec
            .encode_schedule(schedule, |edit| change(kept, edit));
        encoded.unwrap();
    }

    /// Loads what is kept of keys that are not here.
    fn fetch(&mut self, keys: &[ArrayRef], calls: &mut Calls) {
        let here = self.windows.are_here(keys).unwrap();
        let prefixes = self.codec.prefixes(keys).unwrap();
        let absent = prefixes.into_iter().zip(here).filter(|(_, here)| !here);
        let absent: BTreeSet<Vec<u8>> = absent.map(|(prefix, _)| prefix).collect();
        for prefix in absent {
            let records = self.kept.range(prefix.clone()..);
            let records = records.take_while(|(key, _)| key.starts_with(&prefix));
            let records = records.map(|(key, value)| (&key[..], &value[..]));
            let records = self.codec.decode(records).unwrap();
            block_on(self.windows.load(&records, calls)).unwrap();
        }
    }

    /// Does what is due up to a watermark for keys that are not here, and schedules those anew that
    /// are.
    fn advance_absent(
        &mut self,
        watermark: i64,
        before: Progress,
        calls: &mut Calls,
        out: &mut dyn Emit,
        advance: impl Fn(&mut Windows, &mut Calls, &mut dyn Emit) -> u64,
    ) -> u64 {
        let instants = Codec::FIRST_INSTANT.to_vec()..Codec::instants_up_to(watermark);
        let instants: Vec<&[u8]> = self.kept.range(instants).map(|(key, _)| &key[..]).collect();
        let (keys, prefixes) = self.codec.decode_instants(instants).unwrap();
        let here = self.windows.are_here(&keys).unwrap();
        let rows = |is_here: bool| -> Vec<u32> {
            let rows = (0..here.len() as u32).filter(|row| here[*row as usize] == is_here);
            rows.collect()
        };
        let schedule = self.windows.reschedule(&taken(&keys, rows(true))).unwrap();
        self.apply_schedule(&schedule);
        let mut closed = 0;
        for row in rows(false) {
            let mut windows = self.resumed(before);
            let records = self.kept.range(prefixes[row as usize].clone()..);
            let of_key = |(key, _): &(&Vec<u8>, &Vec<u8>)| key.starts_with(&prefixes[row as usize]);
            let records = records.take_while(of_key);
            let records = records.map(|(key, value)| (&key[..], &value[..]));
            let records = self.codec.decode(records).unwrap();
            assert!(
                !records.ids.is_empty(),
                "an instant of a key without records"
            );
            block_on(windows.load(&records, calls)).unwrap();
            closed += advance(&mut windows, calls, out);
            let changes = windows.changes().unwrap();
            assert_eq!(changes.progress.closed, self.progress.closed);
            self.apply(&changes);
            let schedule = windows.put_away(&taken(&keys, vec![row])).unwrap();
            assert!(
                schedule.to.iter().flatten().all(|to| *to > watermark),
                "due again"
            );
            self.apply_schedule(&schedule);
        }
        closed
    }
}

fn taken(keys: &[ArrayRef], rows: Vec<u32>) -> Vec<ArrayRef> {
    let rows = UInt32Array::from(rows);
    let keys = keys.iter().map(|column| take(column, &rows, None).unwrap());
    keys.collect()
}

fn change(kept: &mut BTreeMap<Vec<u8>, Vec<u8>>, edit: Edit<'_>) {
    match edit {
        Edit::Put(key, value) => {
            kept.insert(key.to_vec(), value.to_vec());
        }
        Edit::Remove(key) => assert!(kept.remove(key).is_some(), "what is gone was kept"),
    }
}
