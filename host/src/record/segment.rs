//! One file of rows under way, and its rejects.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde::Serialize;

use super::columns::{Fate, Laid};
use super::place::Spool;
use super::{Counts, RecordError, RecordSpec, resume};
use crate::source::decode::message::DecodedMessages;
use crate::source::live::recorded::BAD_KEY;
use crate::source::messages::Messages;
use crate::text;

/// Rows and bytes after which a row group ends. Until then it is in memory.
const ROW_GROUP_ROWS: usize = 256 * 1024;
const ROW_GROUP_BYTES: usize = 32 << 20;
/// Bytes of rejects after which a file ends, however few rows it has.
const REJECT_BYTES: u64 = 256 << 20;

/// The messages of a partition from one offset on.
pub(super) struct Segment {
    partition: u32,
    first: i64,
    began: Duration,
    writer: ArrowWriter<Spool>,
    rejects: Option<Spool>,
    reject_bytes: u64,
    counts: Counts,
    rejected_by_code: BTreeMap<&'static str, u64>,
}

/// A segment whose files are in their places.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) counts: Counts,
    pub(super) rejected_by_code: BTreeMap<&'static str, u64>,
    pub(super) bytes: u64,
}

/// A line of rejects; the fields' order is the order in the file.
#[derive(Serialize)]
struct Reject<'a> {
    partition: u32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a str>,
}

impl Segment {
    pub(super) fn begin(
        spec: &RecordSpec,
        partition: u32,
        first: i64,
    ) -> Result<Self, RecordError> {
        let name = resume::rows_name(partition, first);
        let spool = spec.place.spool(&name)?;
        let properties = WriterProperties::builder()
            .set_created_by(concat!("penstock ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let schema = Arc::clone(spec.layout.schema());
        let writer = ArrowWriter::try_new(spool, schema, Some(properties));
        let writer = writer.map_err(|error| encode(spec, &name, &error))?;
        Ok(Self {
            partition,
            first,
            began: spec.clock.now(),
            writer,
            rejects: None,
            reject_bytes: 0,
            counts: Counts::default(),
            rejected_by_code: BTreeMap::new(),
        })
    }

    /// Adds the messages from number `first` on of which `decoded` was made.
    pub(super) fn add(
        &mut self,
        spec: &RecordSpec,
        messages: &Messages,
        first: usize,
        decoded: &DecodedMessages,
    ) -> Result<(), RecordError> {
        let name = resume::rows_name(self.partition, self.first);
        let laid = spec.layout.lay(messages, first, decoded);
        let laid = laid.map_err(|error| encode(spec, &name, &error))?;
        if laid.rows.num_rows() > 0 {
            let written = self.writer.write(&laid.rows);
            written.map_err(|error| encode(spec, &name, &error))?;
            if self.writer.in_progress_size() >= ROW_GROUP_BYTES {
                self.writer
                    .flush()
                    .map_err(|error| encode(spec, &name, &error))?;
            }
        }
        self.counts.rows += laid.rows.num_rows() as u64;
        for fate in &laid.fates {
            self.counts.read += 1;
            *match fate {
                Fate::Written => &mut self.counts.written,
                Fate::Rejected => &mut self.counts.rejected,
                Fate::SampledOut => &mut self.counts.sampled_out,
                Fate::Empty => &mut self.counts.empty,
            } += 1;
        }
        self.reject(spec, messages, decoded, &laid)
    }

    fn reject(
        &mut self,
        spec: &RecordSpec,
        messages: &Messages,
        decoded: &DecodedMessages,
        laid: &Laid,
    ) -> Result<(), RecordError> {
        let shown = !spec.layout.holds_back();
        let undecoded = decoded.rejects.iter().map(|reject| {
            (
                reject.message,
                reject.code,
                reject.detail.as_str(),
                Some(reject.record.as_str()),
            )
        });
        // One line a message is enough.
        let bad_keys = laid.bad_keys.iter().filter(|message| {
            decoded
                .rejects
                .binary_search_by_key(*message, |reject| reject.message)
                .is_err()
        });
        let bad_keys = bad_keys.map(|message| (*message, "invalid_utf8", BAD_KEY, None));
        let mut rejects: Vec<_> = undecoded.chain(bad_keys).collect();
        rejects.sort_by_key(|(message, ..)| *message);
        for (message, code, detail, record) in rejects {
            let time = messages.timestamps[message as usize];
            let line = Reject {
                partition: self.partition,
                offset: messages.offsets[message as usize],
                timestamp: (time != i64::MIN).then(|| text::instant(time)),
                code,
                detail: shown.then_some(detail),
                record: record.filter(|record| shown && !record.is_empty()),
            };
            self.write_reject(spec, &line)?;
            *self.rejected_by_code.entry(code).or_default() += 1;
            self.counts.rejects += 1;
        }
        Ok(())
    }

    fn write_reject(&mut self, spec: &RecordSpec, line: &Reject<'_>) -> Result<(), RecordError> {
        let name = resume::rejects_name(self.partition, self.first);
        let mut line = serde_json::to_vec(line).expect("texts and numbers are JSON");
        line.push(b'\n');
        let spool = match &mut self.rejects {
            Some(spool) => spool,
            none => none.insert(spec.place.spool(&name)?),
        };
        self.reject_bytes += line.len() as u64;
        spool.write_all(&line).map_err(|source| RecordError::File {
            doing: "write",
            path: spec.place.shown(&name),
            source,
        })
    }

    /// Whether it is time for the next file.
    pub(super) fn is_due(&self, spec: &RecordSpec) -> bool {
        let has_something = self.counts.rows > 0 || self.counts.rejects > 0;
        let age = spec.clock.now().saturating_sub(self.began);
        self.counts.rows >= spec.rows_per_file
            || self.reject_bytes >= REJECT_BYTES
            || (has_something && age >= spec.roll_every)
    }

    /// Makes it whole: it covers the offsets before `next`. Its rejects come into their place first, for the file
    /// of rows says that all of it is there.
    pub(super) fn finish(mut self, spec: &RecordSpec, next: i64) -> Result<Finished, RecordError> {
        if let Some(rejects) = self.rejects.take() {
            spec.place.place(rejects)?;
        }
        let name = resume::rows_name(self.partition, self.first);
        for (key, value) in resume::notes(next, spec.layout.description()) {
            self.writer
                .append_key_value_metadata(KeyValue::new(key, value));
        }
        let spool = self.writer.into_inner();
        let spool = spool.map_err(|error| encode(spec, &name, &error))?;
        Ok(Finished {
            bytes: spec.place.place(spool)?,
            counts: self.counts,
            rejected_by_code: self.rejected_by_code,
        })
    }
}

fn encode(spec: &RecordSpec, name: &str, error: &dyn std::error::Error) -> RecordError {
    RecordError::Encode {
        path: spec.place.shown(name),
        reason: error.to_string(),
    }
}
