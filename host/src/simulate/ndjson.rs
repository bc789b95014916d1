//! Offers as JSON, one object a line, keys in the order of the schema, no spaces.

use std::io::{self, Write};

use super::rides::Offer;

/// Bytes gathered before a write to the file.
const BUFFER: usize = 1 << 20;

/// No line is longer: the fixed text and the longest values come to less than half of it.
const LONGEST_LINE: usize = 512;

const MS_PER_DAY: i64 = 86_400_000;

/// The digits of 00 to 99, two bytes each.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Writes lines to a file through a buffer.
#[derive(Debug)]
pub(super) struct LineWriter<W> {
    file: W,
    buffer: Vec<u8>,
    date: Date,
}

impl<W: Write> LineWriter<W> {
    pub(super) fn new(file: W) -> Self {
        LineWriter {
            file,
            buffer: Vec::with_capacity(BUFFER + LONGEST_LINE),
            date: Date::of(0),
        }
    }

    pub(super) fn write(&mut self, offer: &Offer) -> io::Result<()> {
        match offer.malformed {
            None => write_line(&mut self.buffer, &mut self.date, offer),
            Some(kind) => write_malformed(&mut self.buffer, &mut self.date, offer, kind),
        }
        if self.buffer.len() >= BUFFER {
            self.file.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes what is left, and gives the file back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.file.write_all(&self.buffer)?;
        Ok(self.file)
    }
}

/// A day, and how it is written: most rows share theirs with the row before.
#[derive(Debug)]
struct Date {
    day: i64,
    text: [u8; 10],
}

impl Date {
    /// From days since 1970 to year, month and day: Howard Hinnant's `civil_from_days`, for days from 1970 on.
    fn of(day: i64) -> Self {
        let since_0000_03_01 = day + 719_468;
        let era = since_0000_03_01 / 146_097;
        let day_of_era = since_0000_03_01 % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = era * 400 + year_of_era + i64::from(month <= 2);

        let mut text = *b"0000-00-00";
        text[..2].copy_from_slice(&PAIRS[(year / 100) as usize]);
        text[2..4].copy_from_slice(&PAIRS[(year % 100) as usize]);
        text[5..7].copy_from_slice(&PAIRS[month as usize]);
        text[8..].copy_from_slice(&PAIRS[day_of_month as usize]);
        Date { day, text }
    }
}

fn write_line(out: &mut Vec<u8>, date: &mut Date, offer: &Offer) {
    out.extend_from_slice(b"{\"offer_id\":\"");
    out.extend_from_slice(&uuid(offer.offer_id));
    out.extend_from_slice(b"\",\"occurred_at\":\"");
    out.extend_from_slice(&instant(date, offer.occurred_at_ms));
    out.extend_from_slice(b"\",\"driver_id\":");
    write_number(out, u64::from(offer.driver_id));
    out.extend_from_slice(b",\"rider_id\":");
    write_number(out, offer.rider_id);
    // The names of cities need no escaping.
    out.extend_from_slice(b",\"city\":\"");
    out.extend_from_slice(offer.city.as_bytes());
    out.extend_from_slice(b"\",\"pickup_eta_s\":");
    write_number(out, u64::from(offer.pickup_eta_s));
    out.extend_from_slice(if offer.accepted {
        b",\"accepted\":true}\n"
    } else {
        b",\"accepted\":false}\n"
    });
}

/// What goes wrong in practice: cut-off lines, text that is not JSON, a type or a time that is not one, broken UTF-8.
fn write_malformed(out: &mut Vec<u8>, date: &mut Date, offer: &Offer, kind: u64) {
    match kind % 5 {
        0 => {
            let start = out.len();
            write_line(out, date, offer);
            out.truncate(start + (out.len() - start) / 2);
            out.push(b'\n');
        }
        1 => out.extend_from_slice(b"Connection reset by peer\n"),
        2 => {
            out.extend_from_slice(b"{\"occurred_at\":\"");
            out.extend_from_slice(&instant(date, offer.occurred_at_ms));
            out.extend_from_slice(b"\",\"driver_id\":\"n/a\",\"accepted\":true}\n");
        }
        3 => {
            out.extend_from_slice(b"{\"occurred_at\":\"yesterday\",\"driver_id\":");
            write_number(out, u64::from(offer.driver_id));
            out.extend_from_slice(b",\"accepted\":true}\n");
        }
        _ => {
            out.extend_from_slice(b"{\"occurred_at\":\"");
            out.extend_from_slice(&instant(date, offer.occurred_at_ms));
            out.extend_from_slice(b"\",\"driver_id\":");
            write_number(out, u64::from(offer.driver_id));
            out.extend_from_slice(b",\"city\":\"\xff\xfe\",\"accepted\":true}\n");
        }
    }
}

/// `2026-03-01T08:15:30.123Z`.
fn instant(date: &mut Date, unix_ms: i64) -> [u8; 24] {
    let day = unix_ms / MS_PER_DAY;
    if day != date.day {
        *date = Date::of(day);
    }
    let ms = (unix_ms % MS_PER_DAY) as usize;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    text[..10].copy_from_slice(&date.text);
    text[11..13].copy_from_slice(&PAIRS[ms / 3_600_000]);
    text[14..16].copy_from_slice(&PAIRS[ms / 60_000 % 60]);
    text[17..19].copy_from_slice(&PAIRS[ms / 1_000 % 60]);
    text[20] = b'0' + (ms % 1_000 / 100) as u8;
    text[21..23].copy_from_slice(&PAIRS[ms % 100]);
    text
}

/// `0198c1f2-7a3b-7c11-9d2e-5b1a2c3d4e5f`.
pub(super) fn uuid(id: u128) -> [u8; 36] {
    let mut text = *b"00000000-0000-0000-0000-000000000000";
    let mut place = 0;
    for byte in id.to_be_bytes() {
        for digit in [byte >> 4, byte & 0xf] {
            text[place] = b"0123456789abcdef"[usize::from(digit)];
            place += 1;
        }
        if matches!(place, 8 | 13 | 18 | 23) {
            place += 1;
        }
    }
    text
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [0; 20];
    let mut start = text.len();
    while number >= 10 {
        start -= 2;
        text[start..start + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    if number > 0 || start == text.len() {
        start -= 1;
        text[start] = b'0' + number as u8;
    }
    out.extend_from_slice(&text[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_what_jiff_writes() {
        let mut date = Date::of(0);
        let leap_days = [
            951_782_399_999,
            951_782_400_000,
            1_772_323_199_999,
            4_107_542_400_000,
            253_402_207_199_999,
        ];
        for ms in leap_days
            .into_iter()
            .chain((0..20_000).map(|step| step * 12_345_678_901))
        {
            let expected = jiff::Timestamp::from_millisecond(ms).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&instant(&mut date, ms)),
                format!("{expected:.3}"),
                "{ms}"
            );
        }
    }

    #[test]
    fn numbers_are_written_as_rust_writes_them() {
        let edges = (0..20)
            .flat_map(|power| [10u64.pow(power) - 1, 10u64.pow(power), 10u64.pow(power) + 1]);
        for number in edges.chain([u64::MAX]) {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }

    #[test]
    fn a_uuid_has_its_hyphens_where_the_standard_wants_them() {
        assert_eq!(
            &uuid(0x0198_c1f2_7a3b_7c11_9d2e_5b1a_2c3d_4e5f),
            b"0198c1f2-7a3b-7c11-9d2e-5b1a2c3d4e5f"
        );
    }
}
