//! Hostile guests beside others: how many are contained, and what their neighbours feel.

#[path = "../../hostile/mod.rs"]
mod guests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::take;
use penstock::sandbox::{Limits, Resting};
use penstock::transform::{Groups, Rows, Windowed as _};
use tokio::sync::mpsc;

pub(crate) use self::guests::resident;
use self::guests::{Attack, attacks, survive};
use crate::support::{HOST, transform};
use crate::{Arguments, Figures};

/// Neighbours whose batches are looked at, the time between two batches of each, and their rows and keys: with two
/// processors, a tenth of what they could do.
const NEIGHBOURS: usize = 2;
const EVERY: Duration = Duration::from_millis(5);
const ROWS: usize = 2_000;
const KEYS: usize = 50;
/// Attacks that are told of, of those beside which a batch took longest.
const SHOWN: usize = 8;
/// Batches that may wait; who is so far behind is not sent more.
const WAITING: usize = 1_000;

pub(crate) fn measure(figures: &mut Figures, arguments: &Arguments) -> Result<()> {
    let attacks = attacks();
    let (mut contained, mut escaped) = (0.0, 0.0);
    for attack in &attacks {
        match survive(attack) {
            Ok(()) => contained += 1.0,
            Err(why) => {
                println!("ESCAPED by {}: {why}", attack.entry.name());
                escaped += 1.0;
            }
        }
    }
    println!("{contained} attacks contained, {escaped} escaped");
    figures.insert("attacks_contained".into(), contained);
    figures.insert("attacks_escaped".into(), escaped);
    neighbours(figures, &attacks, arguments.rounds)
}

/// What neighbours feel of all attacks that share a host with them, one after the other, in turns with and without.
fn neighbours(figures: &mut Figures, attacks: &[Attack], rounds: usize) -> Result<()> {
    let beside: Vec<&Attack> = attacks
        .iter()
        .filter(|attack| attack.host.is_none() && !attack.is_compiled_in_child)
        .collect();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    // The longest that a batch took that was due while an attack ran.
    let mut worst = BTreeMap::<&str, Duration>::new();
    // What is done for the first time belongs to neither.
    latencies(|| std::thread::park_timeout(Duration::from_secs(1)))?;
    for _ in 0..rounds.max(1) {
        let (began, mut ran) = (Instant::now(), Vec::new());
        let felt = latencies(|| {
            for attack in &beside {
                let (folder, began) = (attack.folder(), Instant::now());
                // How it ends was looked at before.
                let _ = attack.run(&HOST, &folder);
                ran.push((attack.name, began, Instant::now()));
            }
        })?;
        for (name, began, ended) in ran {
            let of = felt.iter().filter(|(due, _)| (began..ended).contains(due));
            let most = of.map(|(_, took)| *took).max().unwrap_or_default();
            let worst = worst.entry(name).or_default();
            *worst = most.max(*worst);
        }
        with.extend(felt.into_iter().map(|(_, took)| took));
        let as_long = began.elapsed();
        let felt = latencies(|| {
            let began = Instant::now();
            while let Some(left) = as_long.checked_sub(began.elapsed()) {
                std::thread::park_timeout(left);
            }
        })?;
        without.extend(felt.into_iter().map(|(_, took)| took));
    }
    println!(
        "{} batches of {NEIGHBOURS} neighbours alone, {} beside {} attacks one after the other",
        without.len(),
        with.len(),
        beside.len()
    );
    let mut worst: Vec<(&str, Duration)> = worst.into_iter().collect();
    worst.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
    for (name, took) in worst.iter().take(SHOWN) {
        println!("  the longest beside {name} took {took:?}");
    }
    for (percent, name) in [(50, "half"), (99, "99 of 100"), (100, "all")] {
        let (with, without) = (part(&mut with, percent)?, part(&mut without, percent)?);
        println!("  {name} within {without:?} alone, {with:?} beside them");
        let ratio = with.as_secs_f64() / without.as_secs_f64();
        if percent == 99 {
            figures.insert("neighbour_p99_ratio".into(), ratio);
            figures.insert("neighbour_p99_ms".into(), with.as_secs_f64() * 1e3);
        }
    }
    Ok(())
}

/// The time within which so many in a hundred lie.
fn part(times: &mut [Duration], percent: usize) -> Result<Duration> {
    times.sort_unstable();
    let last = times
        .len()
        .checked_sub(1)
        .context("neighbours had batches")?;
    Ok(times[(times.len() * percent / 100).min(last)])
}

/// Hands each neighbour a batch now and then while something else is done, and gives when each batch was due and the time from
/// then until it was worked on.
fn latencies(beside: impl FnOnce()) -> Result<Vec<(Instant, Duration)>> {
    let is_over = AtomicBool::new(false);
    let path = transform("driver_accept_proportion");
    // Before anybody is handed batches: whoever does that goes on until it is over.
    let components = (0..NEIGHBOURS).map(|_| Ok(Arc::new(HOST.sandbox.load_file(&path)?)));
    let components = components.collect::<Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        let neighbours: Vec<_> = (0..)
            .zip(components)
            .map(|(number, component)| {
                let (due, batches) = mpsc::channel(WAITING);
                let task = HOST.lanes.spawn(work(component, batches));
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut next = Instant::now() + EVERY * number / NEIGHBOURS as u32;
                    while !is_over.load(Ordering::Relaxed) {
                        std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
                        if Instant::now() < next {
                            continue;
                        }
                        if due.blocking_send(next).is_err() {
                            break;
                        }
                        next += EVERY;
                    }
                });
                task
            })
            .collect();
        beside();
        is_over.store(true, Ordering::Relaxed);
        let took = neighbours.into_iter().map(|task| HOST.io.block_on(task)?);
        let took: Vec<Vec<(Instant, Duration)>> = took.collect::<Result<_>>()?;
        Ok(took.concat())
    })
}

/// Works on a batch whenever one is due, as a lane does, and gives how long after that each was done.
async fn work(
    component: Arc<penstock::sandbox::Component>,
    mut batches: mpsc::Receiver<Instant>,
) -> Result<Vec<(Instant, Duration)>> {
    let opening = crate::density::opening();
    let limits = Limits::default();
    let mut transform = Resting::open(&component, &opening, &limits, "neighbour").await?;
    let columns: [ArrayRef; 1] = [Arc::new(BooleanArray::from_iter(
        (0..ROWS).map(|row| Some(row % 3 == 0)),
    ))];
    let group_of_row = (0..ROWS)
        .map(|row| (row % KEYS) as u32)
        .collect::<Vec<_>>()
        .into();
    let keys: [ArrayRef; 1] = [Arc::new(Int64Array::from_iter_values(0..KEYS as i64))];
    let first = UInt32Array::from(vec![0; KEYS]);
    let initial = transform.spec().initial.columns().iter();
    let initial = initial.map(|column| take(column, &first, None));
    let mut states = initial.collect::<Result<Vec<_>, _>>()?;
    let mut took = Vec::new();
    while let Some(due) = batches.recv().await {
        let rows = Rows {
            columns: &columns,
            group_of_row: &group_of_row,
        };
        let groups = Groups {
            keys: &keys,
            states: &states,
            len: KEYS,
        };
        let updated = transform.accumulate(rows, groups).await?;
        took.push((due, due.elapsed()));
        if updated.changed.is_none() {
            states = updated.states;
        }
    }
    Ok(took)
}
