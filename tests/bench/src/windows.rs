//! Kinds of windows against each other: the whole pipeline from Parquet to Parquet, on one core.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use penstock::pipeline::{self, Host, Progress, RunReport};
use penstock::simulate::{RidesFormat, RidesSpec, write_rides};

use crate::replay::{host, open};
use crate::{Arguments, Figures, transform as component};

/// Keys of the streams in which each key has one event a slide.
const STEADY_KEYS: i64 = 1_000;
/// Keys of the stream for sessions and unbounded windows.
const MANY_KEYS: u32 = 100_000;

pub(crate) fn measure(figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
    crate::pin_to_one_processor()?;
    let bench = Bench {
        host: host()?,
        data: arguments.data.clone(),
        rounds: arguments.rounds,
    };
    hopping(&bench, figures, arguments)?;
    lengths(&bench, figures, arguments)?;
    many_keys(&bench, figures, arguments)
}

/// What a row costs that a hopping window emits.
fn hopping(bench: &Bench, figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
    println!("\n{STEADY_KEYS} keys, an event each a slide");
    let slides = arguments.events as i64 / STEADY_KEYS;
    let seconds = bench.steady(slides, 1)?;
    let minutes = bench.steady(slides, 60)?;
    let windows = [
        (
            "tumbling 1s",
            &seconds,
            "kind = \"tumbling\"\nsize = \"1s\"",
        ),
        (
            "60m every 1s",
            &seconds,
            "kind = \"hopping\"\nsize = \"60m\"\nslide = \"1s\"",
        ),
        (
            "60m every 60s",
            &minutes,
            "kind = \"hopping\"\nsize = \"60m\"\nslide = \"60s\"",
        ),
    ];
    let costs = bench.side_by_side(&windows, |report| report.rows, "row emitted")?;
    figures.insert("tumbling_ns_per_row_emitted".into(), costs[0]);
    figures.insert("hopping_ns_per_row_emitted".into(), costs[1]);
    figures.insert("hopping_row_cost_vs_tumbling".into(), costs[1] / costs[0]);
    figures.insert("hopping_cost_growth".into(), costs[1] / costs[2]);
    Ok(())
}

/// What more lengths cost.
fn lengths(bench: &Bench, figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
    println!("\n{} rides of 5,000 drivers", arguments.events);
    let rides = bench.rides(arguments.events, 5_000)?;
    let windows = [
        (
            "10m",
            &rides,
            "kind = \"tumbling\"\nsize = \"10m\"\ndisorder = \"30s\"",
        ),
        (
            "10m, 1h, 6h and 1d",
            &rides,
            "kind = \"tumbling\"\nsize = [\"10m\", \"1h\", \"6h\", \"1d\"]\ndisorder = \"30s\"",
        ),
    ];
    let costs = bench.side_by_side(&windows, read, "event")?;
    figures.insert("lengths_1_ns_per_event".into(), costs[0]);
    figures.insert("lengths_4_vs_1".into(), costs[1] / costs[0]);
    Ok(())
}

/// Sessions and unbounded windows of many keys.
fn many_keys(bench: &Bench, figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
    println!("\n{} rides of {MANY_KEYS} drivers", arguments.events);
    let rides = bench.rides(arguments.events, MANY_KEYS)?;
    let windows = [
        (
            "tumbling 10m",
            &rides,
            "kind = \"tumbling\"\nsize = \"10m\"\ndisorder = \"30s\"",
        ),
        (
            "session, gap 5m",
            &rides,
            "kind = \"session\"\ngap = \"5m\"\ndisorder = \"30s\"",
        ),
        (
            "unbounded, every 10m",
            &rides,
            "kind = \"unbounded\"\nttl = \"7d\"\ndisorder = \"30s\"\nemit = { every = \"10m\" }",
        ),
    ];
    let costs = bench.side_by_side(&windows, read, "event")?;
    figures.insert("tumbling_100k_keys_events_per_s".into(), 1e9 / costs[0]);
    figures.insert("sessions_events_per_s".into(), 1e9 / costs[1]);
    figures.insert("unbounded_events_per_s".into(), 1e9 / costs[2]);
    Ok(())
}

fn read(report: &RunReport) -> u64 {
    report.accounting.read
}

struct Bench {
    host: Host,
    data: PathBuf,
    rounds: usize,
}

impl Bench {
    /// Runs windows in turn, several times; gives for each the least nanoseconds for each of what
    /// `count` counts.
    fn side_by_side(
        &self,
        windows: &[(&str, &PathBuf, &str)],
        count: impl Fn(&RunReport) -> u64,
        counted: &str,
    ) -> anyhow::Result<Vec<f64>> {
        let mut least = vec![f64::MAX; windows.len()];
        let mut counts = vec![0; windows.len()];
        for _ in 0..self.rounds {
            for (at, (_, folder, window)) in windows.iter().enumerate() {
                let (seconds, report) = self.run(folder, window)?;
                least[at] = least[at].min(seconds);
                counts[at] = count(&report);
            }
        }
        let costs = least.iter().zip(&counts);
        let costs: Vec<f64> = costs
            .map(|(seconds, count)| seconds * 1e9 / *count as f64)
            .collect();
        for ((name, ..), (cost, count)) in windows.iter().zip(costs.iter().zip(&counts)) {
            println!("  {name:<24} {cost:>8.1} ns/{counted}  ({count} of them)");
        }
        Ok(costs)
    }

    /// The seconds of a run over a folder's rides, from opened to all written.
    fn run(&self, folder: &Path, window: &str) -> anyhow::Result<(f64, RunReport)> {
        std::fs::write(folder.join("pipeline.toml"), pipeline_file(window)?)?;
        let opened = open(&self.host, folder)?;
        let stop = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(Progress::default());
        let began = Instant::now();
        let report = pipeline::run(&self.host, vec![(opened, progress)], &stop)?.remove(0)?;
        let seconds = began.elapsed().as_secs_f64();
        anyhow::ensure!(report.accounting.balances(), "the accounts balance");
        anyhow::ensure!(
            report.accounting.applied == report.accounting.read,
            "every event is applied"
        );
        Ok((seconds, report))
    }

    /// Simulated rides of so many drivers; kept for the next time.
    fn rides(&self, events: u64, drivers: u32) -> anyhow::Result<PathBuf> {
        let folder = self.data.join(format!("rides-{drivers}-{events}"));
        self.once(&folder, |rides| {
            let spec = RidesSpec {
                format: RidesFormat::Parquet,
                drivers,
                ..RidesSpec::new(events, 42)
            };
            write_rides(&spec, rides, |_| {})?;
            Ok(())
        })
    }

    /// A stream in which each of [`STEADY_KEYS`] keys has an event every `slide` seconds.
    fn steady(&self, slides: i64, slide: i64) -> anyhow::Result<PathBuf> {
        let folder = self.data.join(format!("steady-{slides}-{slide}s"));
        self.once(&folder, |rides| {
            std::fs::create_dir_all(rides)?;
            let file = std::fs::File::create(rides.join("steady.parquet"))?;
            let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            let schema = Arc::new(Schema::new(vec![
                Field::new("occurred_at", time, false),
                Field::new("driver_id", DataType::Int64, false),
                Field::new("accepted", DataType::Boolean, false),
            ]));
            let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), None)?;
            for at in 0..slides {
                let time = |key: i64| at * slide * 1_000_000 + key * 500;
                let times = TimestampMicrosecondArray::from_iter_values((0..STEADY_KEYS).map(time));
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(times.with_timezone("UTC")),
                    Arc::new(Int64Array::from_iter_values(0..STEADY_KEYS)),
                    Arc::new(BooleanArray::from_iter(
                        (0..STEADY_KEYS).map(|key| Some((key + at) % 3 > 0)),
                    )),
                ];
                writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
            }
            writer.close()?;
            Ok(())
        })
    }

    fn once(
        &self,
        folder: &Path,
        write: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let ready = folder.join("ready");
        if !ready.exists() {
            println!("writing {} …", folder.display());
            write(&folder.join("rides"))?;
            std::fs::write(&ready, "")?;
        }
        std::fs::write(
            folder.join("penstock.toml"),
            r#"[environments.local]
output = "out"
[environments.local.events.ride_offer]
files = "rides"
event_time = "occurred_at"
schema = { occurred_at = "timestamp[us, UTC]", driver_id = "int64", accepted = "bool" }
"#,
        )?;
        Ok(folder.to_owned())
    }
}

fn pipeline_file(window: &str) -> anyhow::Result<String> {
    let component = std::fs::canonicalize(component()?)?;
    Ok(format!(
        r#"event = "ride_offer"
name = "bench"
transform = {component:?}
key = "driver_id"
group = "driver"
[window]
{window}
[[feature]]
name = "proportion_{{window}}"
column = "driver_accept_proportion_10m"
type = "float64"
[[feature]]
name = "offers_{{window}}"
column = "driver_offers_10m"
type = "uint64"
[outputs]
store = false
features = "features.parquet"
[run]
lanes = 1
"#
    ))
}
