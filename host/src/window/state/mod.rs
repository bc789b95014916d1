//! What of windows outlives the process: which facts and states changed, as records, and windows
//! made anew from records.
//!
//! Out go [`Changes`]: since they were last taken, which records are new or different and which are
//! gone. In come the [`Records`] of whole keys. [`Codec`] turns both into bytes and back; where the
//! bytes are kept is nobody's business here. What follows from the records (the folds of hopping
//! windows, what is due when) is never kept: it is worked out again, with the same merges in the
//! same order, so that windows which were put away and taken out again emit the same bytes.
//!
//! The records of each kind of windows are in its own folder, in `kept.rs`. A key is the unit: either all of its records are at work or none is.

mod codec;
mod facts;
mod marks;
mod records;
mod shown;
mod unfinished;

pub use codec::{Codec, Edit, StateError};
pub use records::{Changes, Progress, RecordId, Records, Schedule};
pub use shown::{Described, Fact};
pub use unfinished::{UnfinishedWindow, UnfinishedWindows};

pub(super) use codec::damaged;
pub(super) use facts::{Reading, put};
pub(super) use marks::Marks;
pub(super) use records::Gathering;
