//! Measures Penstock, side by side in one run, and says what it measured as figures.
//!
//! Run it with `cargo xtask bench replay`, `windows`, `languages`, `state`, `kafka`, `serve`, `swap` or `hostile`.

mod boundary;
mod density;
mod hostile;
mod kafka;
mod languages;
mod native;
mod replay;
mod serve;
mod state;
mod support;
mod windows;
// Compiled into this crate, so that the native baseline is inlined as well as it would be by hand.
#[path = "../../../examples/driver_accept_proportion/src/lib.rs"]
#[allow(unreachable_pub)] // It is a crate of its own elsewhere.
mod driver_accept_proportion;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// As in the program: what is measured in this process is to take memory as it does there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Figures by name.
type Figures = BTreeMap<String, f64>;

#[derive(Debug, Parser)]
#[command(
    name = "penstock-bench",
    about = "Measures Penstock; run it with `cargo xtask bench`"
)]
enum Command {
    /// Recorded rides through the whole pipeline, and the sandbox's boundary alone.
    Replay(Arguments),
    /// Kinds of windows against each other: hopping, several lengths, sessions, unbounded.
    Windows(Arguments),
    /// One transform in every language: rows a second, size, start.
    Languages(Arguments),
    /// State larger than memory: ten million keys in 256 MiB.
    State(Arguments),
    /// Live pipelines on a real Kafka: cost, freshness, restart and memory.
    Kafka(kafka::Options),
    /// Features for models, beside Redis: values a second, and how long one entity takes.
    Serve(Arguments),
    /// A client that asks for features as fast as it is answered.
    #[command(hide = true)]
    ServeLoad(serve::Load),
    /// Swaps under load on a real Kafka: pauses, events, what is left behind, migration.
    Swap(Arguments),
    /// Hostile guests: what is contained, what neighbours feel, how many pipelines fit.
    Hostile(hostile::Options),
    /// A consumer that only counts messages.
    #[command(hide = true)]
    KafkaBare(kafka::Bare),
    /// A run that says when it has passed some instants.
    #[command(hide = true)]
    StateOnce(state::Once),
    /// One run over recorded rides in a process of its own; prints what it took.
    #[command(hide = true)]
    Once(replay::Once),
}

#[derive(Debug, Clone, clap::Args)]
struct Arguments {
    /// Write the figures to a file, as one flat JSON object.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A tenth of the events, for a look.
    #[arg(long)]
    quick: bool,
    /// Events of the stream.
    #[arg(long, default_value_t = 5_000_000)]
    events: u64,
    /// How often each measurement is repeated; the best counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where the streams are kept between runs.
    #[arg(long, value_name = "FOLDER", default_value = "data/bench")]
    data: PathBuf,
    /// Leave out the runs that measure memory.
    #[arg(long)]
    no_memory: bool,
}

/// Which parts of a benchmark are measured.
#[derive(Debug, Clone, clap::Args)]
struct Parts<P: ValueEnum + Send + Sync + 'static> {
    /// What to measure; all if nothing is named.
    #[arg(long = "part", value_name = "PART")]
    named: Vec<P>,
}

impl<P: ValueEnum + PartialEq + Send + Sync> Parts<P> {
    fn have(&self, part: P) -> bool {
        self.named.is_empty() || self.named.contains(&part)
    }
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Replay(arguments) => report(arguments, |figures, arguments| {
            boundary::measure(figures, arguments.rounds)?;
            replay::measure(figures, arguments)
        }),
        Command::Windows(arguments) => report(arguments, windows::measure),
        Command::Languages(arguments) => report(arguments, languages::measure),
        Command::State(arguments) => report(arguments, state::measure),
        Command::Kafka(options) => report(options.arguments, |figures, arguments| {
            kafka::measure(figures, arguments, &options.parts)
        }),
        Command::Swap(arguments) => report(arguments, kafka::measure_swaps),
        Command::Hostile(options) => report(options.arguments, |figures, arguments| {
            hostile::measure(figures, arguments, &options.parts, &options.attack)
        }),
        Command::Serve(arguments) => report(arguments, serve::measure),
        Command::ServeLoad(load) => serve::load(&load),
        Command::KafkaBare(bare) => kafka::count(&bare),
        Command::StateOnce(once) => state::once(&once),
        Command::Once(once) => replay::once(&once),
    }
}

/// Measures, and prints and writes the figures.
fn report(
    mut arguments: Arguments,
    measure: impl FnOnce(&mut Figures, &Arguments) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if arguments.quick {
        arguments.events /= 10;
        arguments.rounds = arguments.rounds.min(2);
    }
    let mut figures = Figures::new();
    measure(&mut figures, &arguments)?;
    println!();
    for (name, value) in &figures {
        println!("{name:<44} {value:.3}");
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    }
    Ok(())
}

/// Keeps this process, and the threads it starts from now on, on one processor.
fn pin_to_one_processor() -> anyhow::Result<()> {
    let mut one = rustix::thread::CpuSet::new();
    one.set(1);
    if rustix::thread::sched_setaffinity(None, &one).is_err() {
        let mut first = rustix::thread::CpuSet::new();
        first.set(0);
        rustix::thread::sched_setaffinity(None, &first)?;
    }
    Ok(())
}

/// The transform that most benchmarks run.
fn transform() -> anyhow::Result<PathBuf> {
    component("driver_accept_proportion")
}

/// A transform that was built: they are beside this program's folder.
fn component(name: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program
        .ancestors()
        .nth(2)
        .expect("the program lies in <target>/release");
    Ok(target.join("transforms").join(format!("{name}.wasm")))
}
