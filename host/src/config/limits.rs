//! `[limits]` of a pipeline: what its transforms may use. What each limit bounds stands in the table of
//! the sandbox, and in docs/limits.md.

use std::ops::RangeInclusive;

use super::pipeline_file::{ROOT_KEYS, number};
use super::table::{Node, Table};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a transform may use. Times are in microseconds, everything else in bytes or pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of an instance, 1 MiB to 4 GiB.
    pub memory: u64,
    /// CPU time of a call, at least 1 ms.
    pub cpu_per_call: i64,
    /// Rows that a call may return.
    pub output_rows: u64,
    /// Bytes that a call may return.
    pub output_bytes: u64,
    /// Bytes of state that a group may have.
    pub state_per_group: u64,
    /// Bytes of state that the pipeline may have in memory.
    pub state_bytes: u64,
    /// Keys that the pipeline may have in memory.
    pub keys: u64,
    /// Lines that a call may log; more are dropped and counted.
    pub log_lines_per_call: u32,
    /// Bytes of a line that is logged.
    pub log_line_bytes: u64,
    /// Bytes that an instance may log in a second, over some seconds.
    pub log_bytes_per_second: u64,
    /// Counts that a call may make, and likewise observations.
    pub metric_calls: u32,
    /// Different metric names that a transform may use.
    pub metric_names: u32,
    /// Different codes of rejects that a transform may use.
    pub reject_codes: u32,
    /// Elements of all tables of an instance.
    pub table_elements: u32,
    /// Columns that a schema may have.
    pub columns: u32,
    /// Bytes of a column's name.
    pub name_bytes: u64,
    /// How deep columns may nest.
    pub nesting: u32,
    /// Bytes of the component's file.
    pub component_size: u64,
    /// CPU time of compiling it, at least a second.
    pub compile_time: i64,
    /// Address space of compiling it.
    pub compile_memory: u64,
    /// Rows or windows on which a lane's transform may fail before it is given up.
    pub failures: u32,
    /// CPU time of finding out which rows of a batch fail.
    pub recovery_cpu: i64,
    /// Bytes that a lane keeps of windows that cannot be finished, for the next version to try again.
    pub unfinished_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 256 * MIB,
            cpu_per_call: 10_000_000,
            output_rows: 4 << 20,
            output_bytes: 64 * MIB,
            state_per_group: MIB,
            state_bytes: 4 * GIB,
            keys: 1_000_000_000,
            log_lines_per_call: 100,
            log_line_bytes: 4 * KIB,
            log_bytes_per_second: 256 * KIB,
            metric_calls: 1_000,
            metric_names: 64,
            reject_codes: 256,
            table_elements: 100_000,
            columns: 1_024,
            name_bytes: 256,
            nesting: 16,
            component_size: 128 * MIB,
            compile_time: 120_000_000,
            compile_memory: 8 * GIB,
            failures: 64,
            recovery_cpu: 600_000_000,
            unfinished_bytes: 16 * MIB,
        }
    }
}

/// The table, and what of it could not be read.
struct Reader<'a> {
    table: Table<'a>,
    is_right: bool,
}

impl Reader<'_> {
    fn value<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Node<'_>) -> Option<T>,
    ) -> T {
        let Some(node) = self.table.optional(key) else {
            return default;
        };
        read(&node).unwrap_or_else(|| {
            self.is_right = false;
            default
        })
    }

    fn bytes(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.value(key, default, |node| node.bytes(range))
    }

    fn number<N: TryFrom<i64> + Copy>(
        &mut self,
        key: &'static str,
        default: N,
        range: RangeInclusive<i64>,
    ) -> N {
        self.value(key, default, |node| number(node, range))
    }

    fn time(&mut self, key: &'static str, default: i64, least: (i64, &str)) -> i64 {
        self.value(key, default, |node| read_time(node, least))
    }
}

pub(super) fn read(node: &Node<'_>) -> Option<Limits> {
    let mut table = Reader {
        table: node.table("a `[limits]` table")?,
        is_right: true,
    };
    let default = Limits::default();
    let limits = Limits {
        memory: table.bytes("memory", default.memory, MIB..=4 * GIB),
        cpu_per_call: table.time("cpu_per_call", default.cpu_per_call, (1_000, "1ms")),
        output_rows: table.number("output_rows", default.output_rows, 1..=u32::MAX.into()),
        output_bytes: table.bytes("output_bytes", default.output_bytes, KIB..=4 * GIB),
        state_per_group: table.bytes("state_per_group", default.state_per_group, 1..=GIB),
        state_bytes: table.bytes("state_bytes", default.state_bytes, KIB..=KIB * GIB),
        keys: table.number("keys", default.keys, 1..=i64::MAX),
        log_lines_per_call: table.number(
            "log_lines_per_call",
            default.log_lines_per_call,
            0..=100_000,
        ),
        log_line_bytes: table.bytes("log_line_bytes", default.log_line_bytes, 16..=MIB),
        log_bytes_per_second: table.bytes(
            "log_bytes_per_second",
            default.log_bytes_per_second,
            KIB..=GIB,
        ),
        metric_calls: table.number("metric_calls", default.metric_calls, 0..=1_000_000),
        metric_names: table.number("metric_names", default.metric_names, 0..=10_000),
        reject_codes: table.number("reject_codes", default.reject_codes, 1..=1_000),
        table_elements: table.number("table_elements", default.table_elements, 1..=100_000),
        columns: table.number("columns", default.columns, 1..=65_536),
        name_bytes: table.bytes("name_bytes", default.name_bytes, 16..=64 * KIB),
        nesting: table.number("nesting", default.nesting, 1..=64),
        component_size: table.bytes("component_size", default.component_size, KIB..=4 * GIB),
        compile_time: table.time("compile_time", default.compile_time, (1_000_000, "1s")),
        compile_memory: table.bytes(
            "compile_memory",
            default.compile_memory,
            64 * MIB..=KIB * GIB,
        ),
        failures: table.number("failures", default.failures, 0..=1_000_000),
        recovery_cpu: table.time("recovery_cpu", default.recovery_cpu, (1_000, "1ms")),
        unfinished_bytes: table.bytes("unfinished_bytes", default.unfinished_bytes, 0..=GIB),
    };
    table.table.finish(&ROOT_KEYS, &[]);
    table.is_right.then_some(limits)
}

/// A time of a processor in microseconds, of at least so many.
fn read_time(node: &Node<'_>, (least, shown): (i64, &str)) -> Option<i64> {
    let micros = node.positive_duration("\"10s\"")?;
    if micros.value < least {
        let hint = format!("write at least \"{shown}\"");
        node.report("is shorter than can be measured", hint);
        return None;
    }
    Some(micros.value)
}
