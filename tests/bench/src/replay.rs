//! The whole pipeline over recorded rides: through the sandbox and natively, one after the other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use penstock::config::{Environment, load_pipelines};
use penstock::pipeline::{self, Host, Opened, Progress};
use penstock::sandbox::{Compiler, Sandbox};
use penstock::simulate::{RidesFormat, RidesSpec, write_rides};
use penstock::source::ReadProgress;
use penstock::source::replay::Replay;

use crate::native::Native;
use crate::{Arguments, Figures, transform};

/// One run in a process of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Once {
    /// The folder with the pipeline.
    folder: PathBuf,
    /// The transform compiled in, instead of the component.
    #[arg(long)]
    native: bool,
}

const FORMATS: [(&str, RidesFormat); 2] = [
    ("ndjson", RidesFormat::Ndjson),
    ("parquet", RidesFormat::Parquet),
];

pub(crate) fn measure(figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
    let host = host()?;
    for (name, format) in FORMATS {
        let folder = prepare(&arguments.data, name, format, arguments.events)?;
        println!("\n{name}: {} events, one core", arguments.events);
        let mut best = [f64::INFINITY; 4];
        let mut shares = Threads::default();
        for _ in 0..arguments.rounds {
            let before = Threads::now()?;
            let sandboxed = run(&host, &folder, false, arguments.events)?;
            shares = Threads::now()?.since(&before);
            let natively = run(&host, &folder, true, arguments.events)?;
            let decoding = decode(&host, &folder)?;
            for (best, time) in best.iter_mut().zip([sandboxed, natively, decoding]) {
                *best = best.min(time.as_secs_f64());
            }
        }
        let [sandboxed, natively, decoding, _] = best;
        let per_event = |seconds: f64| seconds * 1e9 / arguments.events as f64;
        println!(
            "  through the sandbox  {:>7.1} ns/event  {:>12.0} events/s",
            per_event(sandboxed),
            arguments.events as f64 / sandboxed
        );
        println!(
            "  compiled in          {:>7.1} ns/event  {:>12.0} events/s",
            per_event(natively),
            arguments.events as f64 / natively
        );
        println!(
            "  decoding alone       {:>7.1} ns/event",
            per_event(decoding)
        );
        println!("  pipeline against native: {:.3}", sandboxed / natively);
        shares.print();
        figures.insert(
            format!("{name}_events_per_s"),
            arguments.events as f64 / sandboxed,
        );
        figures.insert(format!("{name}_decode_ns_per_event"), per_event(decoding));
        figures.insert(format!("pipeline_vs_native_{name}"), sandboxed / natively);
        shares.add_to(figures, name);
    }
    if !arguments.no_memory {
        memory(figures, arguments)?;
    }
    Ok(())
}

/// Peak memory of whole processes over a stream and one four times as long.
fn memory(figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
    println!("\npeak memory of a process");
    let mut worst: f64 = 0.0;
    for (name, format) in FORMATS {
        let mut peaks = Vec::new();
        for events in [arguments.events, 4 * arguments.events] {
            let folder = prepare(&arguments.data, name, format, events)?;
            let output = Command::new(std::env::current_exe()?)
                .arg("once")
                .arg(&folder)
                .output()?;
            anyhow::ensure!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let kib: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
            println!("  {name:<8} {events:>10} events  {:>8.1} MiB", kib / 1024.0);
            figures.insert(format!("peak_rss_mib_{name}_{events}"), kib / 1024.0);
            peaks.push(kib);
        }
        worst = worst.max(peaks[1] / peaks[0]);
    }
    figures.insert("peak_rss_growth_5m_to_20m".into(), worst);
    Ok(())
}

pub(crate) fn once(once: &Once) -> anyhow::Result<()> {
    crate::pin_to_one_processor()?;
    run(&host()?, &once.folder, once.native, 0)?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("{}", peak.unwrap_or("0").trim().trim_end_matches(" kB"));
    Ok(())
}

fn host() -> anyhow::Result<Host> {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lane")
            .enable_all()
            .build()
    };
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("io")
        .enable_all()
        .build()?;
    Ok(Host {
        sandbox: Sandbox::start(Compiler::InProcess, None)?,
        lanes: runtime()?,
        io,
    })
}

/// A folder with a stream and the pipeline over it; kept for the next time.
fn prepare(data: &Path, name: &str, format: RidesFormat, events: u64) -> anyhow::Result<PathBuf> {
    let folder = data.join(format!("{name}-{events}"));
    let ready = folder.join("ready");
    if !ready.exists() {
        println!("simulating {events} events as {name} …");
        let spec = RidesSpec {
            format,
            ..RidesSpec::new(events, 42)
        };
        write_rides(&spec, &folder.join("rides"), |_| {})?;
        std::fs::write(&ready, "")?;
    }
    std::fs::write(
        folder.join("penstock.toml"),
        r#"[environments.local]
store = "store"
output = "out"
[environments.local.events.ride_offer]
files = "rides"
event_time = "occurred_at"
schema = { offer_id = "utf8", occurred_at = "timestamp[us, UTC]", driver_id = "int64", rider_id = "int64", city = "utf8", pickup_eta_s = "int64", accepted = "bool" }
"#,
    )?;
    std::fs::write(
        folder.join("pipeline.toml"),
        format!(
            r#"event = "ride_offer"
name = "bench"
transform = {:?}
key = "driver_id"
group = "driver"
[window]
kind = "tumbling"
size = "10m"
disorder = "30s"
[[feature]]
name = "driver_accept_proportion_10m"
type = "float64"
validation = {{ min = 0.0, max = 1.0 }}
[[feature]]
name = "driver_offers_10m"
type = "uint64"
[outputs]
features = "features.parquet"
[run]
lanes = 1
"#,
            std::fs::canonicalize(transform()?)?
        ),
    )?;
    Ok(folder)
}

fn open(host: &Host, folder: &Path) -> anyhow::Result<Opened> {
    let path = folder.join("pipeline.toml");
    let pipeline = load_pipelines(&[&path])?.remove(0);
    let environment = Environment::find_and_load(&path, "local")?;
    Ok(pipeline::open(host, pipeline, &environment)?)
}

/// The time of a run, from opened to all written.
fn run(host: &Host, folder: &Path, native: bool, events: u64) -> anyhow::Result<Duration> {
    // A store of an earlier run would have to be compacted in this one.
    let _ = std::fs::remove_dir_all(folder.join("store"));
    let mut opened = open(host, folder)?;
    if native {
        let native = Native::open(&opened.plan.spec)?;
        opened = opened.with_transforms(vec![Box::new(native)]);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let report =
        pipeline::run(host, vec![(opened, Arc::new(Progress::default()))], &stop)?.remove(0)?;
    let elapsed = began.elapsed();
    anyhow::ensure!(report.accounting.balances(), "the accounts balance");
    anyhow::ensure!(
        events == 0 || report.accounting.applied == events,
        "every event is applied"
    );
    Ok(elapsed)
}

/// The time of reading and decoding alone.
fn decode(host: &Host, folder: &Path) -> anyhow::Result<Duration> {
    let replay = open(host, folder)?.replay;
    let began = Instant::now();
    let mut source = Replay::open(replay, Arc::new(ReadProgress::default()))?;
    while source.next_batch()?.is_some() {}
    Ok(began.elapsed())
}

/// CPU time by the names of threads, in clock ticks. Threads that ended are not in it, so the
/// reader's and delivery's shares are what is left of the process's.
#[derive(Debug, Default, Clone)]
struct Threads {
    lane: f64,
    io: f64,
    all: f64,
}

impl Threads {
    fn now() -> anyhow::Result<Self> {
        let mut threads = Self::default();
        for task in std::fs::read_dir("/proc/self/task")? {
            let path = task?.path();
            let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
            let ticks = ticks(&std::fs::read_to_string(path.join("stat")).unwrap_or_default());
            match name.trim() {
                "lane" => threads.lane += ticks,
                "io" => threads.io += ticks,
                _ => {}
            }
        }
        threads.all = ticks(&std::fs::read_to_string("/proc/self/stat")?);
        Ok(threads)
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            lane: self.lane - before.lane,
            io: self.io - before.io,
            all: self.all - before.all,
        }
    }

    fn shares(&self) -> [(&'static str, f64); 3] {
        let all = self.all.max(1.0);
        [
            (
                "reading, decoding, delivery",
                (self.all - self.lane - self.io) / all,
            ),
            ("windows and transform", self.lane / all),
            ("store", self.io / all),
        ]
    }

    fn print(&self) {
        for (name, share) in self.shares() {
            println!("  {name:<28} {:>5.1} % of the time", share * 100.0);
        }
    }

    fn add_to(&self, figures: &mut Figures, format: &str) {
        for ((_, share), name) in
            self.shares()
                .into_iter()
                .zip(["read_and_deliver", "lane", "store"])
        {
            figures.insert(format!("{format}_share_{name}"), share);
        }
    }
}

/// User and system time of a `stat` line, in clock ticks.
fn ticks(stat: &str) -> f64 {
    // The name, in parentheses, may hold spaces; the times are the 14th and 15th fields.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    [11, 12]
        .iter()
        .filter_map(|at| fields.get(*at)?.parse::<f64>().ok())
        .sum()
}
