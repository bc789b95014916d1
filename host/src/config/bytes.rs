//! Amounts of memory as people write them: `64KiB`, `256MiB`, `1GiB`.

use super::diagnostic::ValueError;

const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Reads a whole number with one of the units `B`, `KiB`, `MiB`, `GiB` (powers of 1,024).
pub fn parse_bytes(text: &str) -> Result<u64, ValueError> {
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = (&trimmed[..digits], trimmed[digits..].trim_start());
    if number.is_empty() || unit.is_empty() {
        let message = format!("`{text}` is not an amount of memory");
        return Err(ValueError::new(
            message,
            "write a whole number and a unit, such as \"256MiB\"",
        ));
    }
    let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let first = unit.chars().next().map(|c| c.to_ascii_uppercase());
        let hint = match UNITS.iter().find(|(name, _)| name.chars().next() == first) {
            Some((name, _)) => format!("did you mean \"{number}{name}\"?"),
            None => "the units are B, KiB, MiB and GiB, powers of 1,024".to_owned(),
        };
        return Err(ValueError::new(
            format!("`{unit}` is not a unit of memory"),
            hint,
        ));
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*size));
    bytes
        .ok_or_else(|| ValueError::new(format!("`{text}` is more than there can be"), "write less"))
}

/// Writes bytes the way [`parse_bytes`] reads them, in the largest unit that gives a whole number.
pub fn print_bytes(bytes: u64) -> String {
    let unit = UNITS
        .into_iter()
        .find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    let (name, size) = unit.unwrap_or(("B", 1));
    format!("{}{name}", bytes / size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nonsense_is_refused_with_the_fix() {
        for (text, said) in [
            ("", "write a whole number and a unit"),
            ("1024", "write a whole number and a unit"),
            ("-1MiB", "write a whole number and a unit"),
            ("64MB", "did you mean \"64MiB\"?"),
            ("64k", "did you mean \"64KiB\"?"),
            ("64€", "`€` is not a unit of memory"),
            ("99999999999999GiB", "more than there can be"),
        ] {
            let error = parse_bytes(text).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn printed_amounts_read_back(bytes: u64, shift in 0..40u32) {
            let bytes = bytes >> shift << shift;
            prop_assert_eq!(parse_bytes(&print_bytes(bytes)), Ok(bytes));
        }
    }
}
