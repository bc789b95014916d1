//! Records: what is kept of a key, in parts that change by themselves.

use arrow::array::ArrayRef;
use arrow::error::ArrowError;

use crate::transform::bytes_of;

use super::super::states::States;

/// Which record of a key one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordId {
    /// The state of the pane of this number.
    Pane(i64),
    /// How often the window that ends at this boundary, of this length, was emitted.
    Revision(i64, u32),
    /// The session of this number; those of a key rise as they were opened.
    Session(i64),
    /// The value of an unbounded window, and its life.
    Life,
    /// The events of a period that is not over, of an unbounded window.
    Period(i64),
    /// When something of the key is due; not part of [`Changes`], but of [`Schedule`].
    Due,
}

/// How far the windows of a lane have come, apart from what belongs to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The watermark that was acted upon.
    pub watermark: i64,
    /// The greatest boundary that has been passed; `i64::MIN` where windows have none.
    pub closed: i64,
    /// The number of the next session.
    pub next_session: i64,
}

impl Progress {
    /// Windows that nothing has come to yet.
    pub const START: Self = Self {
        watermark: i64::MIN,
        closed: i64::MIN,
        next_session: 0,
    };
}

/// Records, a row of everything for each.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// The key's columns.
    pub keys: Vec<ArrayRef>,
    /// Which of the key's records it is.
    pub ids: Vec<RecordId>,
    /// What is known beside the state; its form depends on the kind of record.
    pub facts: Facts,
    /// Whether it has a state.
    pub has_state: Vec<bool>,
    /// The states of those that have one, in order.
    pub states: Vec<ArrayRef>,
}

/// What changed since changes were last taken. To be applied as a whole: first what is gone, then
/// what is there.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Records that are new or different.
    pub records: Records,
    /// The key's columns of records that are gone, a row each.
    pub gone_keys: Vec<ArrayRef>,
    /// Which they are.
    pub gone: Vec<RecordId>,
    /// When something of these keys is due, where that is earlier than before.
    pub schedule: Schedule,
    /// How far the windows have come.
    pub progress: Progress,
}

impl Changes {
    /// About what they take in memory.
    pub fn bytes(&self) -> usize {
        let columns = [&self.records.keys, &self.records.states, &self.gone_keys];
        let columns: usize = columns.into_iter().map(|columns| bytes_of(columns)).sum();
        columns + self.records.facts.bytes.len() + 16 * self.records.ids.len()
    }
}

/// When the watermark has something to do with keys, a row of everything for each key of which
/// that differs from what is kept. It may be too early and is never too late: before that instant
/// a key need not be here unless it has rows.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    /// The key's columns.
    pub keys: Vec<ArrayRef>,
    /// The instant that is kept, in microseconds; none if there is none.
    pub from: Vec<Option<i64>>,
    /// The instant to keep; none if nothing is left of the key.
    pub to: Vec<Option<i64>>,
}

/// The facts of some records, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Facts {
    /// Adds those of a record.
    pub(in crate::window) fn push(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        put(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Those of a record.
    pub(in crate::window) fn get(&self, record: usize) -> &[u8] {
        let start = record.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[record]]
    }
}

/// Records that are being put together, by the numbers of keys and slots.
#[derive(Default)]
pub(in crate::window) struct Gathering {
    keys: Vec<u32>,
    ids: Vec<RecordId>,
    facts: Facts,
    has_state: Vec<bool>,
    slots: Vec<u32>,
    /// When something of a record is due.
    due: Vec<i64>,
}

impl Gathering {
    /// Adds a record of a key, with the slot of its state if it has one, and the instant at which
    /// the watermark will have something to do with it.
    pub(in crate::window) fn push(
        &mut self,
        key: u32,
        id: RecordId,
        slot: Option<u32>,
        due: i64,
        put: impl FnOnce(&mut Vec<u8>),
    ) {
        self.keys.push(key);
        self.ids.push(id);
        self.facts.push(put);
        self.has_state.push(slot.is_some());
        self.slots.extend(slot);
        self.due.push(due);
    }

    /// The records, with what is gone since changes were last taken.
    pub(in crate::window) fn changes(
        self,
        states: &mut States,
        progress: Progress,
    ) -> Result<Changes, ArrowError> {
        let (gone_keys, gone): (Vec<u32>, Vec<RecordId>) = states.take_gone().into_iter().unzip();
        let due = self.keys.iter().copied().zip(self.due);
        let schedule = states.schedule(due.collect())?;
        let changes = Changes {
            records: Records {
                keys: states.keys.gather(&self.keys)?,
                ids: self.ids,
                facts: self.facts,
                has_state: self.has_state,
                states: states.gather(&self.slots)?,
            },
            gone_keys: states.keys.gather(&gone_keys)?,
            gone,
            schedule,
            progress,
        };
        gone_keys
            .into_iter()
            .for_each(|key| states.keys.release(key));
        states.keys.sweep();
        Ok(changes)
    }
}
