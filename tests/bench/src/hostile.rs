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
use penstock::sandbox::{Component, Limits, Resting};
use penstock::transform::{Groups, Rows, Windowed as _};
use tokio::sync::mpsc;

pub(crate) use self::guests::resident;
use self::guests::{Attack, attacks, survive};
use crate::support::{HOST, transform};
use crate::{Arguments, Figures, Parts};

/// Neighbours whose batches are looked at, the time between two batches of each, and their rows and keys: with two
/// processors, a tenth of what they could do.
const NEIGHBOURS: usize = 2;
const EVERY: Duration = Duration::from_millis(5);
const ROWS: usize = 2_000;
const KEYS: usize = 50;
/// Attacks that are told of, of those beside which most batches took long.
const SHOWN: usize = 8;
/// Batches that may wait; who is so far behind is not sent more.
const WAITING: usize = 1_000;

/// What is measured, and beside which attacks.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) arguments: Arguments,
    #[command(flatten)]
    pub(crate) parts: Parts<Part>,
    /// Tries those attacks alone that have this in their names.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) attack: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// How many idle pipelines fit, and how soon they are open
    Density,
    /// How many attacks are contained
    Attacks,
    /// What others feel of them
    Neighbours,
}

pub(crate) fn measure(
    figures: &mut Figures,
    arguments: &Arguments,
    parts: &Parts<Part>,
    named: &str,
) -> Result<()> {
    let is_wanted = |part| parts.have(part);
    if is_wanted(Part::Density) {
        crate::density::measure(figures, arguments.quick)?;
    }
    let mut attacks = attacks();
    attacks.retain(|attack| attack.name.contains(named));
    if is_wanted(Part::Attacks) {
        contained(figures, &attacks);
    }
    match is_wanted(Part::Neighbours) {
        true => neighbours(figures, &attacks, arguments.rounds),
        false => Ok(()),
    }
}

/// How many attacks end as they have to.
fn contained(figures: &mut Figures, attacks: &[Attack]) {
    let (mut contained, mut escaped) = (0.0, 0.0);
    for attack in attacks {
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
}

/// What neighbours feel of all attacks that share a host with them, one after the other, in turns with and without; and
/// of a pipeline in the attackers' place that means no harm and is busy.
fn neighbours(figures: &mut Figures, attacks: &[Attack], rounds: usize) -> Result<()> {
    let beside: Vec<&Attack> = attacks
        .iter()
        .filter(|attack| attack.host.is_none() && !attack.is_compiled_in_child)
        .collect();
    let (mut with, mut without, mut harmless) = (Vec::new(), Vec::new(), Vec::new());
    // How long batches took that were due while an attack ran.
    let mut beside_each = BTreeMap::<&str, Vec<Duration>>::new();
    // What is done for the first time belongs to neither.
    latencies(|| busy(Duration::from_secs(1)))?;
    for _ in 0..rounds.max(1) {
        let (began, mut ran) = (Instant::now(), Vec::new());
        let felt = latencies(|| {
            for attack in &beside {
                let (folder, began) = (attack.folder(), Instant::now());
                // How it ends was looked at before.
                let _ = attack.run(&HOST, &folder);
                ran.push((attack.name, began, Instant::now()));
            }
            Ok(())
        })?;
        for (name, began, ended) in ran {
            let of = felt.iter().filter(|(due, _)| (began..ended).contains(due));
            beside_each
                .entry(name)
                .or_default()
                .extend(of.map(|(_, took)| *took));
        }
        with.extend(felt.into_iter().map(|(_, took)| took));
        let as_long = began.elapsed();
        let felt = latencies(|| {
            let began = Instant::now();
            while let Some(left) = as_long.checked_sub(began.elapsed()) {
                std::thread::park_timeout(left);
            }
            Ok(())
        })?;
        without.extend(felt.into_iter().map(|(_, took)| took));
        let felt = latencies(|| busy(as_long))?;
        harmless.extend(felt.into_iter().map(|(_, took)| took));
    }
    println!(
        "{} batches of {NEIGHBOURS} neighbours alone, {} beside {} attacks one after the other",
        without.len(),
        with.len(),
        beside.len()
    );
    let usual = part(&mut without, 99)?;
    let late = |took: &[Duration]| took.iter().filter(|took| **took > usual).count();
    let mut beside_each: Vec<(&str, Vec<Duration>)> = beside_each.into_iter().collect();
    beside_each.sort_by_key(|(_, took)| std::cmp::Reverse(late(took)));
    for (name, took) in beside_each.iter().take(SHOWN) {
        let longest = took.iter().max().copied().unwrap_or_default();
        println!(
            "  beside {name}: {} of {} later than 99 of 100 alone, the longest {longest:?}",
            late(took),
            took.len()
        );
    }
    for (percent, name) in [(50, "half"), (99, "99 of 100"), (100, "all")] {
        let (with, without) = (part(&mut with, percent)?, part(&mut without, percent)?);
        let harmless = part(&mut harmless, percent)?;
        println!(
            "  {name} within {without:?} alone, {with:?} beside them, {harmless:?} beside one that is busy"
        );
        if percent == 99 {
            let ratio = |to: Duration| with.as_secs_f64() / to.as_secs_f64();
            figures.insert("neighbour_p99_ratio".into(), ratio(without));
            figures.insert("neighbour_p99_over_busy".into(), ratio(harmless));
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
fn latencies(beside: impl FnOnce() -> Result<()>) -> Result<Vec<(Instant, Duration)>> {
    let is_over = AtomicBool::new(false);
    // Before anybody is handed batches: whoever does that goes on until it is over.
    let components = (0..NEIGHBOURS).map(|_| well_behaved());
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
        let ended = beside();
        is_over.store(true, Ordering::Relaxed);
        let took = neighbours.into_iter().map(|task| HOST.io.block_on(task)?);
        let took: Vec<Vec<(Instant, Duration)>> = took.collect::<Result<_>>()?;
        ended?;
        Ok(took.concat())
    })
}

fn well_behaved() -> Result<Arc<Component>> {
    let path = transform("driver_accept_proportion");
    Ok(Arc::new(HOST.sandbox.load_file(&path)?))
}

/// Is a pipeline that always has a batch to work on, for so long.
fn busy(as_long: Duration) -> Result<()> {
    let (due, batches) = mpsc::channel(WAITING);
    let task = HOST.lanes.spawn(work(well_behaved()?, batches));
    let began = Instant::now();
    while began.elapsed() < as_long && due.blocking_send(Instant::now()).is_ok() {}
    drop(due);
    HOST.io.block_on(task)??;
    Ok(())
}

/// Works on a batch whenever one is due, as a lane does, and gives how long after that each was done.
async fn work(
    component: Arc<Component>,
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
