//! Loads: events at a pace, and the greatest pace that a pipeline keeps up with.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::broker::Watch;
use super::process::Penstock;

/// How long a pace is tried.
const TRIED: f64 = 3.0;
/// How much faster the next one is.
const FASTER: f64 = 1.4;
/// A pipeline that has not committed the events of so many seconds does not keep up.
const BEHIND: f64 = 0.6;

/// Has `send` called so many times a second, until `is_over` says of the seconds that have passed that it
/// is enough. Says how many times that was. What could not be sent in time is sent as soon as it can be, a few
/// milliseconds' worth at a time; `between` is called after each.
pub(super) fn pace(
    per_second: f64,
    mut is_over: impl FnMut(f64) -> bool,
    mut send: impl FnMut() -> Result<()>,
    mut between: impl FnMut(f64) -> Result<()>,
) -> Result<u64> {
    let began = Instant::now();
    let mut sent = 0;
    loop {
        let elapsed = began.elapsed().as_secs_f64();
        if is_over(elapsed) {
            return Ok(sent);
        }
        let most = sent + (per_second / 200.0) as u64 + 1;
        while (sent as f64) < elapsed * per_second && sent < most {
            send()?;
            sent += 1;
        }
        between(elapsed)?;
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// The most events a second, of those that are tried one after the other from `slowest` on, that producer, broker
/// and pipeline keep up with on this machine. The pipeline has committed all of them then.
pub(super) fn sustained(
    process: &Penstock,
    watch: &Watch,
    slowest: f64,
    mut send: impl FnMut() -> Result<()>,
) -> Result<f64> {
    let mut per_second = slowest;
    let mut kept_up_with = 0.0;
    loop {
        let is_over = |elapsed| elapsed >= TRIED;
        let before = watch.committed()?;
        let sent = pace(per_second, is_over, &mut send, |_| Ok(()))?;
        let was_sent = sent as f64 >= 0.9 * per_second * TRIED;
        // Also what the producer still has counts: who cannot hand it over does not keep up either.
        let behind = sent as f64 - (watch.committed()? - before) as f64;
        process.wait_until(|| Ok(watch.lag()? == 0))?;
        if !was_sent || behind > BEHIND * per_second {
            return Ok(kept_up_with);
        }
        kept_up_with = per_second;
        per_second *= FASTER;
    }
}
