//! The keys of a lane: each is found by hashing, has a number as long as anything holds it, and
//! keeps its columns once.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::WindowError;
use super::keys::{BatchKeys, KeptKeys, KeyEncoder, KeySource};
use super::runs::{Place, Runs};
use super::states::NONE;

/// The keys that some state of a lane belongs to.
pub(super) struct Keys {
    encoder: KeyEncoder,
    hasher: RandomState,
    table: HashTable<u32>,
    kept: KeptKeys,
    /// By the key's number, as are `uses`.
    hashes: Vec<u64>,
    /// How many hold each key. Far more often needed than its hash, and so not beside it.
    uses: Vec<u32>,
    /// When something of a key is due, as far as that is kept; such a key is held.
    due: Vec<Option<i64>>,
    free: Vec<u32>,
    /// Keys that nothing may hold any more; looked at when a batch is over, for until then rows
    /// of the batch go by their numbers.
    loose: Vec<u32>,
    columns: Runs,
    places: Vec<Place>,
    empty: Vec<ArrayRef>,
    /// Bytes of the kept keys that are not in lists.
    heap_bytes: usize,
    recency: Option<Recency>,
}

/// When each key was asked for last, by its number, in numbers of batches.
#[derive(Default)]
struct Recency {
    now: u32,
    used: Vec<u32>,
}

impl Recency {
    fn use_all(&mut self, numbers: &[u32], bound: usize) {
        // After four billion batches some keys seem new for once, which does no harm.
        self.now = self.now.wrapping_add(1);
        self.used.resize(bound, self.now);
        for number in numbers {
            self.used[*number as usize] = self.now;
        }
    }
}

impl Keys {
    /// No keys yet.
    pub(super) fn new(key: &Schema) -> Result<Self, WindowError> {
        let encoder = KeyEncoder::new(key).map_err(WindowError::Key)?;
        let null_row =
            |field: &arrow::datatypes::FieldRef| arrow::array::new_null_array(field.data_type(), 1);
        Ok(Self {
            kept: KeptKeys::new(&encoder),
            encoder,
            hasher: RandomState::default(),
            table: HashTable::new(),
            hashes: Vec::new(),
            uses: Vec::new(),
            due: Vec::new(),
            free: Vec::new(),
            loose: Vec::new(),
            columns: Runs::default(),
            places: Vec::new(),
            empty: key.fields().iter().map(null_row).collect(),
            heap_bytes: 0,
            recency: None,
        })
    }

    /// From now on it is noted which keys are in use, and their columns lie in runs of about so
    /// many bytes.
    pub(super) fn limit(&mut self, run_bytes: usize) {
        self.columns.limit(run_bytes);
        self.recency.get_or_insert_default();
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// About what they take in memory.
    pub(super) fn bytes(&self) -> usize {
        // An entry of the table is a number and a byte, and a quarter of the table is free or more.
        let of_key = 2 * (size_of::<u32>() + 1)
            + size_of::<u64>() * 2
            + size_of::<u32>() * 2
            + size_of::<Option<i64>>()
            + size_of::<Place>();
        self.len() * of_key + self.heap_bytes + self.columns.bytes()
    }

    /// Gathers columns anew after many keys were let go of.
    pub(super) fn tidy(&mut self) -> Result<(), ArrowError> {
        self.columns.tidy(&mut self.places)
    }

    /// The keys that were not in use for longest, so many; all if there are no more.
    pub(super) fn least_recent(&self, count: usize) -> Vec<u32> {
        let mut keys: Vec<u32> = self.table.iter().copied().collect();
        let age = |key: &u32| {
            let recency = self.recency.as_ref();
            recency.map_or(0, |recency| {
                recency.now.wrapping_sub(recency.used[*key as usize])
            })
        };
        if count < keys.len() {
            keys.select_nth_unstable_by_key(count, |key| std::cmp::Reverse(age(key)));
            keys.truncate(count);
        }
        keys
    }

    /// The keys of which something was due up to an instant, as far as that is kept.
    pub(super) fn due_up_to(&self, instant: i64) -> Vec<u32> {
        let keys = (0..).zip(&self.due);
        let keys = keys.filter(|(_, due)| due.is_some_and(|due| due <= instant));
        keys.map(|(key, _)| key).collect()
    }

    /// One more than the greatest number that a key has had.
    pub(super) fn bound(&self) -> usize {
        self.uses.len()
    }

    /// The number of each row's key. `columns` are the key's columns, without nulls. New keys are
    /// forgotten at the next [`Keys::sweep`] unless something holds them by then.
    pub(super) fn assign(&mut self, columns: &[ArrayRef]) -> Result<Vec<u32>, WindowError> {
        let batch = self.encoder.encode(columns).map_err(WindowError::Key)?;
        let mut new = New::default();
        let mut finding = Finding {
            table: &mut self.table,
            hasher: &self.hasher,
            hashes: &mut self.hashes,
            free: &mut self.free,
            new: &mut new,
        };
        let numbers = match (&batch, &mut self.kept) {
            (BatchKeys::Bits(bits), KeptKeys::Bits { bits: kept, .. }) => {
                finding.numbers(bits, bits.len(), kept)
            }
            (BatchKeys::Rows(rows), KeptKeys::Rows(kept)) => {
                finding.numbers(rows, rows.num_rows(), kept)
            }
            _ => unreachable!("the encoder decides both"),
        };
        if !new.keys.is_empty() {
            self.uses.resize(self.hashes.len(), 0);
            self.due.resize(self.hashes.len(), None);
            self.places.resize(self.hashes.len(), Place::NONE);
            let rows = UInt32Array::from(new.rows);
            let columns = columns.iter().map(|column| take(column, &rows, None));
            let columns = columns.collect::<Result<_, _>>()?;
            self.loose.extend(&new.keys);
            let heap_bytes = new.keys.iter().map(|key| self.kept.heap_bytes(*key));
            self.heap_bytes += heap_bytes.sum::<usize>();
            self.columns.put(&mut self.places, new.keys, columns)?;
        }
        if let Some(recency) = &mut self.recency {
            recency.use_all(&numbers, self.hashes.len());
        }
        Ok(numbers)
    }

    /// The number of each row's key; [`NONE`] for keys that have none. `columns` are as for
    /// [`Keys::assign`].
    pub(super) fn find(&mut self, columns: &[ArrayRef]) -> Result<Vec<u32>, WindowError> {
        let batch = self.encoder.encode(columns).map_err(WindowError::Key)?;
        Ok(match (&batch, &self.kept) {
            (BatchKeys::Bits(bits), KeptKeys::Bits { bits: kept, .. }) => {
                found(&self.table, &self.hasher, bits, bits.len(), kept)
            }
            (BatchKeys::Rows(rows), KeptKeys::Rows(kept)) => {
                found(&self.table, &self.hasher, rows, rows.num_rows(), kept)
            }
            _ => unreachable!("the encoder decides both"),
        })
    }

    /// Something keeps a key's number.
    pub(super) fn hold(&mut self, key: u32) {
        self.uses[key as usize] += 1;
    }

    /// It does so no longer.
    pub(super) fn release(&mut self, key: u32) {
        let uses = &mut self.uses[key as usize];
        *uses -= 1;
        if *uses == 0 {
            self.loose.push(key);
        }
    }

    /// When something of a key is due, as far as that is kept.
    pub(super) fn due(&self, key: u32) -> Option<i64> {
        self.due[key as usize]
    }

    /// Notes what is kept of when something of a key is due.
    pub(super) fn set_due(&mut self, key: u32, due: Option<i64>) {
        let before = std::mem::replace(&mut self.due[key as usize], due);
        match (before, due) {
            (None, Some(_)) => self.hold(key),
            (Some(_), None) => self.release(key),
            _ => {}
        }
    }

    /// Forgets the keys that nothing holds. No number that was assigned before may be used after
    /// that, unless it is held.
    pub(super) fn sweep(&mut self) {
        for key in std::mem::take(&mut self.loose) {
            let place = &mut self.places[key as usize];
            if self.uses[key as usize] > 0 || *place == Place::NONE {
                continue;
            }
            let hash = self.hashes[key as usize];
            if let Ok(found) = self.table.find_entry(hash, |other| *other == key) {
                found.remove();
            }
            self.columns.forget(place);
            self.heap_bytes -= self.kept.heap_bytes(key);
            self.kept.forget(key);
            self.free.push(key);
        }
    }

    /// The columns of some keys.
    pub(super) fn gather(&self, keys: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.gather(&self.places, keys, &self.empty)
    }

    /// Sorts items by their keys, in the ascending order of the key's columns. Items of one key
    /// stay as they are; what is nearly in order is sorted fast.
    pub(super) fn sort<T: Copy>(&self, items: &mut [T], key: impl Fn(&T) -> u32) {
        self.kept.sort(items, key);
    }

    /// How two keys compare, in the ascending order of the key's columns.
    pub(super) fn compare(&self, a: u32, b: u32) -> std::cmp::Ordering {
        self.kept.compare(a, b)
    }
}

fn found<K: KeySource>(
    table: &HashTable<u32>,
    hasher: &RandomState,
    keys: &K,
    rows: usize,
    kept: &[K::Kept],
) -> Vec<u32> {
    let find = |row: usize| {
        let hash = keys.hash(hasher, row);
        let found = table.find(hash, |key| keys.matches(row, &kept[*key as usize]));
        found.copied().unwrap_or(NONE)
    };
    (0..rows).map(find).collect()
}

/// Keys that were not there before, and the rows that brought them.
#[derive(Default)]
struct New {
    keys: Vec<u32>,
    rows: Vec<u32>,
}

/// The parts of [`Keys`] that finding numbers needs, apart from the kept keys.
struct Finding<'a> {
    table: &'a mut HashTable<u32>,
    hasher: &'a RandomState,
    hashes: &'a mut Vec<u64>,
    free: &'a mut Vec<u32>,
    new: &'a mut New,
}

impl Finding<'_> {
    fn numbers<K: KeySource>(
        &mut self,
        keys: &K,
        rows: usize,
        kept: &mut Vec<K::Kept>,
    ) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(rows);
        for row in 0..rows {
            let hash = keys.hash(self.hasher, row);
            let found = self
                .table
                .find(hash, |key| keys.matches(row, &kept[*key as usize]));
            numbers.push(match found {
                Some(number) => *number,
                None => self.add(keys, row, hash, kept),
            });
        }
        numbers
    }

    /// A number for a key that has none.
    fn add<K: KeySource>(
        &mut self,
        keys: &K,
        row: usize,
        hash: u64,
        kept: &mut Vec<K::Kept>,
    ) -> u32 {
        let number = match self.free.pop() {
            Some(number) => {
                self.hashes[number as usize] = hash;
                kept[number as usize] = keys.keep(row);
                number
            }
            None => {
                self.hashes.push(hash);
                kept.push(keys.keep(row));
                (self.hashes.len() - 1) as u32
            }
        };
        let hashes = &*self.hashes;
        self.table
            .insert_unique(hash, number, |key| hashes[*key as usize]);
        self.new.keys.push(number);
        self.new.rows.push(row as u32);
        number
    }
}
