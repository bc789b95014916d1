//! `penstock swap`, `rollback`, `history` and `status`: which version of its transform a pipeline runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::registry::{name, read, runtime};
use super::show::{self, say};
use super::trying::{Trying, print, print_shadow};
use super::{Failure, logs, served};
use crate::clock::{Clock, SystemClock};
use crate::config::{
    ComponentPlace, DEFAULT_ENVIRONMENT, Environment, parse_duration, print_duration,
};
use crate::pipeline::kept::KeptLane;
use crate::pipeline::swap::{Fate, Ledger, Operator, OperatorError, ToTry, live};
use bytes::Bytes;

/// How often it is looked what hosts have done.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which pipeline, and where its store is.
#[derive(Debug, clap::Args)]
pub(super) struct Of {
    /// The pipeline's name.
    pub(super) pipeline: String,
    /// The environment whose store the pipeline has.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    pub(super) env: String,
    /// Where to look for penstock.toml: there or in a folder above.
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub(super) project: PathBuf,
    /// Print what there is to say as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Has a running pipeline go over to another version of its transform, without stopping it.
///
/// Every host that runs the pipeline fetches the component, compiles it, opens it and checks it against what runs; then
/// each lane goes over between two commits. What does not fit is refused, and nothing changes. A version that fails
/// within the pipeline's `swap.probation` is taken back by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock swap rides driver@1.3.0 --env production
  penstock swap rides target/transforms/driver.wasm
  penstock swap rides driver@2.0.0 --fresh        # its states are others: begin anew, with the event's history
  penstock swap rides driver@1.3.0 --replay 'data/*.ndjson'       # what would differ? Nothing is swapped
  penstock swap rides driver@1.3.0 --replay 'data/*.ndjson' --promote-if 'different < 0.1%'
  penstock swap rides driver@1.3.0 --shadow --for 10m --promote-if 'different < 0.1%' --at-least 100000
  penstock swap rides --drop-shadow

Exit code 0: a host has it at work, or is not waited for. 1: what --promote-if asks for does not hold; or --wait is over and
no host has said anything, and it stays wanted. 2: it was refused, or it is what runs already. `penstock rollback` takes it back.")]
pub(super) struct SwapArguments {
    #[command(flatten)]
    of: Of,
    /// A version in the environment's registry, or a file.
    #[arg(
        value_name = "NAME@VERSION|FILE",
        required_unless_present = "drop_shadow"
    )]
    component: Option<String>,
    /// End what is tried on live events; the version at work stays.
    #[arg(long, conflicts_with_all = ["component", "shadow", "replay"])]
    drop_shadow: bool,
    /// Take nothing over: lanes forget their state and begin anew, as after `penstock run --fresh`. Features that are
    /// served stay until they are written again.
    #[arg(long)]
    fresh: bool,
    /// How long to wait for a host to say that it has it at work; "0s" not to wait.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    wait: String,
    #[command(flatten)]
    trying: Trying,
}

/// Takes the last swap of a pipeline back: code, state and what was served.
///
/// Each lane is put back as it was when it went over, and reads on from there: what it wrote since is withdrawn, or
/// written again by the generation before. That needs the stream to hold what it has read since, or it is refused. There is
/// one way back, to the generation before.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  penstock rollback rides --env production")]
pub(super) struct RollbackArguments {
    #[command(flatten)]
    of: Of,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "by an operator")]
    reason: String,
    /// Go back also if the topic no longer holds what has to be read again.
    #[arg(long)]
    anyway: bool,
}

/// Shows the generations of a pipeline's transform: what each was, when it was asked for, and what became of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock history rides --json
  penstock history rides --served 3 > served.ndjson    # what generation 3 had served, after a rollback")]
pub(super) struct HistoryArguments {
    #[command(flatten)]
    of: Of,
    /// Print what this generation had served last when it was taken back, as lines of JSON: for each entity and window the
    /// features with their values. Known until the next rollback.
    #[arg(long, value_name = "GENERATION")]
    served: Option<u64>,
}

/// Shows which generation a pipeline is to run, and host by host which one each lane has committed last: since when, how
/// often its transform failed there, and how long batches take.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  penstock status rides --env production")]
pub(super) struct StatusArguments {
    #[command(flatten)]
    of: Of,
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        match error.is_bad_input() {
            true => Self::input(error),
            false => Self::work(error),
        }
    }
}

/// A pipeline's generations, opened.
struct Opened {
    io: tokio::runtime::Runtime,
    operator: Operator,
    clock: Arc<SystemClock>,
}

impl Opened {
    fn of(of: &Of) -> Result<Self, Failure> {
        let environment = Environment::find_and_load(&of.project, &of.env);
        let environment = environment.map_err(Failure::input)?;
        let (io, clock) = (runtime()?, Arc::new(SystemClock::start()));
        let shared = Arc::clone(&clock) as Arc<dyn Clock>;
        let operator = io.block_on(Operator::open(&environment, &of.pipeline, shared))?;
        Ok(Self {
            io,
            operator,
            clock,
        })
    }

    fn ledger(&self) -> Result<Ledger, Failure> {
        Ok(self.io.block_on(self.operator.ledger())?)
    }

    fn ask(&self, component: &str, fresh: bool) -> Result<(u64, Ledger), Failure> {
        let asked = match ComponentPlace::is_registered(component) {
            true => {
                let name = name(component)?;
                self.io.block_on(self.operator.ask(&name, fresh))
            }
            false => {
                let bytes = Bytes::from(read(Path::new(component))?);
                let asked = self.operator.ask_for_file(component, bytes, fresh);
                self.io.block_on(asked)
            }
        };
        Ok(asked?)
    }
}

pub(super) fn swap(arguments: &SwapArguments) -> Result<(), Failure> {
    let trying = &arguments.trying;
    let Some(component) = &arguments.component else {
        return drop_shadow(&arguments.of);
    };
    if let Some(how) = trying.on_live_events()? {
        return try_beside(&arguments.of, component, arguments.fresh, &how);
    }
    let report = match trying.is_replay() {
        true => Some(trying.replay(&arguments.of, component)?),
        false => None,
    };
    if let Some(report) = &report
        && !trying.judge(report, arguments.of.json)?
    {
        return Ok(());
    }
    let wait = parse_duration(&arguments.wait)
        .map_err(|error| Failure::input(format!("--wait {}: {error}", arguments.wait)))?;
    let opened = Opened::of(&arguments.of)?;
    let (number, ledger) = opened.ask(component, arguments.fresh)?;
    let patience = Duration::from_micros(wait.unsigned_abs());
    let ledger = settled(&opened, ledger, number, patience)?;
    let Some(generation) = ledger.find(number) else {
        return Ok(());
    };
    if let Some(reason) = generation.fate.reason() {
        let fate = generation.fate.name();
        let said = format!("generation {number} was {fate}: {reason}");
        return Err(Failure::Input(said));
    }
    let is_at_work = generation.fate != Fate::Wanted;
    match arguments.of.json {
        true => {
            let mut shown = ledger.shown(generation);
            if let Some(report) = &report {
                shown["report"] = report.shown();
            }
            show::json(&shown);
        }
        false => {
            say!("generation {number}  {}", generation.component);
            if is_at_work {
                say!("at work");
            }
        }
    }
    if is_at_work || patience.is_zero() {
        return Ok(());
    }
    Err(Failure::work(format!(
        "no host has said within {} that it has generation {number} at work; it stays wanted, and `penstock status` shows what \
         lanes have",
        print_duration(wait)
    )))
}

/// Has a version be tried on live events.
fn try_beside(of: &Of, component: &str, fresh: bool, how: &ToTry) -> Result<(), Failure> {
    let opened = Opened::of(of)?;
    let (number, ledger) = match ComponentPlace::is_registered(component) {
        true => {
            let name = name(component)?;
            let asked = opened.operator.try_beside(&name, fresh, how);
            opened.io.block_on(asked)?
        }
        false => {
            let bytes = Bytes::from(read(Path::new(component))?);
            let asked = opened
                .operator
                .try_file_beside(component, bytes, fresh, how);
            opened.io.block_on(asked)?
        }
    };
    let mut shadows = ledger.shadows().iter();
    let Some(shadow) = shadows.find(|shadow| shadow.number == number) else {
        return Ok(());
    };
    match of.json {
        true => show::json(&shadow.shown(None)),
        false => {
            print_shadow(shadow);
            logs::note("`penstock status` shows what was found");
        }
    }
    Ok(())
}

fn drop_shadow(of: &Of) -> Result<(), Failure> {
    let opened = Opened::of(of)?;
    let dropped = opened.operator.drop_shadow("by an operator".to_owned());
    let ledger = opened.io.block_on(dropped)?;
    match (of.json, ledger.shadows().last()) {
        (true, last) => show::json(&last.map(|shadow| shadow.shown(None))),
        (false, Some(shadow)) => print_shadow(shadow),
        (false, None) => logs::note("no version was tried"),
    }
    Ok(())
}

/// The ledger once a host has said something about a generation, or the time is over.
fn settled(
    opened: &Opened,
    mut ledger: Ledger,
    number: u64,
    patience: Duration,
) -> Result<Ledger, Failure> {
    let never = AtomicBool::new(false);
    let until = opened.clock.now().saturating_add(patience);
    while opened.clock.now() < until
        && (ledger.find(number)).is_some_and(|generation| generation.fate == Fate::Wanted)
    {
        let next = opened.clock.now().saturating_add(LOOK_EVERY);
        opened.clock.wait(next.min(until), &never);
        ledger = opened.ledger()?;
    }
    Ok(ledger)
}

pub(super) fn rollback(arguments: &RollbackArguments) -> Result<(), Failure> {
    let opened = Opened::of(&arguments.of)?;
    let reason = arguments.reason.clone();
    let taken = opened.operator.take_back(reason, arguments.anyway);
    let (ledger, unseen) = opened.io.block_on(taken)?;
    if let Some(unseen) = unseen {
        logs::note(&format!(
            "whether the stream holds what is read again could not be seen: {unseen}"
        ));
    }
    let generation = ledger.wanted();
    match arguments.of.json {
        true => show::json(&ledger.shown(generation)),
        false => say!(
            "back to generation {}  {}",
            generation.number,
            generation.component
        ),
    }
    Ok(())
}

pub(super) fn history(arguments: &HistoryArguments) -> Result<(), Failure> {
    let opened = Opened::of(&arguments.of)?;
    if let Some(generation) = arguments.served {
        return served::print(&opened.io, &opened.operator, generation);
    }
    let ledger = opened.ledger()?;
    if arguments.of.json {
        show::json(&ledger.all_shown());
        return Ok(());
    }
    for generation in ledger.generations() {
        let reason = generation.fate.reason();
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        say!(
            "{:>4}  {}  {:<8}  {}  {}{reason}",
            generation.number,
            show::instant(generation.asked),
            generation.fate.name(),
            generation.component,
            generation.digest,
        );
        for note in &generation.notes {
            say!("      {}  {}", show::instant(note.at), note.text);
        }
        let shadows = ledger.shadows().iter();
        for shadow in shadows.filter(|shadow| shadow.beside == generation.number) {
            print_shadow(shadow);
        }
    }
    Ok(())
}

pub(super) fn status(arguments: &StatusArguments) -> Result<(), Failure> {
    let opened = Opened::of(&arguments.of)?;
    let ledger = opened.ledger()?;
    let lanes = opened.io.block_on(opened.operator.lanes())?;
    let found = opened.io.block_on(opened.operator.found(&ledger))?;
    let wanted = ledger.wanted();
    if arguments.of.json {
        show::json(&ledger.with_lanes(&lanes, found.as_ref()));
        return Ok(());
    }
    say!(
        "wanted  generation {}  {}  {}  ({})",
        wanted.number,
        wanted.component,
        wanted.digest,
        wanted.fate.name()
    );
    let mut rows: Vec<Vec<String>> = lanes.iter().filter_map(lane_row).collect();
    // Lanes are in order, and stay so within a host.
    rows.sort_by(|one, other| one[0].cmp(&other[0]));
    let columns = [
        "host",
        "lane",
        "generation",
        "since",
        "traps",
        "batch",
        "epoch",
        "watermark",
    ];
    show::table(&columns, &rows);
    if let Some((shadow, report)) = &found {
        print_shadow(shadow);
        print(report);
    }
    Ok(())
}

fn lane_row(lane: &KeptLane) -> Option<Vec<String>> {
    let come = live(lane)?;
    let (work, none) = (come.work.as_ref(), || "none".to_owned());
    let millis = work.and_then(|work| work.batch_mean_s).map(|it| it * 1e3);
    Some(vec![
        work.map_or_else(none, |work| work.host.clone()),
        lane.number.to_string(),
        come.generation
            .map_or_else(none, |number| number.to_string()),
        work.map_or_else(none, |work| show::instant(work.since)),
        work.map_or_else(none, |work| work.traps.to_string()),
        millis.map_or_else(none, |millis| format!("{millis:.1} ms")),
        come.epoch.to_string(),
        come.watermark.map_or_else(none, show::instant),
    ])
}
