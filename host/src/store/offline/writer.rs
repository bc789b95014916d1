//! Gathering rows of the history until they make a file that is worth its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::FutureExt as _;
use futures::future::join_all;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::OfflineStore;
use super::rows::by_day;
use crate::store::StoreError;

/// Bytes of rows that are held before they are written, about.
const HELD: usize = 32 << 20;

/// Files that are written at once: rows of many days are as many files.
const AT_ONCE: usize = 16;

/// What writes the history of one lane of a pipeline. Rows are in files when [`OfflineWriter::flush`] returns.
#[derive(Debug)]
pub struct OfflineWriter {
    store: Arc<OfflineStore>,
    /// What the names of its files have before their digest.
    stem: String,
    /// By group, day, and pipeline and window.
    held: BTreeMap<[String; 3], Vec<RecordBatch>>,
    bytes: usize,
}

impl OfflineWriter {
    /// `stem` says whose files they are, for people and where they are listed: lane and epoch, say.
    #[must_use]
    pub fn new(store: Arc<OfflineStore>, stem: String) -> Self {
        Self {
            store,
            stem,
            held: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Takes rows of a group, a pipeline and a window; and writes what is held if that is much.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they have no day, or cannot be written.
    pub async fn add(
        &mut self,
        group: &str,
        writer: [&str; 2],
        rows: &RecordBatch,
    ) -> Result<(), StoreError> {
        let [pipeline, window] = writer;
        let writer = format!("{}-{}", plain(pipeline), plain(window));
        for (day, rows) in by_day(rows)? {
            let place = [group.to_owned(), day, writer.clone()];
            let held = self.held.get(&place).and_then(|held| held.first());
            // A pipeline has got another feature. A file has one schema.
            if held.is_some_and(|held| held.schema() != rows.schema()) {
                self.flush().await?;
            }
            self.bytes += rows.get_array_memory_size();
            self.held.entry(place).or_default().push(rows);
        }
        match self.bytes > HELD {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Writes what is held.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be written: what is not, is still held.
    pub async fn flush(&mut self) -> Result<(), StoreError> {
        let places: Vec<[String; 3]> = self.held.keys().cloned().collect();
        for places in places.chunks(AT_ONCE) {
            let mut writing = Vec::with_capacity(places.len());
            for place in places {
                let [group, day, writer] = place;
                let start = format!("{group}/{day}/{writer}-{}", self.stem);
                let bytes = encode(&start, &self.held[place])?;
                let (store, place) = (Arc::clone(&self.store), place.clone());
                let put = async move { (place, store.put(&start, bytes).await) };
                writing.push(put.boxed());
            }
            let mut failed = None;
            for (place, put) in join_all(writing).await {
                match put {
                    Ok(_) => drop(self.held.remove(&place)),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        self.bytes = 0;
        Ok(())
    }
}

/// Refuses rows of which no file can be made.
///
/// # Errors
///
/// [`StoreError::Shape`] when they have a type that Parquet has not.
pub fn check_schema(rows: &RecordBatch) -> Result<(), StoreError> {
    let made = encoder(rows.schema());
    made.map(drop)
        .map_err(|error| StoreError::Shape(format!("the history cannot have such rows: {error}")))
}

/// A file of some batches, which must have one schema. `of` says of which file errors are.
fn encode(of: &str, batches: &[RecordBatch]) -> Result<Vec<u8>, StoreError> {
    let Some(first) = batches.first() else {
        return Err(StoreError::Shape(format!("{of} would have no rows")));
    };
    let written = (|| {
        let mut writer = encoder(first.schema())?;
        for batch in batches {
            writer.write(batch)?;
        }
        writer.into_inner()
    })();
    written.map_err(|error| StoreError::Shape(format!("{of} cannot be made: {error}")))
}

/// What makes a file of batches.
pub(super) fn encoder(schema: SchemaRef) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("penstock".to_owned())
        .build();
    ArrowWriter::try_new(Vec::new(), schema, Some(properties))
}

/// A part of a file's name: what separates parts, or means something to a file system, is left out.
pub(super) fn plain(text: &str) -> String {
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '.'
        }
    };
    text.chars().map(keep).collect()
}
