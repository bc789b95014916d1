//! One round: build, test the cases, run, and show what is other than in the round before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::build::{Build, Built};
use crate::cli::show::{self, say};
use crate::cli::{Failure, test};
use crate::config::Pipeline;
use crate::pipeline::Host;
use crate::testing::{self, Case, Cut, Options, Outcome, TestError, Trial};

/// What a round needs.
pub(super) struct Workbench<'a> {
    pub(super) host: &'a Host,
    pub(super) pipeline: &'a Path,
    pub(super) cases: &'a Path,
    /// In place of the environment's files; none for those.
    pub(super) events: Vec<PathBuf>,
    pub(super) environment: &'a str,
    pub(super) show: usize,
    pub(super) stop: Arc<AtomicBool>,
}

/// What the last runs gave, by what they ran over.
#[derive(Default)]
pub(super) struct Outcomes(BTreeMap<String, Outcome>);

/// The events that the features of rounds are compared over.
struct Ground {
    name: String,
    environment: String,
    events: Option<Vec<PathBuf>>,
}

impl Workbench<'_> {
    /// A round.
    ///
    /// # Errors
    ///
    /// What went wrong first, after everything else that can be done was done: the build, a case,
    /// the run.
    pub(super) fn round(&self, build: &Build, outcomes: &mut Outcomes) -> Result<(), Failure> {
        match build.run()? {
            Built::Done => {}
            Built::Failed(message) => return Err(Failure::Work(message)),
        }
        let pipeline = test::one_pipeline(self.pipeline)?;
        let tested = self.test(&pipeline);
        let compared = self.compare(&pipeline, outcomes);
        tested.and(compared)
    }

    fn found_cases(&self) -> Result<Vec<Case>, Failure> {
        if !self.cases.is_dir() {
            return Ok(Vec::new());
        }
        let usual = Case {
            environment: self.environment.to_owned(),
            ..Case::default()
        };
        Ok(testing::find_cases(self.cases, None, &usual)?)
    }

    fn test(&self, pipeline: &Pipeline) -> Result<(), Failure> {
        let cases = self.found_cases()?;
        if cases.is_empty() {
            return Ok(());
        }
        let options = Options {
            show: self.show,
            bless: false,
            all: false,
            lanes: test::lanes(&cases),
        };
        let results = test::test(self.host, pipeline, &cases, options, &self.stop, false);
        test::verdict(&results, &self.stop)
    }

    /// Runs over the environment's events, or, where it has none, over those of each case.
    fn compare(&self, pipeline: &Pipeline, outcomes: &mut Outcomes) -> Result<(), Failure> {
        let given = (!self.events.is_empty()).then(|| self.events.clone());
        let ground = Ground {
            name: String::new(),
            environment: self.environment.to_owned(),
            events: given,
        };
        let cases = self.found_cases()?;
        let error = match self.compare_over(pipeline, &ground, outcomes) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if cases.is_empty() || !matches!(error, TestError::Wiring(_) | TestError::Config(_)) {
            return Err(error.into());
        }
        for case in cases.into_iter().filter(|case| case.unusable.is_none()) {
            let ground = Ground {
                name: case.name,
                environment: case.environment,
                events: case.events,
            };
            self.compare_over(pipeline, &ground, outcomes)?;
        }
        Ok(())
    }

    fn compare_over(
        &self,
        pipeline: &Pipeline,
        ground: &Ground,
        outcomes: &mut Outcomes,
    ) -> Result<(), TestError> {
        let events = ground.events.as_deref();
        let trial = Trial::new(self.host, pipeline, &ground.environment, events, &self.stop)?;
        let now = trial.run(Cut::default(), |opened| opened)?;
        let name = match ground.name.as_str() {
            "" => "features".to_owned(),
            name => format!("features of {name}"),
        };
        let rows = show::count(now.report.rows);
        match outcomes.0.get(&ground.name) {
            None => say!("{name}: {rows} rows"),
            Some(before) => match testing::difference(before, &now, self.show)? {
                None => say!("{name}: {rows} rows, the same as in the last run"),
                Some(difference) => say!("{name}: {rows} rows; {}", difference.trim_end()),
            },
        }
        outcomes.0.insert(ground.name.clone(), now);
        Ok(())
    }
}
