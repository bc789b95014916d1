//! What `penstock run` is told about replaying: which event times, and how fast.

use std::sync::Arc;

use super::Failure;
use crate::clock::{Clock, SystemClock};
use crate::source::prepared::TimeRange;
use crate::source::replay::Pace;

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Replaying {
    /// Only events from this time on, as in `2026-01-31` or `2026-01-31T09:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    from: Option<i64>,
    /// Only events before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    to: Option<i64>,
    /// How fast event time goes: `1x` as it went, `10x`, `0.5x`, or `max` for as fast as can be. The
    /// result is the same for any.
    #[arg(long, value_name = "FACTOR", default_value = "max", value_parser = parse_speed)]
    speed: Speed,
}

/// How fast event time goes; none for as fast as can be.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Speed(Option<f64>);

impl Replaying {
    /// The event times that are wanted.
    pub(super) fn range(&self) -> Result<TimeRange, Failure> {
        let range = TimeRange {
            from: self.from.unwrap_or(i64::MIN),
            to: self.to.unwrap_or(i64::MAX),
        };
        if range.from >= range.to {
            return Err(Failure::Input(
                "nothing is from --from on and before --to; give --to a later time".into(),
            ));
        }
        Ok(range)
    }

    /// Refuses what a live stream cannot do.
    pub(super) fn refuse_for_live(&self) -> Result<(), Failure> {
        if self.from.is_none() && self.to.is_none() && self.speed.0.is_none() {
            return Ok(());
        }
        Err(Failure::Input(
            "--from, --to and --speed are for recorded events; where a live stream begins, `start` in its table of penstock.toml says".into(),
        ))
    }

    /// The pace, on the real clock.
    pub(super) fn pace(&self) -> Option<Pace> {
        self.speed.0.map(|factor| Pace {
            factor,
            clock: Arc::new(SystemClock::start()) as Arc<dyn Clock>,
        })
    }
}

/// An instant, in microseconds: RFC 3339, or a date for its first moment in UTC.
pub(super) fn parse_instant(text: &str) -> Result<i64, String> {
    if let Ok(date) = text.parse::<jiff::civil::Date>()
        && text.len() <= "2026-01-31".len()
    {
        return Ok(in_utc(date.into()));
    }
    let instant = text.parse::<jiff::Timestamp>();
    let instant = instant.map(|instant| instant.as_microsecond());
    // The last hours that a calendar has are no instants any more; people write them for an open end.
    let last = || {
        let civil = text.strip_suffix('Z')?.parse::<jiff::civil::DateTime>();
        civil.ok().filter(|civil| civil.year() == 9999).map(in_utc)
    };
    instant.ok().or_else(last).ok_or_else(|| {
            "write a date (2026-01-31) or a time with its offset (2026-01-31T09:00:00Z, 2026-01-31T10:00:00+01:00)"
                .to_owned()
        })
}

/// In microseconds; beyond all events where there is no such instant.
fn in_utc(civil: jiff::civil::DateTime) -> i64 {
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC);
    zoned.map_or_else(
        |_| if civil.year() > 0 { i64::MAX } else { i64::MIN },
        |zoned| zoned.timestamp().as_microsecond(),
    )
}

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed(None));
    }
    let factor = text.strip_suffix('x').and_then(|text| text.parse().ok());
    match factor {
        Some(factor) if f64::is_normal(factor) && factor > 0.0 => Ok(Speed(Some(factor))),
        _ => Err("write 1x, 10x, 0.5x or any other number above zero with an x, or max".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_dates_or_times_with_an_offset() {
        assert_eq!(parse_instant("1970-01-02"), Ok(86_400_000_000));
        assert_eq!(parse_instant("1970-01-01T01:00:00.5+01:00"), Ok(500_000));
        for end in ["9999-12-31", "9999-12-31T23:59:59Z"] {
            assert_eq!(parse_instant(end), Ok(i64::MAX));
        }
        for wrong in [
            "yesterday",
            "1970-01-01T01:00:00",
            "09:00",
            "",
            "2026-13-01",
        ] {
            assert!(parse_instant(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn speeds_are_factors() {
        assert_eq!(parse_speed("max"), Ok(Speed(None)));
        assert_eq!(parse_speed("0.5x"), Ok(Speed(Some(0.5))));
        assert_eq!(parse_speed("10x"), Ok(Speed(Some(10.0))));
        for wrong in ["0x", "-1x", "10", "infx", "NaNx", "x", "fast"] {
            assert!(parse_speed(wrong).is_err(), "{wrong}");
        }
    }
}
