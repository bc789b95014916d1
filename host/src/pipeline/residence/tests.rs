//! Windows of which keys come and go tell what those tell that have all keys, in the same order,
//! also when they are interrupted.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::FutureExt;
use futures::future::BoxFuture;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::super::plan::WindowPlan;
use super::{Kept, KeptChanges, Residence};
use crate::store::FeatureStore;
use crate::store::embedded::{EmbeddedStore, LaneState, PipelineLanes};
use crate::window::tests::offered::{Offered, offered};
use crate::window::{Calls, Codec, Edit, Emission, Emit, Outcome, Progress, WindowError, Windows};

/// What is done between batches, over and over: bits of chance.
const COMMIT: u8 = 1;
const RESTART: u8 = 2;
/// The process ends when a commit is durable, and the lane has not gone on.
const AT_COMMIT: u8 = 4;
/// It ends before the commit that would come next.
const BEFORE_COMMIT: u8 = 8;

#[derive(Default)]
struct Collected(Vec<Emission>);

impl Emit for Collected {
    fn emit(&mut self, emission: Emission) -> BoxFuture<'_, Result<(), WindowError>> {
        self.0.push(emission);
        async { Ok(()) }.boxed()
    }
}

/// What windows told.
#[derive(Debug, Clone, Default, PartialEq)]
struct Told {
    applied: u64,
    late: usize,
    rejected: usize,
    closed: u64,
}

impl Told {
    fn add(&mut self, outcome: &Outcome) {
        self.applied += outcome.applied;
        self.late += outcome.late.len();
        self.rejected += outcome.rejects.len();
        self.closed += outcome.closed;
    }
}

/// How far a commit went.
#[derive(Clone, Default)]
struct Committed {
    next: usize,
    progress: Option<Progress>,
    journal: u64,
    emissions: usize,
    told: Told,
}

fn calls(offered: &Offered) -> Calls {
    Calls::new(offered.transform(), 1 << 20, 1 << 10)
}

fn windows(offered: &Offered) -> Windows {
    Windows::new(&offered.shape, &offered.key(), &Offered::spec()).unwrap()
}

/// All keys at once.
async fn plain(offered: &Offered) -> (Vec<String>, Told) {
    let (mut windows, mut calls) = (windows(offered), calls(offered));
    let (mut out, mut told) = (Collected::default(), Told::default());
    for batch in offered.batches() {
        told.add(&windows.batch(&batch, &mut calls, &mut out).await.unwrap());
    }
    told.closed += windows.end(&mut calls, &mut out).await.unwrap();
    (offered.told(&out.0), told)
}

/// A lane at work.
struct Lane<'a> {
    offered: &'a Offered,
    state: LaneState,
    io: &'a Runtime,
    memory: usize,
    codec: Codec,
    applied: watch::Sender<u64>,
    windows: Windows,
    residence: Residence,
    calls: Calls,
}

impl<'a> Lane<'a> {
    async fn start(
        offered: &'a Offered,
        state: LaneState,
        io: &'a Runtime,
        memory: usize,
        from: &Committed,
    ) -> Self {
        let spec = Offered::spec();
        let (applied, commits) = watch::channel(0);
        let plan = WindowPlan {
            spec: spec.clone(),
            shape: offered.shape.clone(),
            lengths: Vec::new(),
        };
        let kept = Kept {
            state: state.clone(),
            applied: commits,
            io: io.handle().clone(),
            memory,
            unfinished: None,
        };
        let mut calls = calls(offered);
        let key: SchemaRef = offered.key();
        let mut lane = Self {
            offered,
            state,
            io,
            memory,
            codec: Codec::new(&key, &spec.state).unwrap(),
            applied,
            windows: windows(offered),
            residence: Residence::new(&plan, &key, kept, &mut calls).unwrap(),
            calls,
        };
        let started = lane
            .residence
            .start(&mut lane.windows, from.progress, from.journal);
        started.await.unwrap();
        lane
    }

    async fn again(self, from: &Committed) -> Self {
        Self::start(self.offered, self.state, self.io, self.memory, from).await
    }
}

/// As commits do it.
async fn apply(lane: (&Codec, &LaneState, &watch::Sender<u64>), io: &Runtime, kept: &KeptChanges) {
    let (codec, state, applied) = lane;
    let mut batch = state.batch();
    let mut change = |edit: Edit<'_>| match edit {
        Edit::Put(key, value) => batch.put(key, value),
        Edit::Remove(key) => batch.remove(key),
    };
    codec.encode(&kept.changes, &mut change).unwrap();
    for schedule in &kept.schedules {
        codec.encode_schedule(schedule, &mut change).unwrap();
    }
    let state = state.clone();
    let written = io.spawn(async move { state.apply(batch).await });
    written.await.unwrap().unwrap();
    applied.send_modify(|commits| *commits += 1);
}

/// Keys come and go, and the process ends now and then.
async fn disturbed(
    offered: &Offered,
    state: &LaneState,
    io: &Runtime,
    memory: usize,
    steps: &[u8],
) -> (Vec<String>, Told) {
    let batches = offered.batches();
    let mut committed = Committed::default();
    let mut lane = Lane::start(offered, state.clone(), io, memory, &committed).await;
    let (mut out, mut told) = (Collected::default(), Told::default());
    let mut next = 0;
    let mut steps = steps.iter().chain(std::iter::repeat(&0));
    while next < batches.len() {
        let step = steps.next().expect("zeros go on");
        let Lane {
            windows,
            residence,
            calls,
            ..
        } = &mut lane;
        let batch = residence.batch(windows, &batches[next], calls, &mut out, true);
        told.add(&batch.await.unwrap());
        next += 1;
        let dies = step & BEFORE_COMMIT != 0 && committed.progress.is_some();
        let mut restarts = dies || step & RESTART != 0;
        if !dies && (residence.must_commit(windows) || step & COMMIT != 0) {
            let kept = residence.changes(windows, calls).unwrap();
            apply((&lane.codec, &lane.state, &lane.applied), io, &kept).await;
            committed = Committed {
                next,
                progress: Some(kept.changes.progress),
                journal: kept.journal,
                emissions: out.0.len(),
                told: told.clone(),
            };
            restarts |= step & AT_COMMIT != 0;
            if !restarts {
                lane.residence.committed().await.unwrap();
            }
        }
        // Before the first commit everything begins anew, with nothing in the database.
        if restarts && committed.progress.is_some() {
            lane = lane.again(&committed).await;
            out.0.truncate(committed.emissions);
            told = committed.told.clone();
            next = committed.next;
        }
    }
    let end = lane
        .residence
        .end(&mut lane.windows, &mut lane.calls, &mut out);
    told.closed += end.await.unwrap();
    (offered.told(&out.0), told)
}

async fn clear(state: &LaneState) {
    loop {
        let pairs = state.pairs(&[], None).await.unwrap();
        if pairs.is_empty() {
            return;
        }
        let mut batch = state.batch();
        pairs.iter().for_each(|(key, _)| batch.remove(key));
        state.apply(batch).await.unwrap();
    }
}

/// `PENSTOCK_CASES` multiplies the number of cases.
#[test]
fn keys_that_come_and_go_do_not_show() {
    let times = std::env::var("PENSTOCK_CASES").map_or(1, |times| times.parse::<u32>().unwrap());
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lanes = PipelineLanes {
        pipeline: "p".into(),
        lanes: 1,
    };
    let store = io.block_on(EmbeddedStore::open(folder.path(), &[lanes]));
    let store = Arc::new(store.unwrap());
    let state = store.state("p", 0).unwrap();
    let memory = prop_oneof![3 => 0..3_000_usize, 2 => 3_000..30_000_usize, 1 => Just(1 << 20)];
    let steps = prop::collection::vec(0..16_u8, 0..40);
    let mut runner = TestRunner::new(Config {
        max_shrink_iters: 500,
        failure_persistence: None,
        ..Config::with_cases(300 * times)
    });
    let ran = runner.run(&(offered(), memory, steps), |(offered, memory, steps)| {
        let (expected, all) = io.block_on(plain(&offered));
        io.block_on(clear(&state));
        let disturbed = disturbed(&offered, &state, &io, memory, &steps);
        let (told, counted) = io.block_on(disturbed);
        prop_assert_eq!(expected, told);
        prop_assert_eq!(all, counted);
        Ok(())
    });
    ran.unwrap();
    io.block_on(store.close()).unwrap();
}
