//! Durations as people write them: `500ms`, `10m`, `1h30m`, `2w`; microseconds inside.

use super::diagnostic::ValueError;

const MICROSECOND: i64 = 1;
const MILLISECOND: i64 = 1_000;
const SECOND: i64 = 1_000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// From the longest to the shortest. Weeks are read but not printed: `7d` stays `7d`.
const UNITS: [(&str, i64); 7] = [
    ("w", WEEK),
    ("d", DAY),
    ("h", HOUR),
    ("m", MINUTE),
    ("s", SECOND),
    ("ms", MILLISECOND),
    ("us", MICROSECOND),
];

/// Long enough for any feature; sums of a few durations and an event time stay far from overflow.
const LONGEST: i64 = 36_500 * DAY;

/// Reads a duration: whole numbers with a unit each, the longest unit first, spaces between them if
/// you like. Units: `w` `d` `h` `m` `s` `ms` `us`; a day has 24 hours. Gives microseconds, which may
/// be zero and are never negative.
pub fn parse_duration(text: &str) -> Result<i64, ValueError> {
    const EXAMPLES: &str =
        "write a whole number and a unit, such as \"10m\", \"1h30m\" or \"500ms\"";
    let refuse = |message: String, hint: &str| Err(ValueError::new(message, hint));
    let mut rest = text.trim();
    if rest.starts_with('-') {
        return refuse("a duration cannot be negative".to_owned(), EXAMPLES);
    }
    if rest.is_empty() {
        return refuse("a duration cannot be empty".to_owned(), EXAMPLES);
    }
    let mut total: i64 = 0;
    let mut shortest = i64::MAX;
    while !rest.is_empty() {
        let Some((number, unit, after)) = first_part(rest) else {
            return refuse(format!("`{text}` is not a duration"), EXAMPLES);
        };
        rest = after;
        let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let message = format!("`{unit}` is not a unit of time");
            return refuse(message, "the units are w, d, h, m (minutes), s, ms and us");
        };
        if *length >= shortest {
            let message = format!("`{unit}` cannot stand there in `{text}`");
            return refuse(
                message,
                "write each unit once, the longest first, such as \"1h30m\"",
            );
        }
        shortest = *length;
        let part = number
            .parse::<i64>()
            .ok()
            .and_then(|number| number.checked_mul(*length));
        match part.and_then(|part| total.checked_add(part)) {
            Some(sum) if sum <= LONGEST => total = sum,
            _ => {
                return refuse(
                    format!("`{text}` is too long"),
                    "the longest duration is \"36500d\"",
                );
            }
        }
    }
    Ok(total)
}

/// Writes microseconds the way [`parse_duration`] reads them, in the longest units up to days:
/// `1h30m`, `7d`, `0s`. A negative duration, which none that was parsed is, gets a sign.
pub fn print_duration(micros: i64) -> String {
    if micros == 0 {
        return "0s".to_owned();
    }
    let mut text = String::from(if micros < 0 { "-" } else { "" });
    let mut rest = micros.unsigned_abs();
    for (unit, length) in UNITS.into_iter().skip(1) {
        let number = rest / length.unsigned_abs();
        rest %= length.unsigned_abs();
        if number > 0 {
            text.push_str(&number.to_string());
            text.push_str(unit);
        }
    }
    text
}

/// The first number and unit of a duration, and what comes after.
fn first_part(text: &str) -> Option<(&str, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at(digits);
    let letters = rest
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    (!number.is_empty() && !unit.is_empty()).then(|| (number, unit, rest.trim_start()))
}

/// The longest duration of which both are multiples; neither is negative.
pub(crate) fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read() {
        for (text, micros) in [
            ("500ms", 500 * MILLISECOND),
            ("10m", 10 * MINUTE),
            ("1h30m", 90 * MINUTE),
            (" 1h 30m ", 90 * MINUTE),
            ("1d", DAY),
            ("2w", 14 * DAY),
            (
                "1w2d3h4m5s6ms7us",
                WEEK + 2 * DAY + 3 * HOUR + 4 * MINUTE + 5 * SECOND + 6 * MILLISECOND + 7,
            ),
            ("0s", 0),
            ("36500d", LONGEST),
        ] {
            assert_eq!(parse_duration(text), Ok(micros), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_fix() {
        for (text, said) in [
            ("", "cannot be empty"),
            ("10", "write a whole number and a unit"),
            ("m", "write a whole number and a unit"),
            ("1.5h", "is not a duration"),
            ("-1h", "cannot be negative"),
            ("10min", "`min` is not a unit of time"),
            ("10M", "`M` is not a unit of time"),
            ("30m1h", "the longest first"),
            ("1h1h", "each unit once"),
            ("36500d1us", "too long"),
            ("99999999999999999999s", "too long"),
            ("10m!", "is not a duration"),
            ("١h", "is not a duration"),
        ] {
            let error = parse_duration(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn printed_durations_read_back(micros in 0..=LONGEST) {
            prop_assert_eq!(parse_duration(&print_duration(micros)), Ok(micros));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-zµ .-]{0,12}") {
            let _ = parse_duration(&text);
        }
    }
}
