//! Hostile guests beside others: how many are contained, and what their neighbours feel.

#[path = "../../hostile/mod.rs"]
mod guests;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::ArrayRef;
use futures::future::BoxFuture;
use penstock::transform::{
    CallError, Figures as Told, Finished, Groups, Merged, Rows, Updated, Windowed,
};

use self::guests::{Neighbours, attacks, survive};
use crate::{Arguments, Figures, support};

/// How long the calls of neighbours took, while they are looked at.
static CALLS: Mutex<Vec<Duration>> = Mutex::new(Vec::new());
static IS_TIMED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether the pipeline that this thread opens is a neighbour's.
    static IS_NEIGHBOUR: RefCell<bool> = const { RefCell::new(false) };
}

pub(crate) fn measure(figures: &mut Figures, arguments: &Arguments) -> anyhow::Result<()> {
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
    neighbours(figures, arguments.rounds)
}

/// What neighbours feel of one that spins, in turns with and without it.
fn neighbours(figures: &mut Figures, rounds: usize) -> anyhow::Result<()> {
    let all = attacks();
    let spinning: Vec<_> = all
        .iter()
        .filter(|attack| attack.name.starts_with("spin_in") && attack.host.is_none())
        .collect();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    // What is done for the first time belongs to neither.
    timed_neighbours(1, || ());
    for _ in 0..rounds.max(1) {
        let (calls, runs) = timed_neighbours(1, || {
            for attack in &spinning {
                let folder = attack.folder();
                // How it ends was looked at before.
                let _ = attack.run(&support::HOST, &folder);
            }
        });
        with.extend(calls);
        without.extend(timed_neighbours(runs, || ()).0);
    }
    println!(
        "{} calls of the neighbours alone, {} beside others",
        without.len(),
        with.len()
    );
    let (with, without) = (p99(with)?, p99(without)?);
    println!(
        "p99 of a call of the neighbours: {without:?} alone, {with:?} beside {} that spin",
        spinning.len()
    );
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    figures.insert("neighbour_p99_ratio".into(), ratio);
    Ok(())
}

/// Runs the neighbours so often at least, and for as long as something beside them takes, and says how long their calls took
/// and how many runs there were.
fn timed_neighbours(least: usize, beside: impl FnOnce() + Send) -> (Vec<Duration>, usize) {
    let mut runs = 0;
    std::thread::scope(|scope| {
        let other = scope.spawn(beside);
        IS_TIMED.store(true, Ordering::Relaxed);
        IS_NEIGHBOUR.set(true);
        while {
            Neighbours::new().run(&support::HOST);
            runs += 1;
            runs < least || !other.is_finished()
        } {}
        IS_NEIGHBOUR.set(false);
        IS_TIMED.store(false, Ordering::Relaxed);
    });
    let calls = std::mem::take(&mut *CALLS.lock().unwrap_or_else(PoisonError::into_inner));
    (calls, runs)
}

fn p99(mut times: Vec<Duration>) -> anyhow::Result<Duration> {
    times.sort_unstable();
    let at = times.len() * 99 / 100;
    times
        .get(at)
        .copied()
        .ok_or_else(|| anyhow::anyhow!("the neighbours made no calls"))
}

/// Notes how long calls take if the pipeline is a neighbour's.
pub(crate) fn timed(transform: Box<dyn Windowed>) -> Box<dyn Windowed> {
    match IS_NEIGHBOUR.with_borrow(|is_neighbour| *is_neighbour) {
        true => Box::new(Timed(transform)),
        false => transform,
    }
}

struct Timed(Box<dyn Windowed>);

impl Windowed for Timed {
    fn figures(&self) -> Told {
        self.0.figures()
    }

    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        Box::pin(async move {
            let began = Instant::now();
            let updated = self.0.accumulate(rows, groups).await;
            if IS_TIMED.load(Ordering::Relaxed) {
                let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
                calls.push(began.elapsed());
            }
            updated
        })
    }

    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Merged, CallError>> {
        self.0.merge(earlier, later)
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        self.0.finish(groups, bounds)
    }
}
