//! `penstock training-set`: features as of the time of each of some rows.
//!
//! The work is done by another program, `penstock-training-set`, which has DataFusion in it and lies beside this one. Here
//! is found out what it is to read.

mod program;
mod scratch;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::program::{Answer, ask, program, stopped};
use self::scratch::Scratch;
use super::Failure;
use super::features::{chosen, failure, runtime};
use super::show::{self, say};
use super::signals;
use crate::config::{DEFAULT_ENVIRONMENT, Environment, FeaturePlace, StorePlace, parse_bytes};
use crate::store::declarations::{ELSEWHERE, FeatureRef, Terms};
use crate::store::item::attribute_name;
use crate::store::offline::{OfflineStore, Span};
use crate::store::{Declaration, StoreError, open_reader};

/// Makes a training set: rows with entities and times, and beside each the features as they were then.
///
/// A row gets, of the values whose event time is not after its own, the newest; with --by-write-time only of those that
/// were written by then: what a model would have been answered.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock training-set --entities rides.parquet --features driver/driver_accept_proportion_10m@1 --out train.parquet
  penstock training-set --entities rides.parquet --time requested_at --by-write-time \\
    --features driver_accept_proportion_10m,driver_offers_10m,rider/rides_7d@2 --out train.parquet

The rows have the columns of the features' keys, called as the pipelines call them, and a timestamp. Features come from the
history that the environment's `offline` names. Exit code 2 says that rows or features do not fit, 130 that you stopped it.")]
pub(super) struct Arguments {
    /// A Parquet file with the rows.
    #[arg(long, value_name = "SPINE.parquet")]
    entities: PathBuf,
    /// Features, as `name`, `name@2` or `group/name@2`, with commas between or each with a --features.
    #[arg(long, value_name = "FEATURE", required = true, value_delimiter = ',')]
    features: Vec<String>,
    /// The Parquet file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The rows' column with the time as of which they are joined.
    #[arg(long, value_name = "COLUMN", default_value = "event_time")]
    time: String,
    /// Take no value that was not yet written at a row's time.
    #[arg(long)]
    by_write_time: bool,
    /// Memory that sorting may take, about; the rest goes to files beside the result.
    #[arg(long, value_name = "BYTES", default_value = "1GiB")]
    memory: String,
    /// The environment whose history to read.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Where to look for penstock.toml: there or in a folder above.
    #[arg(long, value_name = "PATH", default_value = ".")]
    project: PathBuf,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let program = program()?;
    let memory = parse_bytes(&arguments.memory);
    let memory = memory.map_err(|error| Failure::Input(format!("--memory: {error}")))?;
    let environment = Environment::find_and_load(&arguments.project, &arguments.env);
    let environment = environment.map_err(Failure::input)?;
    let Some(place) = &environment.offline else {
        return Err(Failure::Input(format!(
            "environment `{}` keeps no history of features; say where with `offline = \"FOLDER or s3://…\"`, and run its pipelines",
            environment.name
        )));
    };
    let features = environment.features().map_err(Failure::input)?;
    let runtime = runtime()?;
    // Before there is anything to leave behind.
    let asked = runtime.block_on(async { signals::asked() })?;
    // What is copied and spilled lies beside the result, where there must be room in any case.
    let scratch = Scratch::make(&arguments.out)?;
    let making = Making {
        arguments,
        program,
        memory,
        features,
        scratch: scratch.path(),
    };
    let made = runtime.block_on(async {
        tokio::select! {
            biased;
            // What is under way ends when it is dropped, and the folder goes after it.
            () = asked => Err(stopped()),
            made = making.make(place) => made,
        }
    });
    // What still talks to the program hears that it has ended.
    drop(runtime);
    drop(scratch);
    report(arguments, &made?);
    Ok(())
}

/// A training set on its way.
struct Making<'a> {
    arguments: &'a Arguments,
    program: PathBuf,
    memory: u64,
    features: FeaturePlace,
    scratch: &'a Path,
}

impl Making<'_> {
    async fn make(&self, place: &StorePlace) -> Result<Value, Failure> {
        let Arguments { entities, time, .. } = self.arguments;
        let wanted = wanted(&self.features, &self.arguments.features).await?;
        let store = OfflineStore::open(place).map_err(failure)?;
        let asked = json!({"spine": entities, "time": time});
        let times = ask(&self.program, Some("times"), &asked).await?.done()?;
        let span = Span {
            first: times["first"].as_i64(),
            last: times["last"].as_i64(),
        };
        let mut answer = self.join(&store, &wanted, span).await?;
        if let (Answer::NoHistory(_), true) = (&answer, span != Span::default()) {
            // Of those days nothing of a feature is there. Files of others say of what type it is.
            answer = self.join(&store, &wanted, Span::default()).await?;
        }
        answer.done()
    }

    async fn join(
        &self,
        store: &OfflineStore,
        wanted: &[Declaration],
        span: Span,
    ) -> Result<Answer, Failure> {
        let places = places(store, wanted, span, self.scratch).await;
        let (histories, features) = places.map_err(failure)?;
        let request = json!({
            "spine": self.arguments.entities,
            "time": self.arguments.time,
            "out": self.arguments.out,
            "scratch": self.scratch,
            "memory": self.memory,
            "by_write_time": self.arguments.by_write_time,
            "histories": histories,
            "features": features,
        });
        ask(&self.program, None, &request).await
    }
}

fn report(arguments: &Arguments, made: &Value) {
    if arguments.json {
        return show::json(made);
    }
    let rows = made["rows"].as_u64().unwrap_or_default();
    say!("rows      {}", show::count(rows));
    let found = made["found"].as_array().into_iter().flatten();
    for (feature, found) in arguments.features.iter().zip(found) {
        let found = show::count(found.as_u64().unwrap_or_default());
        say!("feature   {feature}: {found} rows have a value");
    }
    say!("file      {}", arguments.out.display());
}

/// The declarations of the features that are asked for.
async fn wanted(place: &FeaturePlace, asked: &[String]) -> Result<Vec<Declaration>, Failure> {
    let reader = open_reader(place).await.map_err(failure)?;
    let declared = reader.declarations(None).await.map_err(failure)?;
    let mut found: Vec<Declaration> = Vec::new();
    for text in asked {
        let reference = FeatureRef::parse(text).map_err(Failure::input)?;
        let declaration = chosen(&reference, &declared)?;
        if found.contains(declaration) {
            return Err(Failure::Input(format!("`{text}` is asked for twice")));
        }
        found.push(declaration.clone());
    }
    Ok(found)
}

/// Where features lie, and which they are there, for the program. Those of their files that rows of a span may need are put
/// into `scratch`.
async fn places(
    store: &OfflineStore,
    wanted: &[Declaration],
    span: Span,
    scratch: &Path,
) -> Result<(Vec<Value>, Vec<Value>), StoreError> {
    let mut together: Vec<Vec<&Declaration>> = Vec::new();
    let mut features = Vec::new();
    for feature in wanted {
        let place = |it: &Declaration| (it.group.clone(), it.pipeline.clone(), it.entity.clone());
        let is_beside = |others: &Vec<&Declaration>| place(others[0]) == place(feature);
        let history = match together.iter().position(is_beside) {
            Some(history) => history,
            None => {
                together.push(Vec::new());
                together.len() - 1
            }
        };
        together[history].push(feature);
        features.push(json!({
            "column": column(feature, wanted),
            "attribute": attribute_name(&feature.feature, feature.version),
            "ttl": Terms::of(feature).ttl,
            "history": history,
        }));
    }
    let mut histories = Vec::new();
    for features in together {
        let of = features[0];
        let span = needed(&features, span);
        let files = store.snapshot(&of.group, Some(&of.pipeline), span, scratch);
        let files = files.await?;
        histories.push(json!({
            "keys": of.entity,
            "files": files,
            "taken_back": store.taken_back(&of.pipeline).await?,
            // Of what is put, nobody says of what types the keys are.
            "keys_are_texts": of.pipeline == ELSEWHERE,
        }));
    }
    Ok((histories, features))
}

/// The event times of values that rows of a span may get: none that is after the last row, by write time neither; and, if all
/// features have a TTL, none that was past it at the first.
fn needed(features: &[&Declaration], span: Span) -> Span {
    let ttls = features.iter().map(|feature| Terms::of(feature).ttl);
    let longest = ttls.collect::<Option<Vec<i64>>>();
    let longest = longest.and_then(|ttls| ttls.into_iter().max());
    let first = span.first.zip(longest);
    Span {
        first: first.map(|(first, longest)| first.saturating_sub(longest)),
        last: span.last,
    }
}

/// What a feature's column is called: as the feature, unless another one is called so, too.
fn column(feature: &Declaration, wanted: &[Declaration]) -> String {
    let name = &feature.feature;
    match wanted.iter().filter(|it| it.feature == *name).count() {
        1 => name.clone(),
        _ => format!("{}/{name}@{}", feature.group, feature.version),
    }
}
