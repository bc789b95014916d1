//! How messages are dated.

use std::time::{SystemTime, UNIX_EPOCH};

/// Dates messages by the event time that they are about, up to now.
///
/// What lies ahead is dated when it is sent: the end of a window whose running value is told, or what a
/// device says whose clock is wrong. Brokers refuse what is dated an hour later than their clocks
/// (`message.timestamp.after.max.ms`), and one such row would keep its lane from publishing for ever.
#[derive(Debug, Clone, Copy)]
pub struct Dating {
    now: i64,
}

impl Dating {
    /// For messages that are made now.
    #[expect(
        clippy::disallowed_methods,
        reason = "brokers judge by the time of day; what a message says does not depend on it"
    )]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.map(|since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
        Self {
            // A clock before 1970 dates nothing.
            now: micros.unwrap_or(0),
        }
    }

    /// The time of a message about `event_time`, in microseconds; none for when it is sent.
    pub fn of(self, event_time: i64) -> Option<i64> {
        (event_time <= self.now).then_some(event_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_ahead_is_dated_when_it_is_sent() {
        let dating = Dating { now: 1_000 };
        assert_eq!(dating.of(1_000), Some(1_000));
        assert_eq!(dating.of(-5), Some(-5));
        assert_eq!(dating.of(1_001), None);
        // 2020, and the year 2200.
        assert!(Dating::now().of(1_577_836_800_000_000).is_some());
        assert!(Dating::now().of(7_258_118_400_000_000).is_none());
    }
}
