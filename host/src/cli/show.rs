//! Numbers, tables and JSON as people read them.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use arrow::datatypes::Schema;
use serde::Serialize;
use serde_json::json;

use crate::config::types;
use crate::store::Value;
pub(super) use crate::text::instant;

/// Prints a line on standard output, as `println!` does, and ends the program quietly when whoever
/// read it has gone, as in `penstock run … | head`.
macro_rules! say {
    ($($text:tt)*) => { crate::cli::show::line(format_args!($($text)*)) };
}
pub(super) use say;

pub(super) fn line(text: Arguments<'_>) {
    let written = writeln!(std::io::stdout(), "{text}");
    match written.map_err(|error| error.kind()) {
        Ok(()) => {}
        Err(ErrorKind::BrokenPipe) => std::process::exit(0),
        Err(error) => {
            crate::cli::logs::error(&format!("cannot write to standard output: {error}"));
            std::process::exit(1);
        }
    }
}

/// A whole number with commas between thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// The value as JSON text, or what keeps it from being that.
pub(super) fn value(value: &Value) -> String {
    value.to_json().unwrap_or_else(|error| error.to_string())
}

/// The value as JSON.
pub(super) fn json_value(found: &Value) -> serde_json::Value {
    let text = value(found);
    serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))
}

/// Bytes in the unit that suits them.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ => format!("{value:.1} {unit}"),
    }
}

/// A text of the data as it may go to a terminal: control characters as escapes.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// Prints a table on standard output: columns as wide as they must be, no lines.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = header.iter().map(|name| name.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        say!("{}", cells.join("  ").trim_end());
    };
    print(&mut header.iter().copied());
    for row in rows {
        print(&mut row.iter().map(String::as_str));
    }
}

/// Prints a value as JSON on standard output.
pub(super) fn json(value: &impl Serialize) {
    let text =
        serde_json::to_string_pretty(value).expect("reports hold only texts, numbers and lists");
    say!("{text}");
}

/// A schema's columns, as JSON.
pub(super) fn schema(schema: &Schema) -> serde_json::Value {
    let fields = schema.fields().iter();
    fields
        .map(|field| {
            json!({
                "name": field.name(),
                "type": types::type_name(field.data_type()),
                "nullable": field.is_nullable(),
            })
        })
        .collect()
}
