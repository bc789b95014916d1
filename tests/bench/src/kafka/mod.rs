//! Live pipelines on Kafka: what they cost beside a consumer that only counts, how soon a feature can be
//! read, and how soon a killed process with much state is back. The broker is a real one, on this machine.

mod bare;
mod broker;
mod fresh;
mod load;
mod process;
mod restart;
mod swap;

use std::path::{Path, PathBuf};

use anyhow::ensure;
use penstock::simulate::RidesFormat;

pub(crate) use self::bare::{Bare, count};
use self::broker::Broker;
use self::process::{Folder, Penstock};
pub(crate) use self::swap::measure as measure_swaps;
use crate::replay::prepare;
use crate::{Arguments, Figures, Parts};

/// Partitions of each topic.
const PARTITIONS: i32 = 4;

/// How many pipelines are set against one.
const MANY: u32 = 20;

/// What a pipeline over rides computes, and how its folder's environment describes them.
const RIDES: &str = r#"offer_id = "utf8", occurred_at = "timestamp[us, UTC]", driver_id = "int64", rider_id = "int64", city = "utf8", pickup_eta_s = "int64", accepted = "bool""#;

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) arguments: Arguments,
    #[command(flatten)]
    pub(crate) parts: Parts<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// What an event costs, against a consumer that only counts
    Speed,
    /// How long it takes from an event to its feature, at half of the load that can be kept up with
    Fresh,
    /// What 20 pipelines over one event cost, against one
    Many,
    /// How soon a killed process with much state is back, and what it takes in memory
    Restart,
}

pub(crate) fn measure(
    figures: &mut Figures,
    arguments: &Arguments,
    parts: &Parts<Part>,
) -> anyhow::Result<()> {
    let is_wanted = |part| parts.have(part);
    let broker = Broker::start()?;
    if [Part::Speed, Part::Many].into_iter().any(is_wanted) {
        let rides = rides(&arguments.data, arguments.events)?;
        println!("producing {} rides …", arguments.events);
        broker.create("rides", PARTITIONS)?;
        broker.produce("rides", broker::lines(&rides)?)?;
        if is_wanted(Part::Speed) {
            speed(&broker, figures, arguments)?;
        }
        if is_wanted(Part::Many) {
            many(&broker, figures, arguments)?;
        }
    }
    if is_wanted(Part::Fresh) {
        fresh::measure(&broker, figures, arguments)?;
    }
    match is_wanted(Part::Restart) {
        true => restart::measure(&broker, figures, arguments),
        false => Ok(()),
    }
}

/// The recorded rides as lines; made if they are not there.
fn rides(data: &Path, events: u64) -> anyhow::Result<PathBuf> {
    Ok(prepare(data, "ndjson", RidesFormat::Ndjson, events)?.join("rides"))
}

/// Events for each second of a processor, against a consumer that only counts.
fn speed(broker: &Broker, figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
    let events = arguments.events;
    println!("\n{events} rides in {PARTITIONS} partitions");
    let (mut pipeline, mut bare, mut elapsed) = (f64::MAX, f64::MAX, f64::MAX);
    for round in 0..arguments.rounds.min(3) {
        let folder = Folder::new(broker, "rides", RIDES)?;
        folder.pipeline(&format!("speed_{round}"), "")?;
        let took = run_all(broker, &folder, &[format!("speed_{round}")], events)?;
        pipeline = pipeline.min(took.cpu_s);
        elapsed = elapsed.min(took.seconds);
        bare = bare.min(bare::run(broker, "rides", events)?);
    }
    let per_core = |seconds: f64| events as f64 / seconds;
    println!(
        "  through a pipeline   {:>12.0} events/s per core  {:>7.1} ns/event",
        per_core(pipeline),
        pipeline * 1e9 / events as f64
    );
    println!(
        "  counted              {:>12.0} events/s per core  {:>7.1} ns/event",
        per_core(bare),
        bare * 1e9 / events as f64
    );
    println!(
        "  with all processors  {:>12.0} events/s",
        events as f64 / elapsed
    );
    figures.insert("events_per_s_per_core".into(), per_core(pipeline));
    figures.insert("bare_events_per_s_per_core".into(), per_core(bare));
    figures.insert("vs_bare_consumer".into(), bare / pipeline);
    figures.insert("events_per_s".into(), events as f64 / elapsed);
    Ok(())
}

/// What many pipelines over one event cost, in pipelines.
fn many(broker: &Broker, figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
    let mut cpu = [0.0; 2];
    for (at, pipelines) in [1, MANY].into_iter().enumerate() {
        let folder = Folder::new(broker, "rides", RIDES)?;
        let names: Vec<String> = (0..pipelines)
            .map(|number| format!("many_{pipelines}_{number}"))
            .collect();
        names
            .iter()
            .try_for_each(|name| folder.pipeline(name, ""))?;
        cpu[at] = run_all(broker, &folder, &names, arguments.events)?.cpu_s;
    }
    println!(
        "  {MANY} pipelines in one process cost {:.1} times one",
        cpu[1] / cpu[0]
    );
    figures.insert("pipelines_20_vs_1".into(), cpu[1] / cpu[0]);
    Ok(())
}

/// What a run took until everything was committed.
struct Took {
    seconds: f64,
    cpu_s: f64,
}

/// Runs all pipelines of a folder until each has committed all of its topic, and sees to it that nothing
/// was left out.
fn run_all(
    broker: &Broker,
    folder: &Folder,
    names: &[String],
    events: u64,
) -> anyhow::Result<Took> {
    let process = Penstock::start(folder)?;
    for name in names {
        let watch = broker.watch(name, folder.topic())?;
        process.wait_until(|| Ok(watch.lag()? == 0))?;
    }
    let took = Took {
        seconds: process.seconds(),
        cpu_s: process.cpu_s()?,
    };
    for summary in process.stop()?.as_array().into_iter().flatten() {
        let applied = &summary["events"]["applied"];
        ensure!(
            *applied == events,
            "{applied} of {events} events are applied"
        );
    }
    Ok(took)
}
