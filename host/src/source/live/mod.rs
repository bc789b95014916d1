//! Live streams as sources: from what `penstock.toml` declares to rows.
//!
//! In comes an event of an environment; out comes a [`DeclaredStream`]: the settings of a client, the
//! format of the messages, and the columns that the event has. Nothing in there connects to a broker, and
//! no setting is dropped or guessed. Then in come the messages of one split, in order, and the cursor that
//! says what came before them ([`LiveSplit`]). Out come [`SourceBatch`](super::SourceBatch)es, each with
//! the cursor that holds after it. Every message ends in rows or in a reject. What was recorded of a topic goes the
//! same way ([`recorded`]).
//!
//! What it must never do: read a clock, wait for anything but a schema registry, or let what comes
//! out depend on how messages were cut into batches.

mod columns;
mod cursor;
mod declared;
pub mod recorded;
mod split;

pub use self::columns::MessageColumn;
pub use self::cursor::{Placed, Position, SplitCursor, Spot};
pub use self::declared::{DeclaredError, DeclaredStream, StreamOptions};
pub use self::split::{Bounds, HistoryRows, LiveBatch, LiveError, LiveSpec, LiveSplit};
