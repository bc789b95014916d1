//! From an event that is produced to its feature that can be read by another process.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use penstock::store::embedded::EmbeddedStore;
use penstock::store::{FeatureName, FeatureReader};

use super::broker::{self, Broker, Message, send};
use super::process::{Folder, Penstock};
use super::{PARTITIONS, RIDES};
use crate::{Arguments, Figures};

const WINDOW: &str =
    "[window]\nkind = \"tumbling\"\nsize = \"10m\"\ndisorder = \"30s\"\nemit = \"batch\"";

/// Drivers of whom nobody else has heard: each is one probe.
const PROBES: u64 = 1 << 40;

/// How many probes come in a second.
const PROBES_PER_S: f64 = 50.0;

/// A probe that was produced, and when.
struct Probe {
    driver: u64,
    at: Instant,
}

/// Produces at half of the rate that producer, broker and pipeline can keep up with on this machine, and
/// watches how long it takes until what was produced can be read.
pub(super) fn measure(
    broker: &Broker,
    rides: &Path,
    figures: &mut Figures,
    arguments: &Arguments,
) -> Result<()> {
    broker.create("fresh", PARTITIONS)?;
    let folder = Folder::new(broker, "fresh", RIDES)?;
    folder.pipeline("fresh", WINDOW)?;
    let process = Penstock::start(&folder)?;
    // The first of all makes the lanes and their databases.
    let mut lines = broker::lines(rides)?;
    broker.produce("fresh", lines.by_ref().take(1_000))?;
    process.wait_until(|| Ok(broker.lag("fresh", "fresh")? == 0))?;
    let began = Instant::now();
    let as_fast_as_can_be = arguments.events as usize * 2 / 5;
    broker.produce("fresh", lines.by_ref().take(as_fast_as_can_be))?;
    process.wait_until(|| Ok(broker.lag("fresh", "fresh")? == 0))?;
    let per_second = as_fast_as_can_be as f64 / began.elapsed().as_secs_f64() / 2.0;
    println!("\nhow fresh features are at {per_second:.0} events/s, half of what can be done");
    let (probes, done) = (Mutex::new(VecDeque::new()), AtomicBool::new(false));
    let seconds = (0.5 * arguments.events as f64 / per_second).min(30.0);
    let seen = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read(&folder, &probes, &done));
        let produced = load(broker, lines, per_second, seconds, &probes);
        done.store(true, Ordering::Relaxed);
        let seen = reading.join().expect("nothing there panics");
        produced.and(seen)
    })?;
    process.stop()?;
    let mut seen = seen;
    seen.sort_by(f64::total_cmp);
    ensure!(!seen.is_empty(), "there were probes");
    let at = |share: f64| seen[((seen.len() - 1) as f64 * share) as usize];
    println!(
        "  {} probes: half within {:.0} ms, 99 of 100 within {:.0} ms, all within {:.0} ms",
        seen.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    figures.insert("freshness_p50_ms".into(), at(0.5));
    figures.insert("freshness_p99_ms".into(), at(0.99));
    figures.insert("freshness_max_ms".into(), at(1.0));
    figures.insert("freshness_events_per_s".into(), per_second);
    Ok(())
}

/// Produces so many events a second for so long, and probes among them.
fn load(
    broker: &Broker,
    mut lines: impl Iterator<Item = Result<Message>>,
    per_second: f64,
    seconds: f64,
    probes: &Mutex<VecDeque<Probe>>,
) -> Result<()> {
    let producer = broker.producer()?;
    let began = Instant::now();
    let (mut sent, mut probed) = (0_u64, 0_u64);
    // Rides come out of order, and a probe that comes late would be seen nowhere.
    let mut latest: Option<Message> = None;
    while began.elapsed().as_secs_f64() < seconds {
        let elapsed = began.elapsed().as_secs_f64();
        // Probes wait for no more than a few milliseconds' worth of rides.
        let most = sent + (per_second / 200.0) as u64;
        while (sent as f64) < elapsed * per_second && sent < most {
            let message = lines.next().context("there are enough rides")??;
            send(&producer, "fresh", &message)?;
            if latest
                .as_ref()
                .is_none_or(|latest| time(latest) < time(&message))
            {
                latest = Some(message);
            }
            sent += 1;
        }
        if let Some(latest) = &latest
            && (probed as f64) < elapsed * PROBES_PER_S
        {
            let driver = PROBES + probed;
            let (from, to) = (
                format!("\"driver_id\":{}", latest.key),
                format!("\"driver_id\":{driver}"),
            );
            let probe = Message {
                key: driver,
                value: latest.value.replace(&from, &to),
            };
            let at = Instant::now();
            send(&producer, "fresh", &probe)?;
            probes
                .lock()
                .expect("nobody panics with it")
                .push_back(Probe { driver, at });
            probed += 1;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    broker::flush(&producer)
}

/// The event time of a ride, as its text, all of which are equally long.
fn time(message: &Message) -> Option<&str> {
    let text = message.value.split_once("\"occurred_at\":\"")?.1;
    text.get(..24)
}

/// Looks for the oldest probe until it is there, then for the next; gives milliseconds.
fn read(folder: &Folder, probes: &Mutex<VecDeque<Probe>>, done: &AtomicBool) -> Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let name = FeatureName {
        name: "driver_offers_10m".into(),
        version: None,
    };
    let names = [name];
    runtime.block_on(async {
        let reader = EmbeddedStore::open_reader(&folder.store()).await?;
        let mut seen = Vec::new();
        loop {
            let probe = probes.lock().expect("nobody panics with it").pop_front();
            let Some(probe) = probe else {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                a_moment().await;
                continue;
            };
            let entity = probe.driver.to_string();
            while reader.get("fresh", &entity, &names).await?[0].is_none() {
                ensure!(
                    probe.at.elapsed() < Duration::from_secs(30),
                    "probe {entity} cannot be read after half a minute"
                );
                a_moment().await;
            }
            seen.push(probe.at.elapsed().as_secs_f64() * 1e3);
        }
        reader.close().await;
        Ok(seen)
    })
}

/// So long a look at the store costs nothing to speak of.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody tells when a feature can be read: that is what is measured"
)]
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
