//! What the program says on standard error: messages as text for people, or as a JSON object a line.

use std::io::IsTerminal;
use std::sync::OnceLock;

use jiff::{Timestamp, Unit};
use serde_json::json;

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line, for whoever gathers logs.
    Json,
}

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Shows the messages that `filter` lets through, from now on.
///
/// # Errors
///
/// The filter is none.
pub(super) fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter =
        tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    FORMAT.get_or_init(|| format);
    let messages = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => messages
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .init(),
        LogFormat::Text => messages
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_target(false)
            .without_time()
            .init(),
    }
    Ok(())
}

/// Whether standard error is for a person who looks at it now.
pub(super) fn is_for_a_person() -> bool {
    !is_json() && std::io::stderr().is_terminal()
}

fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

/// Says something of the run itself, which no filter leaves out.
pub(super) fn note(text: &str) {
    match is_json() {
        true => eprintln!("{}", line("INFO", text)),
        false => eprintln!("{text}"),
    }
}

/// Says why the program ends. Findings about configuration begin with the word themselves.
pub(super) fn error(text: &str) {
    let text = text.trim_end();
    match (is_json(), text.starts_with("error")) {
        (true, _) => eprintln!("{}", line("ERROR", text)),
        (false, true) => eprintln!("{text}"),
        (false, false) => eprintln!("error: {text}"),
    }
}

/// As the messages are.
fn line(level: &str, text: &str) -> String {
    let now = Timestamp::now();
    let now = now.round(Unit::Microsecond).unwrap_or(now);
    json!({
        "timestamp": now.to_string(),
        "level": level,
        "message": text,
        "target": "penstock",
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_of_json() {
        let line = line("INFO", "two\nlines, \"quotes\" and \u{1b}[31m");
        assert!(!line.contains('\n'));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["level"], "INFO");
        assert_eq!(read["message"], "two\nlines, \"quotes\" and \u{1b}[31m");
        let time: Timestamp = read["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(time > Timestamp::UNIX_EPOCH);
    }
}
