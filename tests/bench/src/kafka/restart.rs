//! Much state: what it takes in memory, and how soon a killed process is back with it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::broker::{Broker, Message, Watch, send};
use super::process::{Folder, Penstock};
use super::{PARTITIONS, load};
use crate::{Arguments, Figures};

/// What states may take in memory, in MiB; the default of pipelines.
const BUDGET_MIB: f64 = 256.0;

const COLUMNS: &str =
    r#"occurred_at = "timestamp[us, UTC]", driver_id = "int64", accepted = "bool""#;

/// Nothing closes, so that the state of every key stays.
const WINDOW: &str =
    "[window]\nkind = \"tumbling\"\nsize = \"30d\"\n[run]\nstate_memory = \"256MiB\"";

/// Events of keys at random that are tried in a second first. Half of what is kept up with comes while the process
/// is killed and comes back.
const SLOWEST: f64 = 2_000.0;

/// Whoever is at most so far behind has caught up.
const BEHIND: Duration = Duration::from_millis(300);

pub(super) fn measure(broker: &Broker, figures: &mut Figures, arguments: &Arguments) -> Result<()> {
    let keys = 2 * arguments.events;
    println!("\nthe state of {keys} keys, {BUDGET_MIB} MiB of it in memory");
    broker.create("keys", PARTITIONS)?;
    let turn = |row: u64| {
        Ok(ride(
            row,
            (u128::from(row) * 7_368_787 % u128::from(keys)) as u64,
        ))
    };
    broker.produce("keys", (0..keys).map(turn))?;
    let folder = Folder::new(broker, "keys", COLUMNS)?;
    folder.pipeline("keys", WINDOW)?;
    let process = Penstock::start(&folder)?;
    let watch = broker.watch("keys", "keys")?;
    process.wait_until(|| Ok(watch.lag()? == 0))?;
    let fill = keys as f64 / process.seconds();
    let producer = broker.producer()?;
    let mut rows = keys..;
    let mut send_one = || {
        let row = rows.next().expect("there is no last one");
        let mixed = row.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        send(&producer, "keys", &ride(row, (mixed >> 20) % keys))
    };
    let sustained = load::sustained(&process, &watch, SLOWEST, &mut send_one)?;
    ensure!(sustained > 0.0, "{SLOWEST} events/s are not kept up with");
    let per_second = sustained / 2.0;
    let done = AtomicBool::new(false);
    let (seconds, peak) = std::thread::scope(|scope| {
        let kill = scope.spawn(|| {
            let measured = kill(&watch, &folder, process);
            done.store(true, Ordering::Relaxed);
            measured
        });
        let is_over = |_| done.load(Ordering::Relaxed);
        load::pace(per_second, is_over, &mut send_one, |_| Ok(()))?;
        kill.join().expect("nothing there panics")
    })?;
    let gb = folder.store_bytes() / 1e9;
    println!("  each key once        {fill:>12.0} events/s");
    println!("  on disk              {gb:>12.2} GB");
    println!("  peak of memory       {peak:>12.0} MiB");
    println!("  keys at random       {sustained:>12.0} events/s");
    println!("  killed to caught up  {seconds:>12.2} s, at {per_second:.0} events/s");
    figures.insert("fill_events_per_s".into(), fill);
    figures.insert("random_events_per_s".into(), sustained);
    figures.insert("state_gb".into(), gb);
    figures.insert("rss_peak_mib".into(), peak);
    figures.insert("rss_over_budget".into(), peak / BUDGET_MIB);
    figures.insert("restart_1gb_s".into(), seconds);
    Ok(())
}

/// A ride of a key. All are on one day.
fn ride(row: u64, key: u64) -> Message {
    let millis = row % 86_400_000;
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let seconds = (millis % 60_000) as f64 / 1e3;
    let accepted = !row.is_multiple_of(3);
    Message {
        key,
        value: format!(
            r#"{{"occurred_at":"2026-03-01T{hours:02}:{minutes:02}:{seconds:06.3}Z","driver_id":{key},"accepted":{accepted}}}"#
        ),
    }
}

/// The seconds from the kill of a process to when another one has caught up, and the greatest peak of
/// memory of the two.
fn kill(watch: &Watch, folder: &Folder, process: Penstock) -> Result<(f64, f64)> {
    caught_up(watch, &process)?;
    // It is to be at work for a while with keys that are not in memory.
    let working = Instant::now();
    process.wait_until(|| Ok(working.elapsed() > Duration::from_secs(10)))?;
    let peak = process.peak_mib()?;
    let killed = Instant::now();
    process.kill()?;
    let process = Penstock::start(folder)?;
    caught_up(watch, &process)?;
    let seconds = killed.elapsed().as_secs_f64();
    let peak = peak.max(process.peak_mib()?);
    process.stop()?;
    Ok((seconds, peak))
}

/// Waits until everything is committed that was in the topic a moment ago.
fn caught_up(watch: &Watch, process: &Penstock) -> Result<()> {
    let mut ends = VecDeque::new();
    process.wait_until(|| {
        ends.push_back((Instant::now(), watch.end()?));
        while ends.get(1).is_some_and(|(at, _)| at.elapsed() > BEHIND) {
            ends.pop_front();
        }
        let (at, end) = ends[0];
        Ok(at.elapsed() > BEHIND && watch.committed()? >= end)
    })
}
