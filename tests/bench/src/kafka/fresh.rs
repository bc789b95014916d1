//! From an event that is produced to its feature that can be read by another process.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use penstock::store::embedded::EmbeddedStore;
use penstock::store::{FeatureName, FeatureReader};

use super::broker::{self, Broker, Message, Producer, send};
use super::process::{Folder, Penstock};
use super::{PARTITIONS, RIDES, load};
use crate::{Arguments, Figures};

const WINDOW: &str =
    "[window]\nkind = \"tumbling\"\nsize = \"10m\"\ndisorder = \"30s\"\nemit = \"batch\"";

/// Drivers of whom nobody else has heard: each is one probe.
const PROBES: u64 = 1 << 40;

/// How many probes come in a second.
const PROBES_PER_S: f64 = 50.0;

/// Rides before anything is measured.
const FIRST: u64 = 1_000;

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
    let watch = broker.watch("fresh", "fresh")?;
    // The first of all makes the lanes and their databases.
    let mut left = arguments.events - FIRST;
    let mut lines = broker::lines(rides)?;
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
    let (probes, done) = (Mutex::new(VecDeque::new()), AtomicBool::new(false));
    let seconds = (0.9 * left as f64 / per_second).min(30.0);
    ensure!(seconds > 1.0, FEW);
    let seen = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read(&folder, &probes, &done));
        let produced = load(&producer, lines, per_second, seconds, &probes);
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
    producer: &Producer,
    mut lines: impl Iterator<Item = Result<Message>>,
    per_second: f64,
    seconds: f64,
    probes: &Mutex<VecDeque<Probe>>,
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
    let mut probed = 0_u64;
    let send_probe = |elapsed: f64| {
        let latest = latest.borrow();
        let Some(latest) = latest
            .as_ref()
            .filter(|_| (probed as f64) < elapsed * PROBES_PER_S)
        else {
            return Ok(());
        };
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
        send(producer, "fresh", &probe)?;
        let mut probes = probes.lock().expect("nobody panics with it");
        probes.push_back(Probe { driver, at });
        probed += 1;
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
    tokio::time::sleep(Duration::from_millis(2)).await;
}
