//! From an event that is produced to its feature that can be read: as the process serves it that computes it, and by
//! another process.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use penstock::store::embedded::EmbeddedStore;
use penstock::store::{FeatureName, FeatureReader as _};
use serde_json::json;

use super::broker::{self, Broker, Message, Producer, send};
use super::process::{Folder, Penstock};
use super::{PARTITIONS, RIDES, load, rides};
use crate::{Arguments, Figures};

const WINDOW: &str =
    "[window]\nkind = \"tumbling\"\nsize = \"10m\"\ndisorder = \"30s\"\nemit = \"batch\"";

/// Drivers of whom nobody else has heard: each is one probe.
const PROBES: u64 = 1 << 40;

/// How many probes come in a second.
const PROBES_PER_S: f64 = 100.0;

/// How often each way of reading is looked at, for how many seconds at most; the best counts.
const ROUNDS: usize = 4;
const SECONDS: f64 = 10.0;

/// Rides before anything is measured.
const FIRST: u64 = 1_000;

/// Rides that there are for it, in those of the others.
const TIMES: u64 = 3;

const FEW: &str = "there are too few rides for a machine so fast: ask for more with --events";

/// A probe that was produced, and when.
struct Probe {
    driver: u64,
    at: Instant,
}

/// Events a second that are tried first.
const SLOWEST: f64 = 20_000.0;

/// Produces at half of the pace that producer, broker and pipeline can keep up with on this machine, and
/// watches how long it takes until what was produced can be read.
pub(super) fn measure(broker: &Broker, figures: &mut Figures, arguments: &Arguments) -> Result<()> {
    broker.create("fresh", PARTITIONS)?;
    let folder = Folder::new(broker, "fresh", RIDES)?;
    folder.pipeline("fresh", WINDOW)?;
    folder.listens()?;
    let process = Penstock::start(&folder)?;
    let watch = broker.watch("fresh", "fresh")?;
    // The first of all makes the lanes and their databases.
    let events = arguments.events * TIMES;
    let rides = rides(&arguments.data, events)?;
    let mut left = events - FIRST;
    let mut lines = broker::lines(&rides)?;
    broker.produce("fresh", lines.by_ref().take(FIRST as usize))?;
    process.wait_until(|| Ok(watch.lag()? == 0))?;
    let producer = broker.producer()?;
    let sustained = load::sustained(&process, &watch, SLOWEST, || {
        left = left.saturating_sub(1);
        let message = lines.next().context(FEW)??;
        send(&producer, "fresh", &message)
    })?;
    ensure!(sustained > 0.0, "{SLOWEST} events/s are not kept up with");
    let per_second = sustained / 2.0;
    println!("\nhow fresh features are at {per_second:.0} events/s, half of what is kept up with");
    let seconds = (0.9 * left as f64 / per_second / (2 * ROUNDS) as f64).min(SECONDS);
    ensure!(seconds > 1.0, FEW);
    let (mut probed, mut best) = (0, [None::<[f64; 3]>; 2]);
    for round in 0..2 * ROUNDS {
        let (probes, done) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let is_elsewhere = round % 2 == 1;
        let mut seen = std::thread::scope(|scope| {
            let reading = scope.spawn(|| match is_elsewhere {
                true => read_elsewhere(&folder, &probes, &done),
                false => read(&process, &probes, &done),
            });
            let produced = load(
                &producer,
                &mut lines,
                (per_second, seconds),
                &mut probed,
                &probes,
            );
            done.store(true, Ordering::Relaxed);
            let seen = reading.join().expect("nothing there panics");
            produced.and(seen)
        })?;
        seen.sort_by(f64::total_cmp);
        ensure!(!seen.is_empty(), "there were probes");
        let at = |share: f64| seen[((seen.len() - 1) as f64 * share) as usize];
        let [half, most, all] = [0.5, 0.99, 1.0].map(at);
        println!(
            "  {} probes, read {}: half within {half:.0} ms, 99 of 100 within {most:.0} ms, all within {all:.0} ms",
            seen.len(),
            if is_elsewhere {
                "by another process"
            } else {
                "over REST"
            },
        );
        let best = &mut best[usize::from(is_elsewhere)];
        *best = best
            .filter(|best| best[1] <= most)
            .or(Some([half, most, all]));
    }
    process.stop()?;
    for (best, of) in best.into_iter().zip(["", "elsewhere_"]) {
        for (figure, name) in best
            .context("there are rounds")?
            .into_iter()
            .zip(["p50", "p99", "max"])
        {
            figures.insert(format!("freshness_{of}{name}_ms"), figure);
        }
    }
    figures.insert("freshness_events_per_s".into(), per_second);
    Ok(())
}

/// Produces so many events a second for so many seconds, and probes among them, of which so many were there before.
fn load(
    producer: &Producer,
    lines: &mut impl Iterator<Item = Result<Message>>,
    (per_second, seconds): (f64, f64),
    probed: &mut u64,
    probes: &Mutex<Vec<Probe>>,
) -> Result<()> {
    // Rides come out of order, and a probe that comes late would be seen nowhere.
    let latest = RefCell::new(None::<Message>);
    let send_ride = || {
        let message = lines.next().context(FEW)??;
        send(producer, "fresh", &message)?;
        let mut latest = latest.borrow_mut();
        if latest
            .as_ref()
            .is_none_or(|latest| time(latest) < time(&message))
        {
            *latest = Some(message);
        }
        Ok(())
    };
    let before = *probed;
    let send_probe = |elapsed: f64| {
        let latest = latest.borrow();
        let Some(latest) = latest
            .as_ref()
            .filter(|_| ((*probed - before) as f64) < elapsed * PROBES_PER_S)
        else {
            return Ok(());
        };
        let driver = PROBES + *probed;
        let (from, to) = (
            format!("\"driver_id\":{}", latest.key),
            format!("\"driver_id\":{driver}"),
        );
        let probe = Message {
            key: driver,
            value: latest.value.replace(&from, &to),
        };
        let at = Instant::now();
        send(producer, "fresh", &probe)?;
        let mut probes = probes.lock().expect("nobody panics with it");
        probes.push(Probe { driver, at });
        *probed += 1;
        Ok(())
    };
    load::pace(
        per_second,
        |elapsed| elapsed >= seconds,
        send_ride,
        send_probe,
    )?;
    broker::flush(producer)
}

/// The event time of a ride, as its text, all of which are equally long.
fn time(message: &Message) -> Option<&str> {
    let text = message.value.split_once("\"occurred_at\":\"")?.1;
    text.get(..24)
}

/// What is looked for of each probe.
const FEATURE: &str = "driver_offers_10m";

/// Looks for all probes that are not there yet, again and again, over REST; gives milliseconds.
fn read(process: &Penstock, probes: &Mutex<Vec<Probe>>, done: &AtomicBool) -> Result<Vec<f64>> {
    let (mut seen, mut awaited) = (Vec::new(), Vec::<Probe>::new());
    while is_awaited(&mut awaited, probes, done)? {
        if !awaited.is_empty() {
            let drivers = awaited.iter().map(|probe| probe.driver.to_string());
            let drivers: Vec<String> = drivers.collect();
            let asked = json!({"entities": drivers, "features": [FEATURE]}).to_string();
            let answer = process.ask("POST", "/v1/groups/fresh/batch-get", &asked)?;
            let values = answer["features"][0]["values"].as_array();
            let values = values.context("an answer has values")?.iter();
            look(
                values.map(|value| !value.is_null()),
                &mut awaited,
                &mut seen,
            );
        }
        std::thread::park_timeout(MOMENT);
    }
    Ok(seen)
}

/// The same in the store, as another process does.
fn read_elsewhere(
    folder: &Folder,
    probes: &Mutex<Vec<Probe>>,
    done: &AtomicBool,
) -> Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let names = [FeatureName::parse(FEATURE)];
    let reader = runtime.block_on(EmbeddedStore::open_reader(&folder.store()))?;
    let (mut seen, mut awaited) = (Vec::new(), Vec::<Probe>::new());
    while is_awaited(&mut awaited, probes, done)? {
        let looks = awaited.iter().map(|probe| {
            let entity = probe.driver.to_string();
            let (reader, names) = (&reader, &names);
            async move {
                let found = reader.get("fresh", &entity, names).await?;
                anyhow::Ok(found[0].is_some())
            }
        });
        let are_there: Vec<bool> = runtime.block_on(try_join_all(looks))?;
        look(are_there.into_iter(), &mut awaited, &mut seen);
        std::thread::park_timeout(MOMENT);
    }
    runtime.block_on(reader.close());
    Ok(seen)
}

/// Takes in what was produced since, and says whether anything is to be looked for still.
fn is_awaited(
    awaited: &mut Vec<Probe>,
    probes: &Mutex<Vec<Probe>>,
    done: &AtomicBool,
) -> Result<bool> {
    let is_done = done.load(Ordering::Relaxed);
    awaited.append(&mut *probes.lock().expect("nobody panics with it"));
    if let Some(probe) = awaited.first() {
        ensure!(
            probe.at.elapsed() < Duration::from_secs(30),
            "probe {} cannot be read after half a minute",
            probe.driver
        );
    }
    Ok(!is_done || !awaited.is_empty())
}

/// Notes how long it took of those probes that are there.
fn look(mut are_there: impl Iterator<Item = bool>, awaited: &mut Vec<Probe>, seen: &mut Vec<f64>) {
    awaited.retain(|probe| {
        let is_there = are_there.next() == Some(true);
        if is_there {
            seen.push(probe.at.elapsed().as_secs_f64() * 1e3);
        }
        !is_there
    });
}

/// Between two looks: so long a look costs nothing to speak of.
const MOMENT: Duration = Duration::from_millis(5);
