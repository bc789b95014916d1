//! Where the rows of a live stream stand, as lanes hear it: what a lane commits follows from it, and what
//! it leaves out after a restart.

use std::sync::Arc;

use crate::source::live::{Placed, SplitCursor, Spot};

/// The place of a batch in a live stream.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The split, by a name that stays.
    pub(super) split: Arc<str>,
    pub(super) start: Start,
    /// The cursor once everything up to here is judged; none within a message of several rows.
    pub(super) after: Option<SplitCursor>,
    /// The greatest event time before the batch, in the same split.
    pub(super) greatest: i64,
    /// Where the messages lie, if offsets are not what cursors are made of.
    pub(super) placed: Option<Placed>,
}

/// What a batch of a live stream begins with.
#[derive(Debug, Clone)]
pub(super) enum Start {
    /// A message, which lies here.
    At(Spot),
    /// None: it only says how far the split was read.
    Nothing,
    /// None: the stream has the split no longer, and nothing need be known of it.
    Gone,
}

impl Place {
    /// Whether a reader can go on behind it.
    pub(super) fn is_whole(&self) -> bool {
        self.after.is_some() || matches!(self.start, Start::Gone)
    }
}
