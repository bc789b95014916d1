//! The whole pipeline over recorded rides: through the sandbox and natively, one after the other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use arrow::array::ArrayRef;
use futures::future::BoxFuture;
use penstock::clock::SystemClock;
use penstock::config::{Environment, load_pipelines};
use penstock::pipeline::{self, Host, Opened, Progress};
use penstock::sandbox::{Compiler, Sandbox};
use penstock::simulate::{RidesFormat, RidesSpec, write_rides};
use penstock::source::ReadProgress;
use penstock::source::replay::Replay;
use penstock::transform::{CallError, Finished, Groups, Merged, Rows, Updated, Windowed};

use crate::native::Native;
use crate::{Arguments, Figures, transform as component};

/// One run in a process of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Once {
    /// The folder with the pipeline.
    folder: PathBuf,
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
        let (mut sandboxed, mut natively, mut decoding) = (f64::MAX, f64::MAX, f64::MAX);
        for _ in 0..arguments.rounds {
            let events = arguments.events;
            sandboxed = sandboxed.min(run(&host, &folder, Transform::Sandboxed, events)?);
            natively = natively.min(run(&host, &folder, Transform::Native, events)?);
            decoding = decoding.min(decode(&host, &folder)?);
        }
        let per_event = |seconds: f64| seconds * 1e9 / arguments.events as f64;
        let per_second = |seconds: f64| arguments.events as f64 / seconds;
        println!(
            "  through the sandbox  {:>7.1} ns/event  {:>12.0} events/s",
            per_event(sandboxed),
            per_second(sandboxed)
        );
        println!(
            "  compiled in          {:>7.1} ns/event  {:>12.0} events/s",
            per_event(natively),
            per_second(natively)
        );
        println!("  pipeline against native: {:.3}", sandboxed / natively);
        figures.insert(format!("{name}_events_per_s"), per_second(sandboxed));
        figures.insert(format!("pipeline_vs_native_{name}"), sandboxed / natively);
        figures.insert(format!("{name}_decode_ns_per_event"), per_event(decoding));
        shares(&host, &folder, name, decoding, figures)?;
    }
    if !arguments.no_memory {
        memory(figures, arguments)?;
    }
    Ok(())
}

/// Each stage's share of the CPU time of one run.
fn shares(
    host: &Host,
    folder: &Path,
    name: &str,
    decoding: f64,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let in_transform = Arc::new(AtomicU64::new(0));
    let before = Threads::now()?;
    run(
        host,
        folder,
        Transform::Metered(Arc::clone(&in_transform)),
        0,
    )?;
    let spent = Threads::now()?.since(&before);
    let transform = in_transform.load(Ordering::Relaxed) as f64 / 1e9;
    let stages = [
        ("decode", "reading and decoding", decoding),
        ("windows", "keys, windows, states", spent.lane - transform),
        ("transform", "boundary and transform", transform),
        ("store", "the store's own threads", spent.io),
        (
            "rest",
            "queues, validation, sinks",
            spent.all - decoding - spent.lane - spent.io,
        ),
    ];
    for (short, shown, seconds) in stages {
        let share = seconds / spent.all;
        println!("  {shown:<26} {:>5.1} % of the time", share * 100.0);
        figures.insert(format!("{name}_share_{short}"), share);
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
    run(&host()?, &once.folder, Transform::Sandboxed, 0)?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("{}", peak.unwrap_or("0").trim().trim_end_matches(" kB"));
    Ok(())
}

pub(crate) fn host() -> anyhow::Result<Host> {
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
        clock: Arc::new(SystemClock::start()),
        stores: Arc::default(),
    })
}

/// A folder with a stream and the pipeline over it; kept for the next time.
pub(crate) fn prepare(
    data: &Path,
    name: &str,
    format: RidesFormat,
    events: u64,
) -> anyhow::Result<PathBuf> {
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
            std::fs::canonicalize(component()?)?
        ),
    )?;
    Ok(folder)
}

pub(crate) fn open(host: &Host, folder: &Path) -> anyhow::Result<Opened> {
    let path = folder.join("pipeline.toml");
    let pipeline = load_pipelines(&[&path])?.remove(0);
    let environment = Environment::find_and_load(&path, "local")?;
    Ok(pipeline::open(host, pipeline, &environment)?)
}

/// Which transform a run uses.
enum Transform {
    Sandboxed,
    Native,
    /// The component, with the CPU time that its calls take, in nanoseconds.
    Metered(Arc<AtomicU64>),
}

/// The seconds of a run, from opened to all written.
fn run(host: &Host, folder: &Path, transform: Transform, events: u64) -> anyhow::Result<f64> {
    // A store of an earlier run would have to be compacted in this one.
    let _ = std::fs::remove_dir_all(folder.join("store"));
    let opened = open(host, folder)?;
    let opened = match transform {
        Transform::Sandboxed => opened,
        Transform::Native => {
            let mut native = Some(Native::open(
                &opened.plan.windows().expect("it has windows").spec,
            )?);
            opened.map_transforms(|_| Box::new(native.take().expect("there is one lane")))
        }
        Transform::Metered(spent) => opened.map_transforms(|transform| {
            let spent = Arc::clone(&spent);
            Box::new(Metered { transform, spent })
        }),
    };
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
    Ok(elapsed.as_secs_f64())
}

/// The seconds of reading and decoding alone.
fn decode(host: &Host, folder: &Path) -> anyhow::Result<f64> {
    let replay = open(host, folder)?.replay;
    let began = Instant::now();
    let mut source = Replay::open(replay, Arc::new(ReadProgress::default()))?;
    while source.next_batch()?.is_some() {}
    Ok(began.elapsed().as_secs_f64())
}

/// A transform whose calls are timed, on the clock of the thread that makes them.
struct Metered {
    transform: Box<dyn Windowed>,
    spent: Arc<AtomicU64>,
}

impl Metered {
    fn time<'a, T: 'a>(
        call: BoxFuture<'a, Result<T, CallError>>,
        spent: Arc<AtomicU64>,
    ) -> BoxFuture<'a, Result<T, CallError>> {
        let mut call = call;
        Box::pin(std::future::poll_fn(move |context| {
            let now = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            let began = now();
            let polled = call.as_mut().poll(context);
            let ended = now();
            let seconds = (ended.tv_sec - began.tv_sec) * 1_000_000_000;
            spent.fetch_add(
                (seconds + ended.tv_nsec - began.tv_nsec) as u64,
                Ordering::Relaxed,
            );
            polled
        }))
    }
}

impl Windowed for Metered {
    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        Self::time(
            self.transform.accumulate(rows, groups),
            Arc::clone(&self.spent),
        )
    }

    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Merged, CallError>> {
        Self::time(
            self.transform.merge(earlier, later),
            Arc::clone(&self.spent),
        )
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        Self::time(
            self.transform.finish(groups, bounds),
            Arc::clone(&self.spent),
        )
    }
}

/// CPU time in seconds: of the threads that stay, and of the whole process.
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
            let stat = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let nanos: f64 = stat.split_whitespace().next().unwrap_or("0").parse()?;
            match name.trim() {
                "lane" => threads.lane += nanos / 1e9,
                "io" => threads.io += nanos / 1e9,
                _ => {}
            }
        }
        let all = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        threads.all = all.tv_sec as f64 + all.tv_nsec as f64 / 1e9;
        Ok(threads)
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            lane: self.lane - before.lane,
            io: self.io - before.io,
            all: self.all - before.all,
        }
    }
}
