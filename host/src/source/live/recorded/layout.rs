//! How a recorded topic lies in its files: what `penstock record` writes, and what a bootstrap reads.
//!
//! Layout of a recording, version 1. A partition has a folder `p=N`. In it:
//!
//! - `_start.json`: `{"version": 1, "offset": …, "recording": {…}}`, written before anything else: where the
//!   recording of the partition begins;
//! - `FIRST.parquet`, of which `FIRST` is the first offset that it covers, in 20 digits. Its footer notes
//!   `penstock.version`, `penstock.next_offset` (the first one that it does not cover) and `penstock.recording`;
//! - `rejects-FIRST.ndjson`: what could not be decoded of the messages that `FIRST.parquet` covers. It is written
//!   before that file, and counts only if that is there.
//!
//! `recording` says what was asked for: texts `event`, `columns`, `hashed columns`, `key of hashes` and `sample`,
//! empty where there is none.

/// The version of all that.
pub const VERSION: u64 = 1;
/// The name of the file that says where a partition's recording begins.
pub const START: &str = "_start.json";

/// The note of a file's footer that gives the version.
pub const NOTE_VERSION: &str = "penstock.version";
/// The note that gives the offset behind the last that the file covers.
pub const NOTE_NEXT: &str = "penstock.next_offset";
/// The note that says what was asked for, as JSON.
pub const NOTE_RECORDING: &str = "penstock.recording";

/// The entry of a recording's description with the columns of which only hashes were recorded.
pub const HASHED: &str = "hashed columns";
/// The entry with the share of entities that were recorded.
pub const SAMPLE: &str = "sample";

/// The column of the partition that every recorded file has: `int32`.
pub const PARTITION: &str = "kafka_partition";
/// That of the offset: `int64`.
pub const OFFSET: &str = "kafka_offset";
/// That of when the stream recorded the message: `timestamp[us, UTC]`; null if it does not say.
pub const TIMESTAMP: &str = "kafka_timestamp";
/// That of the message's key, `binary`, which may be left out.
pub const KEY: &str = "kafka_key";

/// The folder of a partition.
pub fn folder(partition: u32) -> String {
    format!("p={partition}")
}

/// The name of the file of rows that begins at an offset.
pub fn rows_name(partition: u32, first: i64) -> String {
    format!("p={partition}/{first:020}.parquet")
}

/// The name of its rejects.
pub fn rejects_name(partition: u32, first: i64) -> String {
    format!("p={partition}/rejects-{first:020}.ndjson")
}

/// The offset in the name of a file of rows, without its folder.
pub fn first_of_rows(name: &str) -> Option<i64> {
    first_of(name, "", ".parquet")
}

/// The offset in the name of a file of rejects, without its folder.
pub fn first_of_rejects(name: &str) -> Option<i64> {
    first_of(name, "rejects-", ".ndjson")
}

/// The partition of a folder's name.
pub fn partition_of(folder: &str) -> Option<u32> {
    folder.strip_prefix("p=")?.parse().ok()
}

fn first_of(name: &str, before: &str, after: &str) -> Option<i64> {
    let digits = name.strip_prefix(before)?.strip_suffix(after)?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}
