//! What is known of a key whose window is unbounded.

use crate::window::span::Span;
use crate::window::states::NONE;

/// The life of a key: from its first event to when its state is forgotten.
///
/// Each row looks at the life of another key, which is seldom in the processor's cache: all that a
/// row needs is here, in one line of it.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Life {
    /// The slot of its value; [`NONE`] as long as all events are in periods that are not over.
    pub(super) value: u32,
    /// The period that its latest row was in, and the slot there.
    pub(super) latest: (i64, u32),
    /// Periods that are not over and have events of it.
    pub(super) pending: u32,
    /// Whether its value has changed since it was emitted, other than by a period's end.
    pub(super) changed: bool,
    /// The times of the applied events. Periods that are not over come after those that are, so
    /// the first event is the value's first one as soon as there is a value.
    pub(super) events: Span,
    /// The least time of the rows of the segment at hand, of which it is not known yet whether they
    /// will be applied; `i64::MAX` if there are none.
    pub(super) unsure: i64,
    /// How often it was emitted.
    pub(super) revision: u32,
    /// Whether it gave a row the last time.
    pub(super) stands: bool,
    /// When it will be looked at; entries of the agenda with another instant are void.
    pub(super) due: i64,
}

const _: () = assert!(size_of::<Life>() == 64, "a life is one line");

impl Life {
    /// The life of a key without events.
    pub(super) const NONE: Self = Self {
        value: NONE,
        latest: (i64::MIN, NONE),
        pending: 0,
        changed: false,
        events: Span::EMPTY,
        unsure: i64::MAX,
        revision: 0,
        stands: false,
        due: i64::MIN,
    };

    /// Whether it has rows of which it is not known yet whether they will be applied.
    pub(super) fn has_unsure(&self) -> bool {
        self.unsure < i64::MAX
    }
}
