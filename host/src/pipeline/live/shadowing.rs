//! Another version beside the lanes of this host, on live events: a lane of its own for each of theirs, with the states
//! that they have, and nothing that it writes to.
//!
//! A partition that has lanes at work looks whether a version is to be tried. If so, each lane commits, has its state set
//! aside at that commit (`crate::store::embedded::Aside`), and hands everything that it does from then on to a thread of
//! the trial: that loads the state, taken over by the version's migration if it is of another, and compares what the two
//! lanes emit. States are in memory, as much as `run.state_memory` allows.
//!
//! Whatever goes wrong here ends the trial, with the reason, and nothing else.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::generations::StateShape;
use super::keeper::Keeper;
use super::migrating::{Migrating, Migration};
use super::opening::OpenedLive;
use super::partition::{LaneAtWork, Lanes, Partition};
use crate::clock::Clock;
use crate::config::Limits;
use crate::pipeline::commit::{LaneCommits, Resume};
use crate::pipeline::delivery::ToDelivery;
use crate::pipeline::lane::{Beside, Lane, LaneError, Outlet, ToLane, Trial};
use crate::pipeline::opener::Opener;
use crate::pipeline::plan::Plan;
use crate::pipeline::queue::{Receiver, Sender, queue, queue_of};
use crate::pipeline::shadow::{Comparing, Matching, Report};
use crate::pipeline::spans;
use crate::pipeline::state_room::StateRoom;
use crate::pipeline::telemetry::PipelineTelemetry;
use crate::store::embedded::Aside;
use crate::window::{Codec, Edit, Progress};

/// Bytes, and messages, that may wait for the lane beside another one, and as many of what the other emits.
const WAITING: usize = 32 << 20;
const MESSAGES: usize = 1 << 15;

/// Bytes of what the lane beside emits that may wait.
const EMITTED: usize = 4 << 20;

/// A lane is asked to have its state set aside, and whoever asks waits here.
pub(in crate::pipeline) struct Wanted(oneshot::Sender<Result<Cloned, String>>);

impl Wanted {
    /// Sets aside what a lane was at its last commit.
    pub(super) fn answer(self, keeper: &Keeper) {
        let cloned = keeper.set_aside().map_err(|error| error.to_string());
        // Whoever wanted it may have gone.
        let _ = self.0.send(cloned);
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the state, set aside")
    }
}

/// What a lane was at a commit.
pub(super) struct Cloned {
    pub(super) aside: Aside,
    /// How far its windows had come, and its watermark; none if it had never committed.
    pub(super) come: Option<(Progress, i64)>,
    pub(super) state: Option<StateShape>,
}

/// A version that is tried on this host.
pub(super) struct Shadowing {
    /// The number of the trial.
    pub(super) number: u64,
    opened: OpenedLive,
    fresh: bool,
    pub(super) trial: Arc<Trial>,
    report: Arc<Mutex<Report>>,
    /// What its states may take, in all lanes together.
    room: Arc<StateRoom>,
}

/// What a partition has beside its lanes.
#[derive(Default)]
pub(super) struct BesideLanes {
    shadowing: Option<Arc<Shadowing>>,
    threads: Vec<JoinHandle<()>>,
}

impl Shadowing {
    /// Of a version that was put together and fits.
    pub(super) fn new(number: u64, opened: OpenedLive, fresh: bool) -> Self {
        let room = Limits {
            state_bytes: opened.state_memory,
            ..opened.declaration.limits
        };
        Self {
            number,
            opened,
            fresh,
            trial: Arc::default(),
            report: Arc::default(),
            room: Arc::new(StateRoom::new(&room)),
        }
    }

    /// What was found on this host so far.
    pub(super) fn report(&self) -> Report {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            rows: self.trial.rows.load(Ordering::Relaxed),
            lanes: self.trial.lanes.load(Ordering::Relaxed),
            ..report.clone()
        }
    }

    /// Has the report name what will be compared.
    fn begin(&self, nothing: &Report) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.merge(nothing);
    }

    /// Its plan over the rows that the lanes at work get.
    fn plan(&self, at_work: &OpenedLive) -> Result<Plan, String> {
        let (theirs, ours) = (&at_work.plan, &self.opened.plan);
        if theirs.windows().is_none() || ours.windows().is_none() {
            return Err(
                "a pipeline without windows is not tried on live events; try it with --replay"
                    .to_owned(),
            );
        }
        let plan = Plan {
            room: Arc::clone(&self.room),
            ..Plan::clone(ours)
        };
        if at_work.map.is_some() || self.opened.map.is_some() {
            let is_own = |opened: &OpenedLive| opened.declaration.map.is_none();
            let same = theirs.input == ours.input && theirs.key == ours.key;
            return match !is_own(at_work) && same && spec_columns(theirs) == spec_columns(ours) {
                true => Ok(plan),
                false => Err(
                    "its mapper, or what it wants of one, is another; try it with --replay"
                        .to_owned(),
                ),
            };
        }
        let place = |at: &usize| {
            let name = ours.source.field(*at).name();
            theirs.source.index_of(name).map_err(|_| {
                format!("it wants column `{name}`, which the version at work does not read; try it with --replay")
            })
        };
        let places = |all: &[usize]| {
            all.iter()
                .map(place)
                .collect::<Result<Vec<usize>, String>>()
        };
        Ok(Plan {
            source: Arc::clone(&theirs.source),
            input: places(&ours.input)?,
            key: places(&ours.key)?,
            ..plan
        })
    }
}

fn spec_columns(plan: &Plan) -> Option<&[String]> {
    plan.windows().map(|windows| &windows.spec.columns[..])
}

impl Partition {
    /// Begins to try a version beside the lanes, if one is to be tried, and ends what is to be tried no longer.
    pub(super) fn look_beside(&self, lanes: &mut Lanes) {
        let wanted = self.shared.desk.as_ref().and_then(|desk| desk.shadowing());
        let number = |shadowing: &Option<Arc<Shadowing>>| shadowing.as_ref().map(|it| it.number);
        if number(&wanted) == number(&lanes.beside.shadowing) {
            return;
        }
        lanes.beside.shadowing.clone_from(&wanted);
        let Some(shadowing) = wanted.filter(|wanted| !wanted.trial.is_over()) else {
            return;
        };
        if let Err(reason) = self.begin_beside(lanes, &shadowing) {
            shadowing.trial.fail(reason);
        }
    }

    fn begin_beside(&self, lanes: &mut Lanes, shadowing: &Arc<Shadowing>) -> Result<(), String> {
        let plan = Arc::new(shadowing.plan(&self.shared.opened)?);
        let opener = shadowing.opened.opener.clone().ok_or("it has no windows")?;
        let mut told = Vec::with_capacity(lanes.tasks.len());
        for LaneAtWork { number, .. } in &lanes.tasks {
            let opened = &self.shared.opened;
            let matching = Matching::new(
                (&opened.plan, Arc::clone(&opened.features)),
                (&plan, Arc::clone(&shadowing.opened.features)),
            );
            let (rows, from_lane) = queue_of(WAITING, MESSAGES);
            let (emitted, of_old) = queue_of(WAITING, MESSAGES);
            let (wanted, cloned) = oneshot::channel();
            let work = LaneBeside {
                label: format!("{}/{number}/beside", self.shared.name()),
                number: *number,
                plan: Arc::clone(&plan),
                opener: opener.clone(),
                migration: Migration::of(&shadowing.opened),
                fresh: shadowing.fresh,
                trial: Arc::clone(&shadowing.trial),
                report: Arc::clone(&shadowing.report),
                leave: Arc::clone(&self.flags.leave),
                clock: Arc::clone(&self.shared.clock),
                lanes: self.shared.lanes.clone(),
                io: self.shared.io.clone(),
                digest: shadowing.opened.digest.clone(),
            };
            let matching = matching.map_err(|error| error.to_string())?;
            shadowing.begin(&matching.report());
            let comparing = Comparing {
                matching,
                old: of_old,
            };
            let thread = std::thread::Builder::new().name(format!("beside-{number}"));
            let thread = thread.spawn(move || work.run(cloned, from_lane, comparing));
            let thread = thread.map_err(|error| format!("there is no thread for it: {error}"))?;
            lanes.beside.threads.push(thread);
            told.push(ToLane::Beside(Box::new(Beside {
                trial: Arc::clone(&shadowing.trial),
                rows,
                emitted,
                wanted: Some(Wanted(wanted)),
            })));
        }
        // Lanes that have ended say why themselves.
        let _ = lanes.dealer.tell_each(told.into_iter());
        Ok(())
    }
}

impl BesideLanes {
    /// Waits for the threads, whose lanes have ended.
    pub(super) fn join(self) {
        for thread in self.threads {
            // One that panicked has nothing that anybody waits for.
            let _ = thread.join();
        }
    }
}

/// The lane beside another one.
struct LaneBeside {
    label: String,
    number: u32,
    plan: Arc<Plan>,
    opener: Opener,
    migration: Option<Migration>,
    fresh: bool,
    trial: Arc<Trial>,
    report: Arc<Mutex<Report>>,
    /// Set when the lane at work is to end here.
    leave: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
    lanes: Handle,
    io: Handle,
    digest: String,
}

/// Why a lane beside another one ended.
enum Ended {
    /// The lane at work ended, or the trial did.
    Quietly,
    Because(String),
}

impl<E: fmt::Display> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Because(error.to_string())
    }
}

impl LaneBeside {
    fn run(
        self,
        cloned: oneshot::Receiver<Result<Cloned, String>>,
        from_lane: Receiver<ToLane>,
        comparing: Comparing,
    ) {
        let trial = Arc::clone(&self.trial);
        if let Err(Ended::Because(reason)) = self.work(cloned, from_lane, comparing) {
            trial.fail(reason);
        }
    }

    fn work(
        self,
        cloned: oneshot::Receiver<Result<Cloned, String>>,
        from_lane: Receiver<ToLane>,
        comparing: Comparing,
    ) -> Result<(), Ended> {
        // Without an answer the lane at work has ended.
        let cloned = cloned.blocking_recv().map_err(|_| Ended::Quietly)??;
        let (to_comparison, of_new) = queue(EMITTED);
        let lane = self.begun(&cloned, to_comparison);
        if let Err(error) = self.io.block_on(cloned.aside.forget()) {
            tracing::warn!(lane = self.number, %error, "what was set aside stays until its time is over");
        }
        let lane = lane?;
        let span = spans::lane(&self.label, self.number as usize, &self.digest);
        let task = self
            .lanes
            .spawn(tracing::Instrument::instrument(lane.run(from_lane), span));
        self.trial.lanes.fetch_add(1, Ordering::Relaxed);
        let compared = self.io.block_on(comparing.run(of_new, &self.report));
        self.trial.lanes.fetch_sub(1, Ordering::Relaxed);
        let ended = self.lanes.block_on(task);
        match ended {
            Ok(Ok(()) | Err(LaneError::Closed)) => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err("it panicked, which is a fault of Penstock".into()),
        }
        compared?;
        Ok(())
    }

    /// The lane, with what the other one was.
    fn begun(&self, cloned: &Cloned, delivery: Sender<ToDelivery>) -> Result<Lane, Ended> {
        let instance = self.lanes.block_on(self.opener.instance(&self.label))?;
        let telemetry = PipelineTelemetry::default();
        let out = Outlet {
            lane: 0,
            delivery,
            stop: Arc::clone(&self.leave),
            telemetry: telemetry.lane(0, None, &self.clock),
            beside: None,
        };
        let windows = self.plan.windows().ok_or("it has no windows")?;
        let commits = LaneCommits::new(None, Resume::default(), None);
        let plan = Arc::clone(&self.plan);
        let mut lane = Lane::new(plan, windows, Box::new(instance), commits, out)?;
        if !self.fresh {
            self.load(&mut lane, cloned)?;
        }
        Ok(lane)
    }

    /// Has the lane begin with what the other one was.
    fn load(&self, lane: &mut Lane, cloned: &Cloned) -> Result<(), Ended> {
        let (Some((progress, watermark)), Some(windows)) = (cloned.come, self.plan.windows())
        else {
            return Ok(());
        };
        lane.go_on(progress, watermark);
        let codec = Codec::new(&self.plan.key_schema, &windows.spec.state)?;
        let ours = StateShape::of(&windows.spec);
        let theirs = cloned.state.as_ref().filter(|theirs| **theirs != ours);
        let mut migrating = match (theirs, &self.migration) {
            (Some(theirs), Some(migration)) => Some(migration.start(theirs)?),
            _ => None,
        };
        let mut after: Option<Bytes> = None;
        // Records of a key that may go on with the next page.
        let mut rest: Vec<(Bytes, Bytes)> = Vec::new();
        loop {
            if self.trial.is_over() || self.leave.load(Ordering::Relaxed) {
                return Err(Ended::Quietly);
            }
            let page = cloned.aside.pairs(Codec::FIRST_RECORD, after.as_deref());
            let page = self.io.block_on(page)?;
            let is_last = page.is_empty();
            if let Some((last, _)) = page.last() {
                after = Some(last.clone());
            }
            rest.extend(page);
            let whole = match (is_last, rest.last()) {
                (true, _) | (_, None) => rest.len(),
                (false, Some((last, _))) => {
                    rest.partition_point(|(key, _)| !Codec::is_one_key(key, last))
                }
            };
            let mut pairs: Vec<(Bytes, Bytes)> = rest.drain(..whole).collect();
            if pairs.is_empty() {
                match is_last {
                    true => return Ok(()),
                    false => continue,
                }
            }
            if let Some(migrating) = &mut migrating {
                pairs = taken_over(migrating, pairs)?;
            }
            let encoded = pairs.iter().map(|(key, value)| (&key[..], &value[..]));
            let records = codec.decode(encoded)?;
            self.lanes.block_on(lane.load(&records))?;
        }
    }
}

/// Records with the states that they have in another version. Those without a state stay as they are.
fn taken_over(
    migrating: &mut Migrating,
    pairs: Vec<(Bytes, Bytes)>,
) -> Result<Vec<(Bytes, Bytes)>, Ended> {
    let mut changed: HashMap<Bytes, Bytes> = HashMap::new();
    migrating.records(&pairs, &mut |edit| {
        if let Edit::Put(key, value) = edit {
            changed.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        }
    })?;
    let pairs = pairs.into_iter().map(|(key, value)| {
        let value = changed.remove(&key).unwrap_or(value);
        (key, value)
    });
    Ok(pairs.collect())
}
