//! The times of some rows.

/// From the first time to the last one, in microseconds; both are inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Span {
    /// The span of no rows.
    pub(super) const EMPTY: Self = Self {
        first: i64::MAX,
        last: i64::MIN,
    };

    pub(super) fn is_empty(self) -> bool {
        self.first > self.last
    }

    /// The same with another time.
    pub(super) fn with(self, time: i64) -> Self {
        self.and(Self {
            first: time,
            last: time,
        })
    }

    /// The span of the rows of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}
