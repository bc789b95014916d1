//! What a transform may use: the limits of one pipeline, and the table of all limits that there are.
//!
//! Documents are checked against [`LIMITS`], and a rule of the house sees to it that each of them has
//! a hostile guest in `tests/hostile`.

mod table;

use std::time::Duration;

pub use table::{LIMITS, Limit, SetBy};

/// Elements that all tables of an instance may have together, and so any one of them in the pool.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;

/// How deep lists and structs may nest at the most; recursion over schemas stays that shallow.
pub const MAX_NESTING: usize = 64;

/// What a transform may use. Bytes are bytes; every limit holds for each call unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of the instance, in bytes.
    pub memory: usize,
    /// CPU time of one call.
    pub cpu_per_call: Duration,
    /// Bytes that one call may return.
    pub output_bytes: usize,
    /// Rows that one call of `finish` or `map` may return.
    pub output_rows: usize,
    /// Bytes of state that one group may have.
    pub state_per_group: usize,
    /// Log lines that one call may write; further ones are dropped and counted.
    pub log_lines_per_call: usize,
    /// Bytes of one log line; the rest is cut.
    pub log_line_bytes: usize,
    /// Bytes of log lines a second that an instance may write, over some seconds; further lines are
    /// dropped and counted.
    pub log_bytes_per_second: usize,
    /// Counts, and likewise observations, that one call may make; further ones are dropped and counted.
    pub metric_calls: usize,
    /// Distinct metric names of one instance; further ones are dropped and counted. Metrics of transforms have
    /// no labels.
    pub metric_names: usize,
    /// Distinct codes of rejects of one instance.
    pub reject_codes: usize,
    /// Elements of all tables of the instance together; the pool has room for no more in one.
    pub table_elements: usize,
    /// Columns, nested ones included, that `open` may name in one schema.
    pub columns: usize,
    /// Bytes of a column's name or format, and of a metric's name.
    pub name_bytes: usize,
    /// How deep lists and structs may nest in what `open` says, [`MAX_NESTING`] at the most.
    pub nesting: usize,
    /// Bytes of a component's file.
    pub component_size: usize,
    /// CPU time that compiling a component may take; a child that does nothing for as long is ended, too.
    pub compile_time: Duration,
    /// Address space that compiling a component may take, in bytes.
    pub compile_memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            cpu_per_call: Duration::from_secs(10),
            output_bytes: 64 << 20,
            output_rows: 4 << 20,
            state_per_group: 1 << 20,
            log_lines_per_call: 100,
            log_line_bytes: 4096,
            log_bytes_per_second: 256 << 10,
            metric_calls: 1000,
            metric_names: 64,
            reject_codes: 256,
            table_elements: TABLE_ELEMENTS,
            columns: 1024,
            name_bytes: 256,
            nesting: 16,
            component_size: 128 << 20,
            compile_time: Duration::from_secs(120),
            compile_memory: 8 << 30,
        }
    }
}

/// A limit that was hit, as it travels through wasmtime's error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("limit {name}: {limit} allowed, {current} used, {requested} more asked for")]
pub(crate) struct LimitExceeded {
    pub(crate) name: &'static str,
    pub(crate) limit: String,
    pub(crate) current: String,
    pub(crate) requested: String,
}
