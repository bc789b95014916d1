//! Making one file of many small ones, with each row once.
//!
//! The new file is there before the old ones go, so that a reader finds every row at any moment, and may find some twice.
//! So two may do it at once, and either may be stopped at any moment: at worst, rows are there twice until the next time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::cast::AsArray;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType, UInt32Type, UInt64Type};
use arrow::error::ArrowError;
use bytes::Bytes;
use object_store::Error;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::rows::{EPOCH, LANE, SEQUENCE, WRITE_TIME};
use super::writer::encoder;
use super::{OfflineFile, OfflineStore};
use crate::store::StoreError;

/// How long whoever compacts by itself waits after a round, and before the first one.
pub(crate) const EVERY: Duration = Duration::from_secs(600);
/// Files of a day, pipeline and window that are made one of whatever their age.
const MANY: usize = 32;
/// The same are made one of when there are fewer, and nothing has come to them for so long: in microseconds.
const QUIET: i64 = 3_600_000_000;

/// Bytes of files that are made one of, at most: they are in memory meanwhile, and so is what names their rows.
const MOST_BYTES: u64 = 64 << 20;

/// What compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Files that were there before and are not any more.
    pub before: u64,
    /// Files that were made of them.
    pub after: u64,
    /// Rows that were there twice.
    pub repeated: u64,
}

/// Compaction of one place, which remembers what it has seen.
#[derive(Debug)]
pub struct Compaction {
    store: Arc<OfflineStore>,
    /// Files that were looked at and stay as they are, as they have other columns than those beside them: by what they lie
    /// beside.
    unlike: HashMap<String, Vec<String>>,
}

/// Files with the same columns.
type Alike<'a> = (SchemaRef, Vec<(&'a OfflineFile, Bytes)>);

impl Compaction {
    /// Of a place, of which nothing is known yet.
    #[must_use]
    pub fn new(store: Arc<OfflineStore>) -> Self {
        Self {
            store,
            unlike: HashMap::new(),
        }
    }

    /// Makes one file of those of a group that belong together: of one day, one pipeline and window, with the same
    /// columns. `is_due` says of such files whether it is time. Large ones are left out, and not shown to it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when files cannot be read or written. No row is lost then.
    pub async fn compact(
        &mut self,
        group: &str,
        is_due: impl Fn(&[OfflineFile]) -> bool + Send,
    ) -> Result<Compacted, StoreError> {
        let mut together: BTreeMap<String, Vec<OfflineFile>> = BTreeMap::new();
        for file in self.store.listed(group).await? {
            if file.bytes <= MOST_BYTES / 2 {
                let place = format!("{group}/{}/{}", file.day(), file.writer());
                together.entry(place).or_default().push(file);
            }
        }
        self.unlike.retain(|place, _| together.contains_key(place));
        let mut done = Compacted::default();
        for (place, files) in together {
            if files.len() < 2 || !is_due(&files) || self.were_seen(&place, &files) {
                continue;
            }
            let before = done.before;
            for some in in_parts(&files) {
                self.store.compact_these(&place, some, &mut done).await?;
            }
            if done.before == before {
                let names = files.into_iter().map(|file| file.name);
                self.unlike.insert(place, names.collect());
            }
        }
        Ok(done)
    }

    fn were_seen(&self, place: &str, files: &[OfflineFile]) -> bool {
        let seen = self.unlike.get(place);
        seen.is_some_and(|names| names.iter().eq(files.iter().map(|file| &file.name)))
    }
}

/// Whether it is time for files of a pipeline that belong together, with the clock at `now`.
pub(crate) fn is_due(files: &[OfflineFile], pipeline: &str, now: i64) -> bool {
    let newest = files.iter().map(|file| file.written).max();
    files.iter().all(|file| file.is_of(pipeline))
        && (files.len() >= MANY || newest.is_some_and(|newest| newest <= now - QUIET))
}

impl OfflineStore {
    async fn compact_these(
        &self,
        place: &str,
        files: &[OfflineFile],
        done: &mut Compacted,
    ) -> Result<(), StoreError> {
        // Columns change when a pipeline gets another feature. What is not there is not the same as a null.
        let mut alike: Vec<Alike<'_>> = Vec::new();
        for file in files {
            let bytes = match self.got(&file.name).await {
                Ok(bytes) => bytes,
                // Somebody else is at it.
                Err(Error::NotFound { .. }) => return Ok(()),
                Err(error) => return Err(self.explain(&file.name, &error)),
            };
            let opened = ParquetRecordBatchReaderBuilder::try_new(bytes.clone());
            let opened = opened.map_err(|error| self.damaged(&file.name, error.to_string()))?;
            let schema = Arc::clone(opened.schema());
            match alike.iter_mut().find(|(other, _)| *other == schema) {
                Some((_, files)) => files.push((file, bytes)),
                None => alike.push((schema, vec![(file, bytes)])),
            }
        }
        for (schema, files) in alike {
            if files.len() < 2 {
                continue;
            }
            let (files, bytes): (Vec<&OfflineFile>, Vec<Bytes>) = files.into_iter().unzip();
            // Whole seconds of work, which nobody else's requests are to wait for.
            let merged = tokio::task::spawn_blocking(move || once_each(schema, bytes)).await;
            let merged = merged.unwrap_or_else(|panic| Err(ParquetError::External(panic.into())));
            let (bytes, repeated) = merged.map_err(|error| {
                StoreError::Shape(format!("{place} cannot be compacted: {error}"))
            })?;
            let name = self.put(&format!("{place}-c"), bytes).await?;
            for file in &files {
                if file.name != name {
                    self.remove(&file.name).await?;
                }
            }
            done.before += files.len() as u64;
            done.after += 1;
            done.repeated += repeated;
        }
        Ok(())
    }
}

/// Files in parts of a bearable size. A part of one is left as it is.
fn in_parts(files: &[OfflineFile]) -> Vec<&[OfflineFile]> {
    let mut parts = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (at, file) in files.iter().enumerate() {
        if bytes + file.bytes > MOST_BYTES {
            parts.push(&files[first..at]);
            (first, bytes) = (at, 0);
        }
        bytes += file.bytes;
    }
    parts.push(&files[first..]);
    parts.retain(|part| part.len() > 1);
    parts
}

/// A file with all rows of some files, each once, and how many were there more than once.
fn once_each(schema: SchemaRef, files: Vec<Bytes>) -> Result<(Vec<u8>, u64), ParquetError> {
    let mut seen = HashSet::new();
    let mut writer = encoder(schema)?;
    let mut repeated = 0;
    for file in files {
        let rows = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(8_192);
        for rows in rows.build()? {
            let rows = rows?;
            let is_new = first_of(&rows, &mut seen)?;
            repeated += (is_new.len() - is_new.true_count()) as u64;
            writer.write(&filter_record_batch(&rows, &is_new)?)?;
        }
    }
    Ok((writer.into_inner()?, repeated))
}

/// Which write a row is: lane, epoch, sequence; and when it was written, so that nothing is lost where two pipelines of one
/// name write to one place.
type Write = (u32, u64, u64, i64);

/// Which rows were not seen before.
fn first_of(rows: &RecordBatch, seen: &mut HashSet<Write>) -> Result<BooleanArray, ArrowError> {
    let column = |name: &str| {
        rows.column_by_name(name)
            .ok_or_else(|| ArrowError::SchemaError(format!("there is no `{name}`")))
    };
    let lanes = column(LANE)?.as_primitive_opt::<UInt32Type>();
    let epochs = column(EPOCH)?.as_primitive_opt::<UInt64Type>();
    let sequences = column(SEQUENCE)?.as_primitive_opt::<UInt64Type>();
    let times = column(WRITE_TIME)?.as_primitive_opt::<TimestampMicrosecondType>();
    let (Some(lanes), Some(epochs), Some(sequences), Some(times)) =
        (lanes, epochs, sequences, times)
    else {
        let message = "lane, epoch and sequence are not numbers, or the time is none".to_owned();
        return Err(ArrowError::SchemaError(message));
    };
    let is_new = (0..rows.num_rows()).map(|row| {
        let write = (
            lanes.value(row),
            epochs.value(row),
            sequences.value(row),
            times.value(row),
        );
        Some(seen.insert(write))
    });
    Ok(is_new.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(pipeline: &str, written: i64) -> OfflineFile {
        OfflineFile {
            name: format!("driver/2026-01-31/{pipeline}-10m-l0-1-0-0123456789abcdef.parquet"),
            bytes: 1,
            written,
        }
    }

    #[test]
    fn files_are_due_when_they_are_many_or_nothing_comes_any_more() {
        let few = [file("rides", 5), file("rides", 7)];
        assert!(!is_due(&few, "rides", QUIET + 6));
        assert!(is_due(&few, "rides", QUIET + 7));
        assert!(!is_due(&few, "rid", QUIET + 7), "of another pipeline");
        let many = vec![file("rides", 7); MANY];
        assert!(is_due(&many, "rides", 8));
        assert!(!is_due(&many[1..], "rides", 8));
    }
}
