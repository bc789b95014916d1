//! Sinks that are files: what a bounded run writes beside, or instead of, a feature store.
//!
//! What comes in: closed windows from several lanes ([`FileSink`]) and rows that were rejected or late
//! ([`RejectSink`]), interleaved in any way. What goes out: files whose bytes depend on the rows alone, not on the
//! number of lanes, the batch size or the run.
//!
//! What it must never do: touch the result of an earlier run before this run has succeeded. Files are written as
//! `<name>.partial` and renamed into place at the end ([`Whole`]). Everything here blocks: call it from one blocking thread.

mod error;
mod file;
pub mod kafka;
mod ordered;
mod partial;
mod rejects;
mod text;

pub use self::error::SinkError;
pub use self::file::{FileSink, FileSummary, Format};
pub use self::ordered::{Mark, RowOrder};
pub use self::partial::Whole;
pub use self::rejects::{Position, Record, Reject, RejectSink, reject_line};
