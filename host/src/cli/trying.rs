//! Trying a version of a transform before it takes the place of the one at work, and what is shown of that.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::registry::{name, read, runtime};
use super::show::{self, say};
use super::signals::Signals;
use super::swap::Of;
use super::test::events_of;
use super::{Failure, logs};
use crate::clock::{Clock, SystemClock};
use crate::config::{
    ComponentPlace, Environment, HeldComponent, Pipeline, load_pipelines, parse_duration,
};
use crate::pipeline::shadow::{self, Case, Condition, Figures, Gate, Report};
use crate::pipeline::swap::{Operator, Shadow, ShadowFate, ToTry};
use crate::pipeline::{self, Host, Opened};

/// How a version is tried, and what must come of it.
#[derive(Debug, clap::Args)]
pub(super) struct Trying {
    /// Run the version and the one at work over these recorded events first, and show what differs. Nothing is asked for
    /// unless --promote-if says so, and no broker is needed.
    #[arg(long, value_name = "FILES", num_args = 1.., conflicts_with = "shadow")]
    replay: Vec<String>,
    /// Run the version on live events beside the one at work, with its states and without writing anything, and report what
    /// differs: `penstock status` shows it. Nothing is swapped unless --promote-if says so.
    #[arg(long)]
    shadow: bool,
    /// For how long, with --shadow.
    #[arg(long = "for", value_name = "TIME", default_value = "10m")]
    lasts: String,
    /// Go on with the swap by itself if this holds for every feature, such as 'different < 0.1%' or
    /// 'different < 1% and missing <= 0%'. Different is what is not equal, and missing what one version alone has. It needs
    /// --replay or --shadow.
    #[arg(long, value_name = "CONDITION")]
    promote_if: Option<Condition>,
    /// Values of every feature that must have been compared for --promote-if to hold.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    at_least: u64,
    /// The pipeline's file, for --replay. Without it the folder of --project is looked through for the pipeline.
    #[arg(long, value_name = "PIPELINE.toml", requires = "replay")]
    file: Option<PathBuf>,
}

impl Trying {
    pub(super) fn is_replay(&self) -> bool {
        !self.replay.is_empty()
    }

    /// How it is tried on live events; none if it is not.
    pub(super) fn on_live_events(&self) -> Result<Option<ToTry>, Failure> {
        let gate = self.gate();
        if gate.is_some() && !self.is_replay() && !self.shadow {
            let message = "--promote-if says what must come of a trial: give --replay FILES or --shadow as well";
            return Err(Failure::Input(message.to_owned()));
        }
        if !self.shadow {
            return Ok(None);
        }
        let wrong = |what: &str| Failure::Input(format!("--for {}: {what}", self.lasts));
        let lasts = parse_duration(&self.lasts).map_err(|error| wrong(&error.to_string()))?;
        match lasts > 0 {
            true => Ok(Some(ToTry { lasts, gate })),
            false => Err(wrong("is no time that can pass")),
        }
    }

    fn gate(&self) -> Option<Gate> {
        let condition = self.promote_if.clone()?;
        Some(Gate {
            condition,
            at_least: self.at_least,
        })
    }

    /// Runs a component and what is at work over the recorded events.
    pub(super) fn replay(&self, of: &Of, component: &str) -> Result<Report, Failure> {
        let pipeline = self.pipeline(of)?;
        let files = events_of(&self.replay)?;
        let environment = Environment::find_and_load(pipeline.source.path(), &of.env);
        let mut environment = environment.map_err(Failure::input)?;
        let new = fetched(&environment, component)?;
        let old = at_work(&environment, &of.pipeline)?;
        environment.output_elsewhere = true;
        let event = environment.event(&pipeline).map_err(Failure::input)?;
        let event = event.name.value.clone();
        environment.read_files(&event, &files);
        let host = super::host()?;
        let stop = Signals::catch(&host)?.stop_work();
        let old = old.map_or_else(|| pipeline.transform.value.clone(), ComponentPlace::Held);
        let old = opened(&host, &pipeline, &environment, old)?;
        let new = opened(&host, &pipeline, &environment, ComponentPlace::Held(new))?;
        shadow::replay(&host, old, new, &stop).map_err(|error| match () {
            () if error.is_stop() => Failure::Stopped("stopped before the end".to_owned()),
            () if error.is_of_the_new() => Failure::input(error),
            () => Failure::work(error),
        })
    }

    /// The declaration of the pipeline.
    fn pipeline(&self, of: &Of) -> Result<Pipeline, Failure> {
        let place = self.file.as_ref().unwrap_or(&of.project);
        let mut found = load_pipelines(&[place]).map_err(Failure::input)?;
        let is_meant = |pipeline: &mut Pipeline| pipeline.name.value == of.pipeline;
        found.extract_if(.., is_meant).next().ok_or_else(|| {
            Failure::Input(format!(
                "{} has no pipeline `{}`; say by --file where its declaration is",
                place.display(),
                of.pipeline
            ))
        })
    }

    /// Shows what was found, and says whether the version is to be asked for. As JSON it is shown if it is not.
    ///
    /// # Errors
    ///
    /// What is asked of it does not hold.
    pub(super) fn judge(&self, report: &Report, json: bool) -> Result<bool, Failure> {
        let verdict = self.gate().map(|gate| gate.opens(report));
        let reason = verdict.as_ref().and_then(|verdict| verdict.clone().err());
        match json {
            // Of what is asked for, the generation says it.
            true if verdict == Some(Ok(())) => {}
            true => show::json(&json!({
                "report": report.shown(),
                "promoted": verdict.is_some().then_some(false),
                "reason": reason,
            })),
            false => print(report),
        }
        match (verdict, reason) {
            (_, Some(reason)) => Err(Failure::Work(format!("nothing is swapped: {reason}"))),
            (Some(_), None) => Ok(true),
            (None, None) => {
                logs::note("nothing was asked for; the same without --replay swaps");
                Ok(false)
            }
        }
    }
}

/// The component that is to be tried.
fn fetched(environment: &Environment, component: &str) -> Result<HeldComponent, Failure> {
    let bytes = match ComponentPlace::is_registered(component) {
        true => runtime()?.block_on(Operator::fetch(environment, &name(component)?))?,
        false => read(Path::new(component))?.into(),
    };
    Ok(HeldComponent {
        from: component.to_owned(),
        bytes: bytes[..].into(),
    })
}

/// The component that is wanted; none where there is no store yet, or nothing was ever started.
fn at_work(environment: &Environment, pipeline: &str) -> Result<Option<HeldComponent>, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let found = runtime()?.block_on(async {
        let operator = Operator::open(environment, pipeline, clock).await?;
        operator.at_work().await
    });
    let found = match found {
        Err(error) if error.is_bad_input() => None,
        found => found?,
    };
    if found.is_none() {
        logs::note(&format!(
            "pipeline {pipeline} has no generation yet: it is compared with the transform that its file names"
        ));
    }
    Ok(found)
}

/// The pipeline with a component in the place of its own, with nothing that it writes to.
fn opened(
    host: &Host,
    pipeline: &Pipeline,
    environment: &Environment,
    transform: ComponentPlace,
) -> Result<Opened, Failure> {
    let mut pipeline = pipeline.clone();
    pipeline.transform.value = transform;
    pipeline.run.lanes = Some(1);
    pipeline.run.commit_every = None;
    pipeline.outputs.features = None;
    Ok(pipeline::open(host, pipeline, environment)?)
}

/// Prints what became of a version that was tried on live events.
pub(super) fn print_shadow(shadow: &Shadow) {
    let what = match &shadow.fate {
        ShadowFate::Watched => format!("until {}", show::instant(shadow.ends())),
        ShadowFate::Promoted(generation) => format!("it is generation {generation}"),
        ShadowFate::Over => "swap to it, or do not".to_owned(),
        ShadowFate::Dropped(reason) | ShadowFate::Failed(reason) => reason.clone(),
    };
    let condition = shadow.promote_if.as_deref();
    let condition = condition.map_or_else(String::new, |it| format!("  if {it}"));
    say!(
        "shadow {}  {}  {}  ({}){condition}: {what}",
        shadow.number,
        shadow.component,
        shadow.digest,
        shadow.fate.name(),
    );
}

/// Prints a report.
pub(super) fn print(report: &Report) {
    let beside = match report.lanes {
        0 => String::new(),
        lanes => format!(", beside {lanes} lanes"),
    };
    say!(
        "{} values compared over {} rows{beside}",
        report.compared(),
        report.rows
    );
    let columns = [
        "feature",
        "equal",
        "different",
        "only old",
        "only new",
        "p50",
        "p99",
        "max distance",
    ];
    let rows = report.features.iter();
    let rows: Vec<Vec<String>> = rows.map(|(name, figures)| row(name, figures)).collect();
    show::table(&columns, &rows);
    for (name, figures) in &report.features {
        for case in figures.worst.iter().chain(&figures.missing) {
            say!("{}", shown(name, case));
        }
    }
}

fn row(name: &str, figures: &Figures) -> Vec<String> {
    let distance =
        |distance: Option<f64>| distance.map_or_else(|| "none".to_owned(), |it| format!("{it:.4}"));
    let quantile = |share| distance(figures.spread.quantile(share));
    vec![
        name.to_owned(),
        figures.equal.to_string(),
        figures.different.to_string(),
        figures.only_old.to_string(),
        figures.only_new.to_string(),
        quantile(0.5),
        quantile(0.99),
        distance(figures.spread.largest()),
    ]
}

fn shown(name: &str, case: &Case) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    format!(
        "  {name}  {}  {}  old {}  new {}",
        show::printable(&case.entity),
        case.window,
        show::printable(&value(&case.old)),
        show::printable(&value(&case.new))
    )
}
