//! Metrics as text, in the format that was asked for: that of OpenMetrics, or the older one of Prometheus.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// The format of OpenMetrics 1.0, which Prometheus asks for.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The text format that Prometheus had before, which everybody reads.
pub(super) const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics, and the type of the text. `accept` is what the header of that name says.
pub(super) fn expose(
    registry: &Registry,
    accept: Option<&str>,
) -> Result<(&'static str, String), fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    let wants_open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    Ok(match wants_open {
        true => (OPEN_METRICS, text),
        false => (CLASSIC, classic(&text)),
    })
}

/// OpenMetrics names a counter's family without the `_total` of its samples, and has lines for units and the end.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut lines = open.lines().peekable();
    while let Some(line) = lines.next() {
        let described = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '));
        let line: Cow<'_, str> = match described {
            _ if line.starts_with("# UNIT ") || line == "# EOF" => continue,
            Some((name, help)) if lines.peek().is_some_and(|next| is_counter(next, name)) => {
                format!("# HELP {name}_total {help}").into()
            }
            _ => match line
                .strip_prefix("# TYPE ")
                .and_then(|rest| rest.split_once(' '))
            {
                Some((name, "counter")) => format!("# TYPE {name}_total counter").into(),
                _ => line.into(),
            },
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn is_counter(line: &str, name: &str) -> bool {
    let named = line
        .strip_prefix("# TYPE ")
        .and_then(|rest| rest.split_once(' '));
    named == Some((name, "counter"))
}
