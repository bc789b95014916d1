//! A version of a transform beside the one at work: what differs between what the two compute from the same events.
//!
//! In come what a lane of each version emits, and how far it has come; out goes a report (`report`): how many values of
//! each feature are equal, how far the others are apart, and the worst of them. `matching` puts what belongs together
//! next to each other, by entity and window, and `comparing` takes from the two lanes in turn, so that what waits for its
//! counterpart stays little. A `condition` on the report says whether the version may take the other's place.
//!
//! `replayed` runs both over recorded events, in this process; on live events lanes have the other version beside them
//! (`crate::pipeline::live`). Nothing here may write to a store, a file or a topic, and
//! nothing depends on a clock.

mod comparing;
mod condition;
mod matching;
mod replayed;
mod report;
mod spread;

pub use self::comparing::CompareError;
pub(super) use self::comparing::Comparing;
pub use self::condition::{Condition, ConditionError, Gate};
pub(super) use self::matching::Matching;
pub use self::matching::Side;
pub use self::replayed::{ReplayedError, replay};
pub use self::report::{Case, Figures, Report};
pub use self::spread::Spread;
