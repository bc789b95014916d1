//! Dates and times from text.
//!
//! The layouts of RFC 3339 that nearly every producer writes (`2026-03-01T08:15:30Z`, with or without a fraction) are
//! read here by hand. Everything else, offsets among it, goes to jiff, which follows RFC 3339, RFC 9557 and the common
//! part of ISO 8601. Digits beyond the unit of a column are cut off, towards the past: a printer writes as many as
//! its clock has, and the order of events stays.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A point in time as seconds since 1970-01-01T00:00:00Z, rounded down, and nanoseconds above that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Instant {
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

impl Instant {
    /// In units of which a second has `per_second`: a power of ten up to a billion. `None` if it does not fit.
    #[inline]
    pub(in super::super) fn in_units(self, per_second: i64) -> Option<i64> {
        let part = i64::from(self.nanoseconds) / (1_000_000_000 / per_second);
        self.seconds.checked_mul(per_second)?.checked_add(part)
    }

    fn of_nanoseconds(nanoseconds: i128) -> Self {
        // jiff's range of years, ±9999, fits by far.
        Self {
            seconds: nanoseconds.div_euclid(1_000_000_000) as i64,
            nanoseconds: nanoseconds.rem_euclid(1_000_000_000) as u32,
        }
    }
}

/// Why a text is no point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum BadTime {
    /// It has no offset from UTC, and the column has a time zone.
    NoOffset,
    /// It cannot be read.
    Unreadable(String),
}

/// Reads a timestamp. With `zoned`, the text must give its offset from UTC. Without, a text without offset is taken as it
/// stands, and one with an offset is converted to UTC.
#[inline]
pub(in super::super) fn timestamp(text: &[u8], zoned: bool) -> Result<Instant, BadTime> {
    match utc(text) {
        Some(instant) => Ok(instant),
        None => any_timestamp(text, zoned),
    }
}

#[cold]
fn any_timestamp(text: &[u8], zoned: bool) -> Result<Instant, BadTime> {
    let text = std::str::from_utf8(text).map_err(|e| BadTime::Unreadable(e.to_string()))?;
    let error = match text.parse::<jiff::Timestamp>() {
        Ok(_) if offset_of_days(text) => {
            let reason = "its offset from UTC is a day or more";
            return Err(BadTime::Unreadable(reason.to_owned()));
        }
        Ok(timestamp) => return Ok(Instant::of_nanoseconds(timestamp.as_nanosecond())),
        Err(error) => error,
    };
    let Ok(civil) = text.parse::<DateTime>() else {
        return Err(BadTime::Unreadable(error.to_string()));
    };
    if text.contains('[') {
        let reason = "it has a zone in brackets, and not the offset that says which instant it is";
        return Err(BadTime::Unreadable(reason.to_owned()));
    }
    if zoned {
        return Err(BadTime::NoOffset);
    }
    let timestamp = TimeZone::UTC
        .to_timestamp(civil)
        .map_err(|e| BadTime::Unreadable(e.to_string()))?;
    Ok(Instant::of_nanoseconds(timestamp.as_nanosecond()))
}

/// Whether a time has an offset above 23:59, which RFC 3339 does not know.
fn offset_of_days(text: &str) -> bool {
    let time = text
        .split_once(['T', 't', ' '])
        .map_or("", |(_, time)| time);
    let offset = time.split_once(['+', '-']).map_or("", |(_, offset)| offset);
    offset.get(..2).is_some_and(|hours| hours > "23")
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction]Z`, the fraction of one to nine digits. `None` for anything else, a leap second too.
#[inline]
fn utc(text: &[u8]) -> Option<Instant> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    if head[10] != b'T' {
        return None;
    }
    let days = date(head.first_chunk::<10>()?)?;
    let second = time_of_day(head[11..].first_chunk::<8>()?)?;
    let nanoseconds = match rest {
        [b'Z'] => 0,
        [b'.', digits @ .., b'Z'] => fraction(digits)?,
        _ => return None,
    };
    Some(Instant {
        seconds: i64::from(days) * 86_400 + i64::from(second),
        nanoseconds,
    })
}

#[inline(always)]
fn two(text: &[u8], at: usize, bad: &mut bool) -> u32 {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    *bad |= (tens > 9) | (ones > 9);
    u32::from(tens) * 10 + u32::from(ones)
}

/// `YYYY-MM-DD` as days since 1970-01-01.
#[inline]
pub(in super::super) fn date(text: &[u8; 10]) -> Option<i32> {
    let mut bad = (text[4] != b'-') | (text[7] != b'-');
    let year = two(text, 0, &mut bad) * 100 + two(text, 2, &mut bad);
    let month = two(text, 5, &mut bad);
    let day = two(text, 8, &mut bad);
    if bad || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
        return None;
    }
    Some(days_since_epoch(year, month, day))
}

/// `HH:MM:SS` as seconds since midnight.
#[inline]
fn time_of_day(text: &[u8; 8]) -> Option<u32> {
    let mut bad = (text[2] != b':') | (text[5] != b':');
    let hour = two(text, 0, &mut bad);
    let minute = two(text, 3, &mut bad);
    let second = two(text, 6, &mut bad);
    bad |= (hour > 23) | (minute > 59) | (second > 59);
    (!bad).then_some(hour * 3600 + minute * 60 + second)
}

/// One to nine digits after the point, as nanoseconds.
#[inline]
fn fraction(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let mut value = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u32::from(digit);
    }
    Some(value * 10u32.pow(9 - digits.len() as u32))
}

/// `HH:MM:SS[.fraction]` as nanoseconds since midnight.
pub(in super::super) fn time(text: &[u8]) -> Option<i64> {
    let (head, rest) = text.split_first_chunk::<8>()?;
    let second = time_of_day(head)?;
    let nanoseconds = match rest {
        [] => 0,
        [b'.', digits @ ..] => fraction(digits)?,
        _ => return None,
    };
    Some(i64::from(second) * 1_000_000_000 + i64::from(nanoseconds))
}

#[inline]
fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`, for the years 0 to 9999.
#[inline]
fn days_since_epoch(year: u32, month: u32, day: u32) -> i32 {
    // The year begins in March, so that the leap day is its last; one era more keeps everything positive.
    let year = year + 400 - u32::from(month <= 2);
    let era = year / 400;
    let year_of_era = year % 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era) as i32 - 146_097 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn jiff(text: &str) -> Option<Instant> {
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(|t| Instant::of_nanoseconds(t.as_nanosecond()))
    }

    #[test]
    fn what_does_not_say_its_instant_is_refused() {
        for text in [
            "2001-01-01T00:00:00[Europe/Zurich]",
            "2001-01-01T00:00:00+24:00",
            "2001-01-01T00:00:00-25:59:59",
        ] {
            for zoned in [true, false] {
                let refused = timestamp(text.as_bytes(), zoned);
                assert!(matches!(refused, Err(BadTime::Unreadable(_))), "{text}");
            }
        }
        for text in [
            "2001-01-01T00:00:00+01:00[Europe/Zurich]",
            "2001-01-01T00:00:00-23:59",
            "2001-01-01 00:00:00+01",
        ] {
            assert!(timestamp(text.as_bytes(), true).is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_jiff_reads(
            (y, mo, d) in (0..10_000u32, 0..14u32, 0..33u32),
            (h, mi, s) in (0..26u32, 0..62u32, 0..62u32),
            fraction in "(\\.[0-9]{0,10})?",
            offset in "Z|z||\\+0[0-9]:00|-1[0-9]:[0-6]0",
        ) {
            let text = format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}{fraction}{offset}");
            prop_assert_eq!(timestamp(text.as_bytes(), true).ok(), jiff(&text), "{}", text);
            // The hand path alone must not accept what jiff refuses.
            if let Some(found) = utc(text.as_bytes()) {
                prop_assert_eq!(Some(found), jiff(&text));
            }
        }

        #[test]
        fn prints_of_jiff_are_read_by_hand(nanoseconds in 0..253_402_207_200_000_000_000i128) {
            let timestamp = jiff::Timestamp::from_nanosecond(nanoseconds).unwrap();
            let found = utc(timestamp.to_string().as_bytes());
            prop_assert_eq!(found, Some(Instant::of_nanoseconds(nanoseconds)));
        }

        #[test]
        fn arbitrary_bytes_are_refused(text in "[0-9T:Z.+-]{0,32}|.{0,32}") {
            if utc(text.as_bytes()).is_some() {
                prop_assert!(jiff(&text).is_some());
            }
        }
    }

    #[test]
    fn every_day_of_ten_thousand_years() {
        let mut day = jiff::civil::date(0, 1, 1);
        let mut expected = -719_528;
        loop {
            let text = day.to_string();
            assert_eq!(
                date(text.as_bytes().try_into().unwrap()),
                Some(expected),
                "{text}"
            );
            let Ok(next) = day.tomorrow() else { break };
            (day, expected) = (next, expected + 1);
        }
    }
}
