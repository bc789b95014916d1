//! State larger than memory: a stream over many keys, of which few fit.
//!
//! One stream comes in stretches: each key once, then keys at random, then some more rows. A run in
//! a process of its own says when it has passed each, by its watermark; after the second it is
//! killed, and started again until it has passed the last.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use penstock::pipeline::{self, Progress};

use crate::replay::{host, open};
use crate::{Arguments, Figures, transform as component};

/// What states may take in memory.
const BUDGET_MIB: f64 = 256.0;
/// Microseconds from one row to the next: all are on one day.
const STEP: i64 = 3_000;
/// Keys that are always in memory.
const FEW_KEYS: i64 = 100_000;

/// A run that says when its watermark has passed some instants.
#[derive(Debug, clap::Args)]
pub(crate) struct Once {
    /// The folder with the pipeline.
    folder: PathBuf,
    /// Instants in microseconds, rising. When the last has passed, the run is stopped.
    #[arg(long, value_delimiter = ',')]
    marks: Vec<i64>,
}

pub(crate) fn measure(figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
    let keys = 2 * arguments.events as i64;
    let random = arguments.events as i64 / 5;
    present(figures, arguments)?;
    let stretches = [keys, random, random / 5];
    let folder = arguments.data.join(format!("state-{keys}"));
    stream(&folder, keys, &stretches)?;
    write_pipeline(&folder, "commit_every = \"1s\"\nstate_memory = \"256MiB\"")?;
    forget(&folder);
    println!("\n{keys} keys, {BUDGET_MIB} MiB");
    let marks: Vec<i64> = stretches
        .iter()
        .scan(0, |rows, stretch| {
            *rows += stretch;
            Some((*rows - 1) * STEP)
        })
        .collect();
    let mut run = Watched::start(&folder, &marks)?;
    let first = run.passed()?;
    let second = run.passed()?;
    run.child.kill()?;
    run.child.wait()?;
    let fill = keys as f64 / first.seconds;
    let access = random as f64 / (second.seconds - first.seconds);
    println!("  each key once        {fill:>12.0} events/s");
    println!("  keys at random       {access:>12.0} events/s");
    figures.insert("state_fill_events_per_s".into(), fill);
    figures.insert("state_random_events_per_s".into(), access);
    figures.insert("state_peak_rss_mib".into(), second.peak_mib);
    figures.insert("state_rss_over_budget".into(), second.peak_mib / BUDGET_MIB);
    figures.insert(
        "state_store_mib".into(),
        bytes(&folder.join("store")) / (1 << 20) as f64,
    );
    let began = Instant::now();
    let mut again = Watched::start(&folder, &marks[2..])?;
    let caught_up = again.passed()?;
    println!(
        "  killed to caught up  {:>12.2} s",
        began.elapsed().as_secs_f64()
    );
    figures.insert("state_restart_s".into(), began.elapsed().as_secs_f64());
    figures.insert("state_restart_opened_s".into(), caught_up.opened);
    again.child.kill()?;
    again.child.wait()?;
    forget(&folder);
    Ok(())
}

/// What it costs that keys could be put away, as long as none is.
fn present(figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
    let rows = arguments.events as i64;
    let folder = arguments.data.join(format!("state-present-{rows}"));
    stream(&folder, FEW_KEYS, &[FEW_KEYS, rows])?;
    println!("\n{FEW_KEYS} keys, all in memory");
    let runs = [
        ("nothing kept", ""),
        ("commits", "commit_every = \"1s\"\nstate_memory = \"8GiB\""),
        (
            "and keys have come and gone",
            "commit_every = \"1s\"\nstate_memory = \"128MiB\"",
        ),
    ];
    let mut least = [f64::MAX; 3];
    for _ in 0..arguments.rounds.min(3) {
        for (at, (_, run)) in runs.iter().enumerate() {
            write_pipeline(&folder, run)?;
            forget(&folder);
            let marks = [FEW_KEYS - 1, FEW_KEYS + rows - 1].map(|row| row * STEP);
            let mut run = Watched::start(&folder, &marks)?;
            let first = run.passed()?;
            let last = run.passed()?;
            run.child.kill()?;
            run.child.wait()?;
            least[at] = least[at].min(last.seconds - first.seconds);
        }
    }
    for ((name, _), seconds) in runs.iter().zip(least) {
        println!("  {name:<28} {:>12.0} events/s", rows as f64 / seconds);
    }
    let per_second = rows as f64 / least[1];
    figures.insert("state_present_events_per_s".into(), per_second);
    figures.insert("state_present_vs_unkept".into(), least[1] / least[0]);
    figures.insert("state_some_absent_vs_unkept".into(), least[2] / least[0]);
    forget(&folder);
    Ok(())
}

/// A run in a process of its own.
struct Watched {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

/// When an instant was passed.
struct Passed {
    seconds: f64,
    /// When the run had opened what it goes on with.
    opened: f64,
    peak_mib: f64,
}

impl Watched {
    fn start(folder: &Path, marks: &[i64]) -> anyhow::Result<Self> {
        let marks: Vec<String> = marks.iter().map(i64::to_string).collect();
        let mut child = Command::new(std::env::current_exe()?)
            .arg("state-once")
            .arg(folder)
            .arg("--marks")
            .arg(marks.join(","))
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdout.take().expect("it is piped");
        let lines = BufReader::new(lines).lines();
        Ok(Self { child, lines })
    }

    fn passed(&mut self) -> anyhow::Result<Passed> {
        let line = self.lines.next().transpose()?;
        let line = line.ok_or_else(|| anyhow::anyhow!("the run ended early"))?;
        let numbers: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
        let [seconds, opened, peak_mib] = numbers?[..] else {
            anyhow::bail!("the run said {line:?}");
        };
        Ok(Passed {
            seconds,
            opened,
            peak_mib,
        })
    }
}

/// Runs, and prints a line for each instant that has passed: seconds since the start, seconds until
/// anything had passed, and the peak of memory so far in MiB.
pub(crate) fn once(once: &Once) -> anyhow::Result<()> {
    let began = Instant::now();
    let host = host()?;
    let opened = open(&host, &once.folder)?;
    let progress = Arc::new(Progress::default());
    let stop = Arc::new(AtomicBool::new(false));
    let (watched, stopped, marks) = (Arc::clone(&progress), Arc::clone(&stop), once.marks.clone());
    let watch = std::thread::spawn(move || {
        let mut first = None;
        for mark in marks {
            loop {
                let watermark = watched.delivered.watermark.load(Ordering::Relaxed);
                let seconds = began.elapsed().as_secs_f64();
                if watermark > i64::MIN {
                    first.get_or_insert(seconds);
                }
                if watermark >= mark {
                    let peak = peak_mib().unwrap_or(0.0);
                    println!("{seconds} {} {peak}", first.unwrap_or(0.0));
                    break;
                }
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
        stopped.store(true, Ordering::Relaxed);
    });
    // It is stopped, and says so.
    let _ = pipeline::run(&host, vec![(opened, progress)], &stop)?;
    watch.join().expect("nothing there panics");
    Ok(())
}

fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024.0)
}

pub(crate) fn bytes(folder: &Path) -> f64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of_entry = |entry: std::fs::DirEntry| match entry.path().is_dir() {
        true => bytes(&entry.path()),
        false => entry.metadata().map_or(0.0, |file| file.len() as f64),
    };
    entries.map(of_entry).sum()
}

/// Drops what runs have left.
fn forget(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder.join("store"));
    let _ = std::fs::remove_dir_all(folder.join("out"));
}

/// A stream over `keys` keys: each once, then stretches of keys at random.
fn stream(folder: &Path, keys: i64, stretches: &[i64]) -> anyhow::Result<()> {
    const ROWS: i64 = 1 << 16;
    let ready = folder.join("ready");
    if ready.exists() {
        return Ok(());
    }
    println!("writing {} …", folder.display());
    std::fs::create_dir_all(folder.join("rides"))?;
    let file = std::fs::File::create(folder.join("rides/rides.parquet"))?;
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("occurred_at", time, false),
        Field::new("driver_id", DataType::Int64, false),
        Field::new("accepted", DataType::Boolean, false),
    ]));
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), None)?;
    let all: i64 = stretches.iter().sum();
    // A key comes once in every so many rows, as the factor and the number of keys have no common
    // divisor: they end differently in every base that matters.
    let in_turn = |row: i64| (i128::from(row) * 7_368_787 % i128::from(keys)) as i64;
    let at_random = |row: i64| {
        let mixed = (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20) as i64 % keys
    };
    let key = |row: i64| match row < stretches[0] {
        true => in_turn(row),
        false => at_random(row),
    };
    for first in (0..all).step_by(ROWS as usize) {
        let rows = first..(first + ROWS).min(all);
        let times = TimestampMicrosecondArray::from_iter_values(rows.clone().map(|row| row * STEP));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(times.with_timezone("UTC")),
            Arc::new(Int64Array::from_iter_values(rows.clone().map(key))),
            Arc::new(rows.map(|row| Some(row % 3 > 0)).collect::<BooleanArray>()),
        ];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.close()?;
    std::fs::write(
        folder.join("penstock.toml"),
        r#"[environments.local]
store = "store"
output = "out"
[environments.local.events.ride_offer]
files = "rides"
event_time = "occurred_at"
schema = { occurred_at = "timestamp[us, UTC]", driver_id = "int64", accepted = "bool" }
"#,
    )?;
    std::fs::write(&ready, "")?;
    Ok(())
}

fn write_pipeline(folder: &Path, run: &str) -> anyhow::Result<()> {
    let component = std::fs::canonicalize(component()?)?;
    let text = format!(
        r#"event = "ride_offer"
name = "bench"
transform = {component:?}
key = "driver_id"
group = "driver"
[window]
kind = "tumbling"
size = "1d"
[[feature]]
name = "proportion"
column = "driver_accept_proportion_10m"
type = "float64"
[outputs]
store = false
features = "features.parquet"
[run]
lanes = 1
{run}
"#
    );
    Ok(std::fs::write(folder.join("pipeline.toml"), text)?)
}
