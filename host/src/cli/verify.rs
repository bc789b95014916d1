//! `penstock verify`: whether an environment has what it should have.

use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Value, json};

use super::Failure;
use super::replaying::parse_instant;
use super::show::{self, say};
use super::signals::Signals;
use super::test::{events_of, one_pipeline};
use crate::config::DEFAULT_ENVIRONMENT;
use crate::testing::{Parity, ParityDifference, ParityOptions, Seen, parity};

/// Looks whether an environment has what it should have.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Parity(ParityArguments),
}

/// Computes a pipeline's features from recorded events once more, and compares them with what is served and with
/// the history of features, for a sample of entities. Nothing of the environment is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock verify parity pipeline.toml                              a hundredth of the entities
  penstock verify parity pipeline.toml --sample 100% --json
  penstock verify parity pipeline.toml --env production --events 's3://recordings/rides/*.parquet' \\
    --until 2026-01-31T12:00:00Z --tolerance 1e-9

Entities are chosen by a hash of their keys: the same ones each time, and of a larger sample these as well. Windows that
have not closed everywhere are left out with --until. A live pipeline that reads several partitions adds up floats in
another order than recorded files: give it --tolerance 1e-9, which allows |a - b| <= 1e-9 * max(1, |a|, |b|).

Exit code 1 says that something differs, 2 that the input was bad, 130 that you stopped it.")]
struct ParityArguments {
    /// The pipeline's file.
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// The share of entities, as in `1%` or `0.01`.
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    sample: Share,
    /// The environment whose store and history are looked at.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Files of events, or globs, in place of those that the environment has.
    #[arg(long, value_name = "FILES", num_args = 1..)]
    events: Vec<String>,
    /// Only windows that end at this time or before, as in `2026-01-31` or `2026-01-31T09:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    until: Option<i64>,
    /// How far numbers may be from each other. Without it they must be the same, floats bit by bit.
    #[arg(long, value_name = "TOLERANCE", default_value = "0", value_parser = parse_tolerance)]
    tolerance: f64,
    /// How many differences to show; --json has all.
    #[arg(long, value_name = "N", default_value_t = 20)]
    show: usize,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// A share of something: above 0, and 1 for all.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share(f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, whole) = match text.strip_suffix('%') {
            Some(number) => (number, 100.0),
            None => (text, 1.0),
        };
        let share = number.trim().parse::<f64>().ok().map(|it| it / whole);
        match share {
            Some(share) if share > 0.0 && share <= 1.0 => Ok(Self(share)),
            _ => Err("write a share above zero, up to 100%, as in `1%` or `0.01`".to_owned()),
        }
    }
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(tolerance) if tolerance.is_finite() && tolerance >= 0.0 => Ok(tolerance),
        _ => Err("write a number from zero on, such as 1e-9".to_owned()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Parity(arguments) = &arguments.command;
    let pipeline = one_pipeline(&arguments.pipeline)?;
    let events = match arguments.events.as_slice() {
        [] => None,
        patterns => Some(events_of(patterns)?),
    };
    let host = super::host()?;
    let stop = Signals::catch(&host)?.stop_work();
    let options = ParityOptions {
        environment: arguments.env.clone(),
        events,
        sample: arguments.sample.0,
        until: arguments.until.unwrap_or(i64::MAX),
        tolerance: arguments.tolerance,
    };
    let found = parity(&host, &pipeline, &options, &stop)?;
    match arguments.json {
        true => show::json(&to_json(&pipeline.name.value, &found)),
        false => print(&found, arguments.show),
    }
    let compared = found.served + found.offline.unwrap_or(0);
    match found.differences.len() {
        _ if found.sampled == 0 => Err(Failure::Input(format!(
            "none of {} entities is in the sample, and nothing was compared; give a larger --sample, or another --until",
            show::count(found.entities)
        ))),
        0 => Ok(()),
        some => Err(Failure::Work(format!(
            "{} of {} values are not what recorded events give",
            show::count(some as u64),
            show::count(compared)
        ))),
    }
}

fn print(found: &Parity, most: usize) {
    say!(
        "entities   {} of {}",
        show::count(found.sampled),
        show::count(found.entities)
    );
    let mut left_out = String::new();
    for (count, why) in [
        (found.newer, "newer in the store"),
        (found.expired, "past their time to live"),
    ] {
        if count > 0 {
            left_out.push_str(&format!("; not compared: {} {why}", show::count(count)));
        }
    }
    say!(
        "served     {} values compared{left_out}",
        show::count(found.served)
    );
    match found.offline {
        Some(values) => say!("history    {} values compared", show::count(values)),
        None => say!("history    the environment keeps none"),
    }
    if found.differences.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = found.differences.iter().take(most).map(row).collect();
    say!("");
    let header = [
        "entity",
        "feature",
        "event time",
        "computed",
        "served",
        "offline",
    ];
    show::table(&header, &rows);
    if let Some(more) = found.differences.len().checked_sub(most + 1) {
        say!("… and {} more", show::count(more as u64 + 1));
    }
}

fn row(it: &ParityDifference) -> Vec<String> {
    vec![
        show::printable(&it.entity),
        format!("{}/{}", it.group, it.feature),
        show::instant(it.event_time),
        seen(&it.computed),
        seen(&it.served),
        seen(&it.offline),
    ]
}

fn seen(seen: &Seen) -> String {
    match seen {
        Seen::Value(text) => show::printable(text),
        Seen::Removed => "removed".to_owned(),
        Seen::Missing => "missing".to_owned(),
        Seen::Older(at) => format!("older: {}", show::instant(*at)),
        Seen::NotAsked => "-".to_owned(),
    }
}

fn to_json(pipeline: &str, found: &Parity) -> Value {
    let side = |seen: &Seen| match seen {
        Seen::Value(text) => {
            let value = serde_json::from_str(text).unwrap_or(Value::String(text.clone()));
            json!({"state": "value", "value": value})
        }
        Seen::Removed => json!({"state": "removed"}),
        Seen::Missing => json!({"state": "missing"}),
        Seen::Older(at) => json!({"state": "older", "event_time": show::instant(*at)}),
        Seen::NotAsked => Value::Null,
    };
    let differences = found.differences.iter().map(|it| {
        json!({
            "group": it.group,
            "entity": it.entity,
            "feature": it.feature,
            "event_time": show::instant(it.event_time),
            "computed": side(&it.computed),
            "served": side(&it.served),
            "offline": side(&it.offline),
        })
    });
    json!({
        "pipeline": pipeline,
        "entities": found.entities,
        "sampled": found.sampled,
        "compared": {"served": found.served, "offline": found.offline},
        "not_compared": {"newer": found.newer, "expired": found.expired},
        "differences": differences.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percents_or_numbers() {
        for (text, share) in [("1%", 0.01), ("0.5", 0.5), ("100 %", 1.0), ("1", 1.0)] {
            assert_eq!(text.parse(), Ok(Share(share)), "{text}");
        }
        for text in ["0%", "101%", "-1", "NaN", "%", "all"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
