//! Swaps under load: how long lanes stand still, whether an event is lost or counted twice, what is left behind after many
//! of them, and what it costs to take over states of another version.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use penstock::store::embedded::EmbeddedStore;
use penstock::store::{FeatureName, FeatureReader as _};
use serde_json::Value;

use super::broker::{self, Broker, Message, flush, send};
use super::process::{Folder, Penstock};
use super::{PARTITIONS, RIDES, load, rides};
use crate::{Arguments, Figures, component, transform};

/// All that there ever was of each key, so that nothing that is lost or counted twice goes unseen.
const WINDOW: &str = "[window]\nkind = \"unbounded\"\nttl = \"36500d\"\nemit = \"batch\"\n[swap]\nlook_every = \"20ms\"";

/// Events a second while versions change.
const PER_SECOND: f64 = 5_000.0;

/// Swaps after which it is first looked what the process takes.
const FEW: u64 = 10;

/// Keys of which states are taken over.
const GROUPS: u64 = 100_000;

pub(crate) fn measure(figures: &mut Figures, arguments: &Arguments) -> Result<()> {
    let broker = Broker::start()?;
    let swaps = if arguments.quick { 2 * FEW } else { 100 * FEW };
    in_a_row(&broker, swaps, figures, arguments)?;
    migration(&broker, figures, arguments)
}

/// Goes to and fro between two versions that do the same, under load.
fn in_a_row(
    broker: &Broker,
    swaps: u64,
    figures: &mut Figures,
    arguments: &Arguments,
) -> Result<()> {
    println!("{swaps} swaps at {PER_SECOND} events/s");
    broker.create("swapped", PARTITIONS)?;
    let folder = Folder::new(broker, "swapped", RIDES)?;
    folder.listens()?;
    folder.pipeline("swapped", WINDOW)?;
    for number in [0, 1] {
        let file = folder.write("version.wasm", same_but(number)?)?;
        let file = file.to_str().context("the path is a text")?;
        let version = format!("offers@0.0.{number}");
        folder.penstock(&["push", file, &version, "--json"])?;
    }
    let recorded = rides(&arguments.data, arguments.events)?;
    let process = Penstock::start(&folder)?;
    process.wait_until(|| Ok(process.address().is_ok() && is_at_work(&process)?))?;
    let watch = broker.watch("swapped", "swapped")?;
    let over = AtomicBool::new(false);
    let mut after = Vec::new();
    let sent = std::thread::scope(|scope| {
        let loading = scope.spawn(|| {
            let producer = broker.producer()?;
            let mut lines = broker::lines(&recorded)?;
            let mut sent = HashMap::<u64, u64>::new();
            load::pace(
                PER_SECOND,
                |_| over.load(Ordering::Relaxed),
                || {
                    // The first ones again, if there are too few: late ones are counted too.
                    let line = match lines.next() {
                        Some(line) => line?,
                        None => {
                            lines = broker::lines(&recorded)?;
                            lines.next().context("there are rides")??
                        }
                    };
                    *sent.entry(line.key).or_default() += 1;
                    send(&producer, "swapped", &line)
                },
                |_| Ok(()),
            )?;
            flush(&producer)?;
            Ok::<_, anyhow::Error>(sent)
        });
        let swapping = (0..swaps).try_for_each(|number| {
            // Over HTTP, so that the machine has no more to do than a host has whose operator is elsewhere.
            let asked = format!("{{\"component\": \"offers@0.0.{}\"}}", number % 2);
            process.ask("POST", "/v1/pipelines/swapped/swap", &asked)?;
            let done = number + 1;
            process.wait_until(|| have_switched(&process, done))?;
            if done % (swaps / 10) == 0 {
                let (mib, files) = taken(&process)?;
                println!("  {done:>5} swaps: {mib:.0} MiB in memory, {files} files open");
            }
            if done == FEW {
                after.push(("few", taken(&process)?));
            }
            if done == swaps / 2 {
                after.push(("half", taken(&process)?));
            }
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        let sent = loading.join().expect("nothing there panics");
        swapping.and(sent)
    })?;
    process.wait_until(|| Ok(watch.lag()? == 0))?;
    let status = status(&process)?;
    let (mut longest, mut p99) = (0.0_f64, 0.0_f64);
    for lane in status["pipelines"][0]["lanes"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let switches = &lane["switches"];
        ensure!(
            switches["count"] == swaps,
            "each lane went over as it was: {lane}"
        );
        longest = longest.max(lane["longest_switch_s"].as_f64().unwrap_or(f64::NAN));
        p99 = p99.max(switches["p99_at_most_s"].as_f64().unwrap_or(f64::NAN));
    }
    figures.insert("pause_max_ms".into(), longest * 1e3);
    // The histogram's bound may be above the greatest.
    figures.insert("pause_p99_ms".into(), p99.min(longest) * 1e3);
    // A process that has just begun has not yet the tables of memory that it has as long as it runs, and the engine keeps files
    // that it has replaced for minutes. What a swap leaves behind shows between half of the swaps and all.
    after.push(("all", taken(&process)?));
    for (when, (mib, files)) in after {
        figures.insert(format!("rss_mib_after_{when}"), mib);
        figures.insert(format!("files_after_{when}"), files);
    }
    process.stop()?;
    let counted = counted(&folder, sent.keys())?;
    figures.insert("swaps".into(), swaps as f64);
    figures.insert("events".into(), sent.values().sum::<u64>() as f64);
    let (mut lost, mut twice) = (0, 0);
    for (key, sent) in &sent {
        let counted = counted[key];
        lost += sent.saturating_sub(counted);
        twice += counted.saturating_sub(*sent);
    }
    figures.insert("lost".into(), lost as f64);
    figures.insert("twice".into(), twice as f64);
    Ok(())
}

/// What the store says how many events there were of each key.
fn counted<'a>(folder: &Folder, keys: impl Iterator<Item = &'a u64>) -> Result<HashMap<u64, u64>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let names = [FeatureName::parse("driver_offers_10m")];
    runtime.block_on(async {
        let reader = EmbeddedStore::open_reader(&folder.store()).await?;
        let mut counted = HashMap::new();
        for key in keys {
            let found = reader.get("swapped", &key.to_string(), &names).await?;
            let value = found[0].as_ref().and_then(|found| found.value.as_ref());
            let count = value.map(|value| anyhow::Ok(value.to_json()?.parse()?));
            counted.insert(*key, count.transpose()?.unwrap_or(0));
        }
        reader.close().await;
        Ok(counted)
    })
}

/// Has the states of many keys be taken over.
fn migration(broker: &Broker, figures: &mut Figures, arguments: &Arguments) -> Result<()> {
    let groups = if arguments.quick { GROUPS / 10 } else { GROUPS };
    println!("states of {groups} keys are taken over");
    broker.create("migrated", PARTITIONS)?;
    let columns =
        "occurred_at = \"timestamp[us, UTC]\", driver_id = \"int64\", amount = \"float64\"";
    let folder = Folder::new(broker, "migrated", columns)?;
    folder.pipeline(
        "migrated",
        "[window]\nkind = \"tumbling\"\nsize = \"1d\"\n[swap]\nlook_every = \"20ms\"",
    )?;
    folder.replace("migrated", |text| {
        let features = text.find("[[feature]]").unwrap_or(text.len());
        let windows = text.find("[window]").unwrap_or(text.len());
        let own = "[[feature]]\nname = \"sum\"\ntype = \"float64\"\n";
        let head = text[..features].replace("driver_accept_proportion.wasm", "versioned.wasm");
        format!("{head}{own}{}", &text[windows..])
    })?;
    let process = Penstock::start(&folder)?;
    broker.produce(
        "migrated",
        (0..groups).map(|key| {
            let value = format!(
                "{{\"occurred_at\":\"2026-01-01T00:00:00Z\",\"driver_id\":{key},\"amount\":1.5}}"
            );
            Ok(Message { key, value })
        }),
    )?;
    let watch = broker.watch("migrated", "migrated")?;
    process.wait_until(|| Ok(watch.lag()? == 0))?;
    swap(&folder, "migrated", &component("successor")?)?;
    process.wait_until(|| all_have(&folder, "migrated", 2))?;
    let history = folder.penstock(&["history", "migrated", "--json"])?;
    process.stop()?;
    let (mut states, mut millis) = (0.0, 0.0);
    for note in history[1]["notes"].as_array().into_iter().flatten() {
        let text = note["text"].as_str().unwrap_or_default();
        let words: Vec<&str> = text.split(' ').collect();
        if let ["lane", _, count, "states", .., took, "ms"] = words[..] {
            states += count.parse::<f64>()?;
            millis += took.parse::<f64>()?;
        }
    }
    ensure!(
        states == groups as f64,
        "{states} states were taken over: {history}"
    );
    figures.insert("migration_ms_per_100k_groups".into(), millis / states * 1e5);
    Ok(())
}

/// Asks for a component, and waits until a host says that it has it at work.
fn swap(folder: &Folder, pipeline: &str, component: &Path) -> Result<()> {
    let component = component.to_str().context("the path is a text")?;
    folder
        .penstock(&["swap", pipeline, component, "--json"])
        .map(|_| ())
}

/// Whether every lane has committed as this generation.
fn all_have(folder: &Folder, pipeline: &str, generation: u64) -> Result<bool> {
    let status = folder.penstock(&["status", pipeline, "--json"])?;
    let mut lanes = status["lanes"].as_array().into_iter().flatten();
    Ok(lanes.all(|lane| lane["generation"] == generation))
}

/// The bytes of the usual transform with a section that means nothing: another version that does the same.
fn same_but(number: u8) -> Result<Vec<u8>> {
    let mut bytes = fs::read(transform()?)?;
    // A custom section (WebAssembly, "Custom Section"): 0, its size, the length of its name, the name, its contents.
    bytes.extend([0, 3, 1, b'v', number]);
    Ok(bytes)
}

/// MiB in memory, and open files.
fn taken(process: &Penstock) -> Result<(f64, f64)> {
    let status = status(process)?;
    let figure = |name: &str| status["process"][name].as_f64().context("it is told");
    Ok((
        figure("resident_bytes")? / f64::from(1 << 20),
        figure("open_files")?,
    ))
}

/// Whether its pipeline has all of its lanes.
fn is_at_work(process: &Penstock) -> Result<bool> {
    let status = status(process)?;
    let lanes = status["pipelines"][0]["lanes"].as_array();
    Ok(lanes.is_some_and(|lanes| lanes.len() == PARTITIONS as usize))
}

/// Whether every lane has gone over to another version so often.
fn have_switched(process: &Penstock, times: u64) -> Result<bool> {
    let status = status(process)?;
    let mut lanes = status["pipelines"][0]["lanes"]
        .as_array()
        .into_iter()
        .flatten();
    Ok(lanes.all(|lane| lane["switches"]["count"] == times))
}

/// What the process tells of itself.
fn status(process: &Penstock) -> Result<Value> {
    process.ask("GET", "/status", "")
}
