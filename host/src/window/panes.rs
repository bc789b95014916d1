//! Panes: the slices of event time that a lane keeps state for. Windows are unions of panes.
//!
//! Panes are numbered, and every position in time that matters to a window is a *boundary*: boundary
//! `b` is the instant at which pane `b` starts. Arithmetic on windows is done on these numbers, so
//! it is the same whether panes are all of one length or are days of a calendar.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const DAY: i64 = 86_400_000_000;

/// A half-open slice of event time, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pane {
    /// Its number.
    pub number: i64,
    /// The first instant inside.
    pub start: i64,
    /// The first instant after it.
    pub end: i64,
}

impl Pane {
    /// A pane in which no time is.
    pub(super) const NONE: Self = Self {
        number: i64::MIN,
        start: 0,
        end: 0,
    };

    /// Whether an event time is inside.
    pub fn contains(self, event_time: i64) -> bool {
        self.start <= event_time && event_time < self.end
    }
}

/// How event time is cut.
#[derive(Debug, Clone)]
pub struct Panes(Cut);

#[derive(Debug, Clone)]
enum Cut {
    /// Pane 0 starts at `offset`, and all have one size; both in microseconds.
    Even { size: i64, offset: i64 },
    /// Pane 0 starts on 1970-01-01 at `offset` microseconds after midnight by local clocks, and
    /// all have as many days.
    Days {
        zone: TimeZone,
        days: i64,
        offset: i64,
    },
}

impl Panes {
    /// Panes of `size` microseconds, shifted by `offset`. `None` unless `size` is above zero.
    pub fn new(size: i64, offset: i64) -> Option<Self> {
        (size > 0).then_some(Self(Cut::Even { size, offset }))
    }

    /// Panes of so many days of a time zone, each beginning `offset` microseconds after local
    /// midnight. Where clocks skip that time the day begins at the first instant after the gap;
    /// where they show it twice, at the first of the two. A day that clocks skip altogether has no
    /// length. `None` unless there are some days.
    pub fn days(zone: TimeZone, days: i64, offset: i64) -> Option<Self> {
        (days > 0).then_some(Self(Cut::Days { zone, days, offset }))
    }

    /// The pane of an event time. `None` where its bounds are beyond what can be counted: some
    /// 290,000 years from 1970, or for days the years -9999 to 9999.
    pub fn of(&self, event_time: i64) -> Option<Pane> {
        let number = match &self.0 {
            Cut::Even { size, offset } => event_time.checked_sub(*offset)?.div_euclid(*size),
            Cut::Days { zone, days, offset } => {
                let instant = Timestamp::from_microsecond(event_time).ok()?;
                let local = micros(zone.to_datetime(instant));
                let mut number = (local - offset).div_euclid(DAY).div_euclid(*days);
                // Around a change of clocks the local time does not tell the day by itself.
                while self.start_of(number)? > event_time {
                    number -= 1;
                }
                while self.start_of(number + 1)? <= event_time {
                    number += 1;
                }
                number
            }
        };
        Some(Pane {
            number,
            start: self.start_of(number)?,
            end: self.start_of(number.checked_add(1)?)?,
        })
    }

    /// The greatest boundary at an instant or before it. Beyond what can be counted it is
    /// `i64::MIN` or `i64::MAX`.
    pub(super) fn last_boundary(&self, instant: i64) -> i64 {
        match self.of(instant) {
            Some(pane) => pane.number,
            None if instant < 0 => i64::MIN,
            None => i64::MAX,
        }
    }

    /// Whether a pane has no length, because it is a day that clocks skip.
    pub(super) fn is_skipped(&self, pane: i64) -> bool {
        match &self.0 {
            Cut::Even { .. } => false,
            Cut::Days { .. } => match pane.checked_add(1) {
                Some(next) => self.start_of(pane) == self.start_of(next),
                None => false,
            },
        }
    }

    /// The instant of a boundary, which is where the pane of that number starts. `None` as for
    /// [`Panes::of`].
    pub fn start_of(&self, boundary: i64) -> Option<i64> {
        match &self.0 {
            Cut::Even { size, offset } => boundary.checked_mul(*size)?.checked_add(*offset),
            Cut::Days { zone, days, offset } => {
                let days = boundary.checked_mul(*days)?;
                let local = days.checked_mul(DAY)?.checked_add(*offset)?;
                let local = datetime(local)?;
                // "Compatible": later in a gap by the gap's length, the earlier one in a fold.
                let gap = zone.to_ambiguous_timestamp(local);
                let instant = match gap.offset() {
                    jiff::tz::AmbiguousOffset::Gap { .. } => end_of_gap(zone, local)?,
                    _ => gap.compatible().ok()?,
                };
                Some(instant.as_microsecond())
            }
        }
    }
}

/// The first instant after the gap of local clocks that `local` is in.
fn end_of_gap(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    let after = zone.to_ambiguous_timestamp(local).later().ok()?;
    let before = zone.to_ambiguous_timestamp(local).earlier().ok()?;
    let transition = zone.following(before).next()?.timestamp();
    Some(transition.min(after))
}

/// Local time as microseconds, as if the zone were UTC.
fn micros(local: DateTime) -> i64 {
    TimeZone::UTC
        .to_timestamp(local)
        .map_or(i64::MAX, Timestamp::as_microsecond)
}

fn datetime(micros: i64) -> Option<DateTime> {
    let instant = Timestamp::from_microsecond(micros).ok()?;
    Some(TimeZone::UTC.to_datetime(instant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(name: &str) -> TimeZone {
        jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap()
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    proptest! {
        #[test]
        fn every_time_is_in_its_aligned_pane(
            size in 1..1_000_000_i64,
            offset in any::<i32>(),
            time in -1_000_000_000_000..1_000_000_000_000_i64,
        ) {
            let panes = Panes::new(size, i64::from(offset)).unwrap();
            let pane = panes.of(time).unwrap();
            prop_assert!(pane.contains(time));
            prop_assert_eq!(pane.end - pane.start, size);
            prop_assert_eq!((pane.start - i64::from(offset)).rem_euclid(size), 0);
            prop_assert_eq!(panes.start_of(pane.number), Some(pane.start));
        }

        #[test]
        fn every_time_is_in_one_local_day(
            name in prop::sample::select(vec![
                "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo",
                "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu", "UTC", "America/Havana",
            ]),
            offset_minutes in 0..1_440_i64,
            seconds in -1_500_000_000..2_500_000_000_i64, days in 2..40_i64,
        ) {
            let panes = Panes::days(zone(name), 1, offset_minutes * 60_000_000).unwrap();
            let time = seconds * 1_000_000;
            let pane = panes.of(time).unwrap();
            prop_assert!(pane.contains(time));
            let hours = (pane.end - pane.start) / 3_600_000_000;
            prop_assert!((0..=49).contains(&hours), "{hours} hours");
            prop_assert_eq!(panes.of(pane.end).unwrap().start, pane.end);
            prop_assert_eq!(panes.of(pane.end - 1).unwrap(), pane);
            // Panes of several days are made of those of one.
            let several = Panes::days(zone(name), days, offset_minutes * 60_000_000).unwrap();
            let of_days = several.of(time).unwrap();
            prop_assert!(of_days.contains(time));
            prop_assert_eq!(of_days.number, pane.number.div_euclid(days));
            prop_assert_eq!(Some(of_days.start), panes.start_of(of_days.number * days));
            prop_assert_eq!(Some(of_days.end), panes.start_of((of_days.number + 1) * days));
        }
    }

    #[test]
    fn days_follow_the_clocks() {
        let panes = Panes::days(zone("Europe/Zurich"), 1, 0).unwrap();
        let day = |time: &str| {
            let pane = panes.of(at(time)).unwrap();
            (pane.start, (pane.end - pane.start) / 3_600_000_000)
        };
        assert_eq!(
            day("2026-03-29T12:00:00Z"),
            (at("2026-03-28T23:00:00Z"), 23)
        );
        assert_eq!(
            day("2026-10-25T12:00:00Z"),
            (at("2026-10-24T22:00:00Z"), 25)
        );
        assert_eq!(
            day("2026-07-01T12:00:00Z"),
            (at("2026-06-30T22:00:00Z"), 24)
        );
    }

    #[test]
    fn a_start_that_clocks_skip_moves_to_the_end_of_the_gap() {
        // 02:00 to 03:00 does not exist on that day in Zurich.
        let panes = Panes::days(zone("Europe/Zurich"), 1, 9_000_000_000).unwrap();
        let pane = panes.of(at("2026-03-29T12:00:00Z")).unwrap();
        assert_eq!(pane.start, at("2026-03-29T01:00:00Z"));
        // 02:30 exists twice on that day; the first counts.
        let pane = panes.of(at("2026-10-25T12:00:00Z")).unwrap();
        assert_eq!(pane.start, at("2026-10-25T00:30:00Z"));
    }

    #[test]
    fn the_ends_of_time_are_refused_not_wrapped() {
        let panes = Panes::new(1 << 40, 7).unwrap();
        assert!(panes.of(i64::MAX).is_none());
        assert!(panes.of(i64::MIN).is_none());
        assert!(Panes::new(0, 0).is_none());
        assert!(Panes::days(zone("UTC"), 0, 0).is_none());
        let days = Panes::days(zone("UTC"), 1, 0).unwrap();
        assert!(days.of(i64::MAX).is_none());
        assert_eq!(days.last_boundary(i64::MAX), i64::MAX);
        assert_eq!(days.last_boundary(i64::MIN), i64::MIN);
    }
}
