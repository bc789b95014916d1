//! Panes: the slices of event time that a lane keeps state for. A tumbling window is one pane.

/// A half-open slice of event time, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pane {
    /// The first instant inside.
    pub start: i64,
    /// The first instant after it.
    pub end: i64,
}

impl Pane {
    /// Whether an event time is inside.
    pub fn contains(self, event_time: i64) -> bool {
        self.start <= event_time && event_time < self.end
    }
}

/// How event time is cut: into panes of `size`, one of which starts at `offset`; both in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panes {
    size: i64,
    offset: i64,
}

impl Panes {
    /// Panes of `size` microseconds, shifted by `offset`. `None` unless `size` is above zero.
    pub fn new(size: i64, offset: i64) -> Option<Self> {
        (size > 0).then(|| Self {
            size,
            offset: offset.rem_euclid(size),
        })
    }

    /// The pane of an event time. `None` where its bounds are beyond what 64 bits hold, some
    /// 290,000 years from 1970.
    pub fn of(self, event_time: i64) -> Option<Pane> {
        let into = event_time.checked_sub(self.offset)?.rem_euclid(self.size);
        let start = event_time.checked_sub(into)?;
        Some(Pane {
            start,
            end: start.checked_add(self.size)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_time_is_in_its_aligned_pane(
            size in 1..1_000_000_i64,
            offset in any::<i32>(),
            time in -1_000_000_000_000..1_000_000_000_000_i64,
        ) {
            let pane = Panes::new(size, i64::from(offset)).unwrap().of(time).unwrap();
            prop_assert!(pane.contains(time));
            prop_assert_eq!(pane.end - pane.start, size);
            prop_assert_eq!((pane.start - i64::from(offset)).rem_euclid(size), 0);
        }
    }

    #[test]
    fn the_ends_of_time_are_refused_not_wrapped() {
        let panes = Panes::new(1 << 40, 7).unwrap();
        assert_eq!(panes.of(i64::MAX), None);
        assert_eq!(panes.of(i64::MIN), None);
        assert_eq!(Panes::new(0, 0), None);
    }
}
