//! The table of all limits.

use std::fmt;

/// Who says how much a limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBy {
    /// `[limits]` of a pipeline.
    Pipeline,
    /// Whoever starts the host.
    Operator,
    /// Nobody: it is the same for every host.
    Nobody,
}

impl fmt::Display for SetBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipeline => "the pipeline",
            Self::Operator => "the operator",
            Self::Nobody => "nobody",
        })
    }
}

/// A limit, as a person reads of it.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Its name: in `[limits]` of a pipeline, if it may be set there, and in errors.
    pub name: &'static str,
    /// What it is if nobody says otherwise, with its unit.
    pub default: &'static str,
    /// What it bounds.
    pub bounds: &'static str,
    /// What happens beyond it.
    pub beyond: &'static str,
    /// Who sets it.
    pub set_by: SetBy,
}

const fn limit(
    name: &'static str,
    default: &'static str,
    bounds: &'static str,
    beyond: &'static str,
    set_by: SetBy,
) -> Limit {
    Limit {
        name,
        default,
        bounds,
        beyond,
        set_by,
    }
}

const FAILS: &str = "the call fails";
const DROPPED: &str = "dropped and counted";
const REFUSED: &str = "the component is refused";
const STOPS: &str = "the pipeline stops";

/// All limits. The order is that of the documents.
#[rustfmt::skip] // One line for each, so that it can be read as the table that it is.
pub const LIMITS: [Limit; 32] = [
    limit("cpu_per_call", "10s", "CPU time of a call, instantiation and post-return included", FAILS, SetBy::Pipeline),
    limit("wall_without_progress", "none", "a call that waits for a clock or a stream instead of working", FAILS, SetBy::Nobody),
    limit("memory", "256MiB", "linear memory of an instance", FAILS, SetBy::Pipeline),
    limit("guest_memory", "three quarters of the machine's", "linear memory of all instances of the host together, taken before it is there; one component has no more than 3 times what is left to others", "the call fails, and that is no fault of the transform", SetBy::Operator),
    limit("stack", "1MiB", "stack of a call: recursion", FAILS, SetBy::Nobody),
    limit("table_elements", "100000", "elements of all tables of an instance, and likewise of the segments that fill them, each as often as its module is instantiated", FAILS, SetBy::Pipeline),
    limit("instances", "1024", "instances of the host at once; of modules in them 40 times as many, of memories 1,280, of tables 8,192", "those that wait for their next call make room; else the call fails, and that is no fault of the transform", SetBy::Nobody),
    limit("wasi_resources", "10000", "streams, timers and the like that an instance holds", FAILS, SetBy::Nobody),
    limit("output_rows", "4194304", "rows that a call returns", FAILS, SetBy::Pipeline),
    limit("output_bytes", "64MiB", "bytes that a call returns, or hands to the host at once", FAILS, SetBy::Pipeline),
    limit("reject_codes", "256", "different codes of rejects of an instance", FAILS, SetBy::Pipeline),
    limit("reject_code_bytes", "64B", "bytes of a reject's code", FAILS, SetBy::Nobody),
    limit("reject_detail_bytes", "4KiB", "bytes of a reject's detail", "the rest is cut", SetBy::Nobody),
    limit("state_per_group", "1MiB", "bytes of state of one key in one window", FAILS, SetBy::Pipeline),
    limit("state_bytes", "4GiB", "bytes of state of a pipeline in memory", STOPS, SetBy::Pipeline),
    limit("keys", "1000000000", "keys of a pipeline in memory", STOPS, SetBy::Pipeline),
    limit("log_lines_per_call", "100", "lines that a call logs; the last error has a place of its own", DROPPED, SetBy::Pipeline),
    limit("log_line_bytes", "4KiB", "bytes of a line that is logged", "the rest is cut", SetBy::Pipeline),
    limit("log_bytes_per_second", "256KiB", "bytes that a component logs in a second, with eight seconds' worth in store", DROPPED, SetBy::Pipeline),
    limit("metric_calls", "1000", "counts of a call, and likewise observations", DROPPED, SetBy::Pipeline),
    limit("metric_names", "64", "different metric names of an instance; there are no labels", DROPPED, SetBy::Pipeline),
    limit("columns", "1024", "columns of a schema that `open` gives, nested ones included", REFUSED, SetBy::Pipeline),
    limit("name_bytes", "256B", "bytes of a column's name or format, and of a metric's name", "the component is refused, the metric dropped", SetBy::Pipeline),
    limit("nesting", "16", "how deep lists and structs nest", REFUSED, SetBy::Pipeline),
    limit("component_size", "128MiB", "bytes of a component's file", REFUSED, SetBy::Pipeline),
    limit("compile_time", "120s", "CPU time of compiling a component; five times as long by the clock", REFUSED, SetBy::Pipeline),
    limit("compile_memory", "8GiB", "address space of compiling a component", REFUSED, SetBy::Pipeline),
    limit("modules", "64", "modules, and likewise tables, in a component; memories 8", REFUSED, SetBy::Nobody),
    limit("imports", "none", "imports beside `log` and `metrics`, and WASI with nothing behind it", REFUSED, SetBy::Nobody),
    limit("failures", "64", "rows or windows on which a lane's transform may fail before it is given up; 1,024 rows that go well make up for one", STOPS, SetBy::Pipeline),
    limit("recovery_cpu", "10m", "CPU time of finding out which rows of a batch fail", STOPS, SetBy::Pipeline),
    limit("unfinished_bytes", "16MiB", "bytes that a lane keeps of windows that cannot be finished, with their states, until the next version tries them again", "not kept, and counted", SetBy::Pipeline),
];
