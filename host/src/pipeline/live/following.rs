//! What generation is wanted, and is it fit? One thread a pipeline looks every so often, and prepares what it finds.
//!
//! To prepare is to do everything that can fail before any lane hears of it: the component is fetched by its digest and
//! compiled, the pipeline is put together with it as at a start, and what it says of itself is held against what runs.
//! What does not fit is refused in the ledger, with the reason, and nothing changes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::generations::StateShape;
use super::keeper::host_name;
use super::migrating::{Migration, MigrationError, try_on_lanes};
use super::opening::{OpenedLive, open};
use super::run::LiveError;
use super::steps;
use super::switching::{Change, Desk};
use super::watching::Watched;
use crate::config::{ComponentPlace, Environment, HeldComponent, Pipeline, VersionedName};
use crate::pipeline::limits;
use crate::pipeline::loading::bytes_at;
use crate::pipeline::swap::{Asked, Fate, Generation, Ledger, Note, Running, SwapError, Swaps};
use crate::pipeline::telemetry::PipelineTelemetry;
use crate::pipeline::wiring::{Host, WiringError};
use crate::registry::{Registry, digest};
use crate::store::embedded::EmbeddedStore;

/// How long it may go unnoticed that somebody is in a hurry, or that everything is over.
const GLANCE: Duration = Duration::from_millis(20);

/// How often preparing may fail because of the machine or the network before the generation is refused.
const TRIES: u32 = 5;

/// How long a host waits at most until it tries a generation again that is not refused.
const LONGEST: Duration = Duration::from_secs(60);

/// Why a generation is not taken on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// It cannot be put together.
    #[error("{0}")]
    Wiring(#[from] WiringError),
    /// Its component is not to be had.
    #[error("{0}")]
    Swap(#[from] SwapError),
    /// Its states are others.
    #[error(
        "its states have version {now}, and there are states of version {before}, which it does not take over; `--fresh` begins anew without them"
    )]
    State {
        /// What there is.
        before: u32,
        /// What it has.
        now: u32,
    },
    /// Its states have the same version and other columns.
    #[error(
        "its states have other columns than those that there are, and the same version {0}: raise `state_version` whenever the state changes"
    )]
    Columns(u32),
    /// It fails on states that there are.
    #[error("it takes over the states that there are, and fails on those of lane {lane}: {error}")]
    Migration {
        /// The lane.
        lane: u32,
        /// Why.
        error: MigrationError,
    },
    /// It cannot be known who has made it.
    #[error(
        "it is not from the registry, and the environment requires signatures: push it with `penstock push FILE NAME@VERSION --sign KEY`, and swap to that"
    )]
    Unsigned,
    /// The registry has something else under its name.
    #[error("the registry says that {name} is {found}, and {digest} was asked for")]
    Other {
        /// Its name.
        name: VersionedName,
        /// What the registry says.
        found: String,
        /// What was asked for.
        digest: String,
    },
}

impl Unfit {
    /// Whether the same may work another time.
    pub(super) fn is_of_the_system(&self) -> bool {
        match self {
            Self::Wiring(error) => error.is_of_the_system(),
            Self::Swap(error) => !error.is_bad_input(),
            Self::Migration { error, .. } => !error.is_of_the_transform(),
            _ => false,
        }
    }
}

/// Puts a pipeline that is to be started together with the generation that is wanted, which may be another one than its
/// file says.
pub(super) fn begin(
    host: &Host,
    opened: OpenedLive,
    store: &Arc<EmbeddedStore>,
) -> Result<(OpenedLive, Running, Arc<Desk>), LiveError> {
    let pipeline = opened.plan.pipeline.clone();
    let failed = |error: String, is_bad_input: bool| LiveError::Generation {
        pipeline: pipeline.clone(),
        error,
        is_bad_input,
    };
    let swaps = Swaps::new(Arc::clone(store), &pipeline);
    let place = &opened.declaration.transform;
    let limits = limits::of(&opened.declaration.limits);
    let bytes = bytes_at(host, &opened.environment, place, &limits)
        .map_err(|it| failed(it.to_string(), !it.is_of_the_system()))?;
    if digest(&bytes) != opened.digest {
        let reason = format!("{} was changed while it was started", place.value);
        return Err(failed(reason, true));
    }
    let asked = Asked {
        component: place.to_string(),
        digest: opened.digest.clone(),
        at: host.clock.unix(),
        fresh: false,
    };
    let ledger = host.io.block_on(swaps.start(asked, Bytes::from(bytes)));
    let mut ledger = ledger.map_err(|error| failed(error.to_string(), error.is_bad_input()))?;
    let spec = opened.declaration.swap;
    let desk = Arc::new(Desk::new(swaps));
    desk.vouch(&opened.digest);
    let (mut declaration, environment) = (opened.declaration.clone(), opened.environment.clone());
    let (fresh, telemetry) = (opened.fresh, Arc::clone(&opened.telemetry));
    hold_mapper(host, &environment, &mut declaration)
        .map_err(|error| failed(error.to_string(), !error.is_of_the_system()))?;
    let mut opened = Some(opened);
    loop {
        let wanted = ledger.wanted().clone();
        let found = match opened.take_if(|it| it.digest == wanted.digest) {
            Some(opened) => Ok(opened),
            None => put_wanted_together(host, &desk, &declaration, &environment, &ledger),
        };
        let is_new =
            wanted.fate == Fate::Wanted && wanted.from.is_some() && !wanted.fresh && !fresh;
        let found = found.and_then(|opened| {
            if is_new {
                takes_over(host, &opened, None)?;
            }
            Ok(opened)
        });
        let found = found.and_then(|opened| {
            host.io.block_on(desk.swaps.begins(wanted.number))?;
            Ok(opened)
        });
        match found {
            // Another host was faster.
            Err(Unfit::Swap(error)) if error.is_overtaken() => {
                let read = host.io.block_on(desk.swaps.read());
                let read = read.map_err(|error| failed(error.to_string(), error.is_bad_input()))?;
                ledger = read.expect("nobody takes one away");
            }
            Ok(mut opened) => {
                opened.fresh = fresh;
                opened.telemetry = telemetry;
                see_way_back(host, &desk, &declaration, &environment, &ledger);
                // What its file says, whatever is at work now: others are put together with that.
                opened.declaration = declaration;
                let running = Running::of(&ledger, opened.identity(), spec);
                opened.put_on_probation(running.probation.clone());
                desk.set_undone(running.undone.clone());
                return Ok((opened, running, desk));
            }
            // What no host has had at work is refused, and the one before it goes on.
            Err(unfit) if wanted.fate == Fate::Wanted && !unfit.is_of_the_system() => {
                let back = desk.swaps.refuse(wanted.number, unfit.to_string(), false);
                let back = host.io.block_on(back);
                (_, ledger) = back.map_err(|_| failed(unfit.to_string(), true))?;
                tracing::error!(pipeline, generation = wanted.number, error = %unfit, "the generation is refused");
            }
            Err(unfit) => {
                return Err(failed(unfit.to_string(), !unfit.is_of_the_system()));
            }
        }
    }
}

/// What a follower must know of the generation at work.
pub(super) struct Follower {
    pub(super) desk: Arc<Desk>,
    pub(super) declaration: Pipeline,
    pub(super) environment: Environment,
    /// The generation at work, or the one that was handed over last.
    pub(super) have: u64,
    pub(super) state: Option<StateShape>,
    /// What the pipeline tells, whichever generation it is.
    telemetry: Arc<PipelineTelemetry>,
    tries: Tries,
    /// What is tried beside it, and what was said of that last.
    pub(super) watched: Watched,
}

/// How often a generation could not be prepared.
#[derive(Debug, Default)]
struct Tries {
    /// Its number.
    of: u64,
    made: u32,
    /// Before that it is not tried again.
    next: Duration,
    /// Whether the history says so.
    is_noted: bool,
}

impl Follower {
    /// Follows a pipeline that is about to start.
    pub(super) fn of(opened: &OpenedLive, running: &Running, desk: &Arc<Desk>) -> Self {
        Self {
            desk: Arc::clone(desk),
            declaration: opened.declaration.clone(),
            environment: opened.environment.clone(),
            have: running.number,
            state: state_of(opened),
            telemetry: Arc::clone(&opened.telemetry),
            tries: Tries::default(),
            watched: Watched::default(),
        }
    }

    /// Looks until everything is over.
    pub(super) fn follow(mut self, host: &Host, over: &AtomicBool) {
        let every = self.declaration.swap.look_every;
        while !over.load(Ordering::Relaxed) {
            let until = host.clock.now().saturating_add(every);
            while host.clock.now() < until
                && !self.desk.is_hurried()
                && !over.load(Ordering::Relaxed)
            {
                let glance = host.clock.now().saturating_add(GLANCE);
                host.clock.wait(glance.min(until), over);
            }
            if over.load(Ordering::Relaxed) {
                return;
            }
            self.look(host);
        }
    }

    fn look(&mut self, host: &Host) {
        let pipeline = self.declaration.name.value.clone();
        let pipeline = pipeline.as_str();
        let ledger = match host.io.block_on(self.desk.swaps.read()) {
            Ok(Some(ledger)) => ledger,
            Ok(None) => return,
            // What runs goes on. It is seen when the store answers again.
            Err(error) => {
                tracing::warn!(pipeline, %error, "cannot look which generation is wanted");
                return;
            }
        };
        self.desk.set_undone(ledger.undone());
        self.watch(host, &ledger);
        let wanted = ledger.wanted().clone();
        if wanted.number == self.have {
            return;
        }
        if wanted.number != self.tries.of {
            self.tries = Tries {
                of: wanted.number,
                ..Tries::default()
            };
        }
        if host.clock.now() < self.tries.next {
            return;
        }
        tracing::info!(
            pipeline,
            generation = wanted.number,
            component = wanted.component,
            "another generation is wanted"
        );
        let prepared = self.prepare(host, &ledger, &wanted).and_then(|change| {
            match host.io.block_on(self.desk.swaps.begins(wanted.number)) {
                Ok(()) => Ok(Some(change)),
                // It is looked at another time.
                Err(error) if error.is_overtaken() => Ok(None),
                Err(error) => Err(error.into()),
            }
        });
        match prepared {
            Ok(None) => self.tries = Tries::default(),
            Ok(Some(change)) => {
                self.have = wanted.number;
                self.tries = Tries::default();
                self.state = state_of(&change.opened);
                self.desk.hand(change);
            }
            Err(unfit) => self.cannot(host, &wanted, &unfit),
        }
    }

    /// A generation cannot be prepared. It is refused, if it is to blame, or if nobody has it at work after some tries. If
    /// not, this host alone says so, and goes on trying.
    fn cannot(&mut self, host: &Host, wanted: &Generation, unfit: &Unfit) {
        let pipeline = self.declaration.name.value.as_str();
        let generation = wanted.number;
        let is_of_the_system = unfit.is_of_the_system();
        self.tries.made += 1;
        if is_of_the_system && self.tries.made <= TRIES {
            tracing::warn!(pipeline, generation, error = %unfit, "cannot prepare it yet");
            return;
        }
        // Behind one that was gone back to there is none.
        if wanted.from.is_some() {
            let swaps = &self.desk.swaps;
            let refused = swaps.refuse(generation, unfit.to_string(), is_of_the_system);
            match host.io.block_on(refused) {
                Ok(_) => {
                    tracing::error!(pipeline, generation, error = %unfit, "the generation is refused");
                    return;
                }
                Err(error) if error.is_at_work_elsewhere() => {}
                Err(error) => {
                    tracing::error!(pipeline, generation, %error, "the generation cannot be refused");
                    return;
                }
            }
        }
        tracing::error!(pipeline, generation, error = %unfit, "this host cannot take the generation on, and tries on");
        let more = self.tries.made.saturating_sub(TRIES).min(16);
        let wait = self.declaration.swap.look_every * (1 << more);
        self.tries.next = host.clock.now().saturating_add(wait.min(LONGEST));
        if !std::mem::replace(&mut self.tries.is_noted, true) {
            let text = format!(
                "host {} cannot take it on, and tries on: {unfit}",
                host_name()
            );
            note(host, &self.desk, pipeline, generation, text);
        }
    }

    fn prepare(&self, host: &Host, ledger: &Ledger, wanted: &Generation) -> Result<Change, Unfit> {
        let (declaration, environment) = (&self.declaration, &self.environment);
        let mut opened = put_wanted_together(host, &self.desk, declaration, environment, ledger)?;
        // Of one that is gone back to the states are what they were.
        let is_back = wanted.number < self.have;
        if !is_back && !wanted.fresh && self.state != state_of(&opened) {
            takes_over(host, &opened, self.state.as_ref())?;
        }
        opened.telemetry = Arc::clone(&self.telemetry);
        let running = Running::of(ledger, opened.identity(), self.declaration.swap);
        opened.put_on_probation(running.probation.clone());
        steps::done("prepared");
        Ok(Change { opened, running })
    }
}

/// Whether a pipeline that was put together can go on with the states that there are: those which this host has at work,
/// if it has any, and those that lanes have left.
pub(super) fn takes_over(
    host: &Host,
    opened: &OpenedLive,
    ours: Option<&StateShape>,
) -> Result<(), Unfit> {
    if let (Some(ours), Some(migration)) = (ours, Migration::of(opened)) {
        migration.fits(ours)?;
    }
    let reader = host.io.block_on(EmbeddedStore::open_reader(&opened.store));
    let reader = reader.map_err(SwapError::from)?;
    let tried = try_on_lanes(host.io.handle(), &reader, opened);
    host.io.block_on(reader.close());
    tried
}

pub(super) fn state_of(opened: &OpenedLive) -> Option<StateShape> {
    let windows = opened.plan.windows();
    windows.map(|windows| StateShape::of(&windows.spec))
}

/// Puts the pipeline together with the wanted generation of a ledger.
///
/// One that was gone back to may know nothing of features that its file declares since. It goes without them, and that is
/// noted: what was taken back must stop, and values that nobody computes are only not written.
fn put_wanted_together(
    host: &Host,
    desk: &Desk,
    declaration: &Pipeline,
    environment: &Environment,
    ledger: &Ledger,
) -> Result<OpenedLive, Unfit> {
    let wanted = ledger.wanted();
    let put = |declaration: &Pipeline| put_together(host, desk, declaration, environment, wanted);
    let put_whole = put(declaration);
    let lacking = match (&put_whole, ledger.gone_back_from()) {
        (Err(Unfit::Wiring(error)), Some(revoked)) if !error.uncomputed().is_empty() => {
            Some((error.uncomputed(), revoked.number))
        }
        _ => None,
    };
    let Some((features, revoked)) = lacking else {
        return put_whole;
    };
    let mut less = declaration.clone();
    (less.features).retain(|it| !features.contains(&it.declaration.to_string()));
    let opened = put(&less)?;
    let text = format!(
        "after generation {revoked} was taken back: it does not compute {}, which the pipeline's file declares; they stay declared, and are not written until a version is at work that computes them",
        features.join(", ")
    );
    let pipeline = declaration.name.value.as_str();
    tracing::warn!(pipeline, generation = wanted.number, "{text}");
    note(host, desk, pipeline, wanted.number, text);
    Ok(opened)
}

/// Notes something about a generation, once.
fn note(host: &Host, desk: &Desk, pipeline: &str, generation: u64, text: String) {
    let at = host.clock.unix();
    let noted = desk.swaps.note_once(generation, Note { at, text });
    if let Err(error) = host.io.block_on(noted) {
        tracing::warn!(pipeline, %error, "the history of generations lacks a note");
    }
}

/// Sees to it that the way back from the wanted generation needs no registry: the signature of the one before is looked at
/// now, where signatures are required.
fn see_way_back(
    host: &Host,
    desk: &Desk,
    declaration: &Pipeline,
    environment: &Environment,
    ledger: &Ledger,
) {
    let before = ledger.wanted().from.and_then(|from| ledger.find(from));
    let Some(before) = before.filter(|_| environment.registry.trust.required) else {
        return;
    };
    if let Err(error) = check_signature(host, desk, declaration, environment, before) {
        let (pipeline, generation) = (declaration.name.value.as_str(), before.number);
        tracing::warn!(pipeline, generation, %error, "it could not be gone back to now");
    }
}

/// Has a mapper from the registry be what it is now, so that no generation after this one needs the registry for it.
fn hold_mapper(
    host: &Host,
    environment: &Environment,
    declaration: &mut Pipeline,
) -> Result<(), WiringError> {
    let Some(map) = &mut declaration.map else {
        return Ok(());
    };
    let place = &mut map.transform.value;
    if let ComponentPlace::Registered(name) = place {
        let from = name.to_string();
        let limits = limits::of(&declaration.limits);
        let bytes = bytes_at(host, environment, place, &limits)?.into();
        *place = ComponentPlace::Held(HeldComponent { from, bytes });
    }
    Ok(())
}

/// Puts the pipeline together with a generation's component in the place of its own.
pub(super) fn put_together(
    host: &Host,
    desk: &Desk,
    declaration: &Pipeline,
    environment: &Environment,
    wanted: &Generation,
) -> Result<OpenedLive, Unfit> {
    if environment.registry.trust.required {
        check_signature(host, desk, declaration, environment, wanted)?;
    }
    let held = host.io.block_on(desk.swaps.component(wanted))?;
    let mut declaration = declaration.clone();
    declaration.transform.value = ComponentPlace::Held(held);
    Ok(open(host, declaration, environment)?)
}

/// The store is as little trusted as any other place, so the signature is asked for where signatures are. What this
/// host's own file names by its path needs none: whoever can write that can do anything here. Nor does what this process
/// has had at work: it was looked at then.
fn check_signature(
    host: &Host,
    desk: &Desk,
    declaration: &Pipeline,
    environment: &Environment,
    wanted: &Generation,
) -> Result<(), Unfit> {
    if desk.is_vouched(&wanted.digest) {
        return Ok(());
    }
    let is_own = |file: &Path| std::fs::read(file).is_ok_and(|it| digest(&it) == wanted.digest);
    if declaration.transform.file().is_some_and(is_own) {
        desk.vouch(&wanted.digest);
        return Ok(());
    }
    let name = VersionedName::parse(&wanted.component).map_err(|_| Unfit::Unsigned)?;
    let registry = Registry::open(&environment.registry).map_err(WiringError::from)?;
    let version = host.io.block_on(registry.resolve(&name));
    let version = version.map_err(WiringError::from)?;
    match version.digest == wanted.digest {
        true => {
            desk.vouch(&wanted.digest);
            Ok(())
        }
        false => Err(Unfit::Other {
            name,
            found: version.digest,
            digest: wanted.digest.clone(),
        }),
    }
}
