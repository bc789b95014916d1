//! Where rows came from, and the records that did not become rows.

/// The positions of a batch's rows in the file, as runs of neighbours: one run, unless records between were refused or
/// lines were blank.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    runs: Vec<Run>,
}

/// Rows that stood one after the other in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first row of the run, as an index into the batch.
    pub at: u32,
    /// The position of that row in the file. NDJSON and CSV: the line in which it begins, from 1, counted as an editor
    /// does, blank lines and the header included. Parquet and Arrow: the row, from 0.
    pub position: u64,
}

impl Origin {
    /// The runs, by ascending `at`; the first begins at row 0. Empty for a batch without rows.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The position in the file of a row of the batch. A row beyond the batch is taken to belong to the last run;
    /// without any run the answer is `None`.
    pub fn position(&self, row: u32) -> Option<u64> {
        let after = self.runs.partition_point(|run| run.at <= row);
        let run = self.runs.get(after.checked_sub(1)?)?;
        Some(run.position + u64::from(row - run.at))
    }

    /// Notes that row `row`, the one after the last noted, stood at `position`.
    #[inline]
    pub(in crate::source) fn push(&mut self, row: u32, position: u64) {
        match self.runs.last() {
            Some(run) if run.position + u64::from(row - run.at) == position => {}
            _ => self.runs.push(Run { at: row, position }),
        }
    }
}

/// A record that is not among the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The row of the batch before which the record stood; the number of rows if it stood after the last.
    pub before_row: u32,
    /// The record's position in the file, counted as in [`Run::position`].
    pub position: u64,
    /// One of the constants in [`code`].
    pub code: &'static str,
    /// What was expected, where, and what was found.
    pub reason: String,
    /// The record as it stood in the file, at most its first 64 KiB, without the end of the line. For Parquet and
    /// Arrow, the wanted columns of the row as JSON.
    pub record: Vec<u8>,
}

/// The kinds of [`Malformed`]: names for metrics and dead letters, which do not change.
pub mod code {
    /// The line is not one JSON object and nothing else.
    pub const MALFORMED_JSON: &str = "malformed_json";
    /// The record has another number of fields than the header, or a quote where none can be.
    pub const MALFORMED_CSV: &str = "malformed_csv";
    /// The message is no record of its Avro schema.
    pub const MALFORMED_AVRO: &str = "malformed_avro";
    /// The message is no Protobuf message of its type.
    pub const MALFORMED_PROTOBUF: &str = "malformed_protobuf";
    /// The message is no Arrow IPC stream or record batch.
    pub const MALFORMED_ARROW: &str = "malformed_arrow";
    /// The message does not begin with a magic byte and the id of its schema.
    pub const BAD_FRAMING: &str = "bad_framing";
    /// The registry does not have the message's schema.
    pub const UNKNOWN_SCHEMA: &str = "unknown_schema";
    /// The registry has the message's schema, and it is none that this version reads.
    pub const BAD_SCHEMA: &str = "bad_schema";
    /// The message has no value: a deletion, in a compacted topic of Kafka.
    pub const NO_VALUE: &str = "no_value";
    /// The line is not UTF-8.
    pub const INVALID_UTF8: &str = "invalid_utf8";
    /// The line is longer than the limit.
    pub const LINE_TOO_LONG: &str = "line_too_long";
    /// A value has another type than its column.
    pub const WRONG_TYPE: &str = "wrong_type";
    /// A number does not fit the type of its column.
    pub const OUT_OF_RANGE: &str = "out_of_range";
    /// A text does not have the form that its column asks for: a time, a number, base64.
    pub const BAD_VALUE: &str = "bad_value";
    /// A column that may not be null is null or missing.
    pub const MISSING_VALUE: &str = "missing_value";

    const ALL: [&str; 15] = [
        MALFORMED_JSON,
        MALFORMED_CSV,
        MALFORMED_AVRO,
        MALFORMED_PROTOBUF,
        MALFORMED_ARROW,
        BAD_FRAMING,
        UNKNOWN_SCHEMA,
        BAD_SCHEMA,
        NO_VALUE,
        INVALID_UTF8,
        LINE_TOO_LONG,
        WRONG_TYPE,
        OUT_OF_RANGE,
        BAD_VALUE,
        MISSING_VALUE,
    ];

    /// The constant that is written so.
    pub fn known(written: &str) -> Option<&'static str> {
        ALL.into_iter().find(|code| *code == written)
    }
}

/// How much of a record a [`Malformed`] keeps, in bytes.
pub(super) const RECORD_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_back() {
        let positions = [3u64, 4, 5, 9, 10, 12, 13, 20];
        let mut origin = Origin::default();
        assert_eq!(origin.position(0), None);
        for (row, position) in positions.iter().enumerate() {
            origin.push(row as u32, *position);
        }
        assert_eq!(origin.runs().len(), 4);
        assert!((0..8).all(|row| origin.position(row) == Some(positions[row as usize])));
    }
}
