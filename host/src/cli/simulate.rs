//! `penstock simulate`: made-up events to try things on.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use super::show::{self, say};
use crate::config::parse_duration;
use crate::simulate::{RidesFormat, RidesSpec, SimulateError, write_rides};

/// Writes made-up events to files: the same for the same settings, on any machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  penstock simulate rides --events 1000000 --seed 7 --out data/rides")]
pub(super) struct Arguments {
    #[command(subcommand)]
    stream: Stream,
}

#[derive(Debug, Subcommand)]
enum Stream {
    Rides(Rides),
}

/// Offers of rides to drivers, as a ride-hailing service makes them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock simulate rides --events 1000000 --seed 7 --out data/rides
  penstock simulate rides --events 5000000 --format parquet --files 4 --out data/rides

Columns: offer_id, occurred_at, driver_id, rider_id, city, pickup_eta_s, accepted.")]
struct Rides {
    /// How many events.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,
    /// Another seed, another stream.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The folder to write to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How the files are written.
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// How many files to spread the events over.
    #[arg(long, value_name = "N", default_value_t = 1)]
    files: u32,
    /// How many drivers there are.
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    drivers: u32,
    /// Events per second of event time.
    #[arg(long, value_name = "RATE", default_value_t = 1_000.0)]
    rate: f64,
    /// How far behind the latest event one may be.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    disorder: Duration,
    /// Share of events that come later than that, by up to five minutes.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    late: f64,
    /// Share of lines that are malformed (ndjson only).
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    malformed: f64,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One JSON object a line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
}

fn duration(text: &str) -> Result<Duration, String> {
    let micros = parse_duration(text).map_err(|error| error.to_string())?;
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Stream::Rides(rides) = &arguments.stream;
    let spec = RidesSpec {
        drivers: rides.drivers,
        rate_per_s: rides.rate,
        disorder: rides.disorder,
        late_share: rides.late,
        files: rides.files,
        format: match rides.format {
            Format::Ndjson => RidesFormat::Ndjson,
            Format::Parquet => RidesFormat::Parquet,
        },
        malformed_share: rides.malformed,
        ..RidesSpec::new(rides.events, rides.seed)
    };
    let bar = ProgressBar::new(rides.events);
    bar.set_style(
        ProgressStyle::with_template("{bar:24} {percent:>3}%  {human_pos} events, {per_sec}")
            .expect("the template is valid"),
    );
    let written = write_rides(&spec, &rides.out, |rows| bar.set_position(rows));
    bar.finish_and_clear();
    let paths = written.map_err(|error| match error {
        SimulateError::Setting { .. } => Failure::input(error),
        other => Failure::work(other),
    })?;
    if rides.json {
        show::json(&serde_json::json!({"events": rides.events, "files": paths}));
        return Ok(());
    }
    say!("{} events:", show::count(rides.events));
    for path in paths {
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        say!("  {} ({})", path.display(), show::bytes(bytes));
    }
    Ok(())
}
