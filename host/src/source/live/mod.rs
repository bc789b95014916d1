//! Live streams as a source.
//!
//! In come the messages of one split, in order, and the cursor that says what came before them. Out
//! come [`SourceBatch`](super::SourceBatch)es, each with the cursor that holds after it. Every message
//! ends in rows or in a reject.
//!
//! What it must never do: read a clock, wait for anything but a schema registry, or let what comes
//! out depend on how messages were cut into batches.

mod columns;
mod cursor;
mod split;

pub use self::columns::MessageColumn;
pub use self::cursor::SplitCursor;
pub use self::split::{LiveBatch, LiveError, LiveSpec, LiveSplit};
