//! `penstock training-set`: features as of the time of each of some rows.
//!
//! The work is done by another program, `penstock-training-set`, which has DataFusion in it and lies beside this one. Here
//! is found out what it is to read.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::features::{chosen, failure, runtime};
use super::show::{self, say};
use super::{Failure, logs};
use crate::config::{DEFAULT_ENVIRONMENT, Environment, FeaturePlace, parse_bytes};
use crate::store::declarations::ELSEWHERE;
use crate::store::declarations::{FeatureRef, Terms};
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
history that the environment's `offline` names. Exit code 2 says that rows or features do not fit.")]
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

/// The program that joins.
const PROGRAM: &str = "penstock-training-set";

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
    // What is copied and spilled lies beside the result, where there must be room in any case.
    let scratch = Scratch::make(&arguments.out)?;
    let runtime = runtime()?;
    let wanted = runtime.block_on(wanted(&features, &arguments.features))?;
    let store = OfflineStore::open(place).map_err(failure)?;
    let request = |span: Span| {
        let places = runtime.block_on(places(&store, &wanted, span, &scratch.0));
        let (histories, features) = places.map_err(failure)?;
        Ok::<_, Failure>(json!({
            "spine": arguments.entities,
            "time": arguments.time,
            "out": arguments.out,
            "scratch": scratch.0,
            "memory": memory,
            "by_write_time": arguments.by_write_time,
            "histories": histories,
            "features": features,
        }))
    };
    let asked = json!({"spine": arguments.entities, "time": arguments.time});
    let times = done(ask(&program, Some("times"), &asked)?)?;
    let span = Span {
        first: times["first"].as_i64(),
        last: times["last"].as_i64(),
    };
    let mut answer = ask(&program, None, &request(span)?)?;
    if let (Answer::NoHistory(_), true) = (&answer, span != Span::default()) {
        // Of those days nothing of a feature is there. Files of others say of what type it is.
        answer = ask(&program, None, &request(Span::default())?)?;
    }
    report(arguments, &done(answer)?);
    Ok(())
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
        histories.push(json!({
            "keys": of.entity,
            "files": files.await?,
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

/// A folder that is there for as long as this is.
struct Scratch(PathBuf);

impl Scratch {
    fn make(out: &Path) -> Result<Self, Failure> {
        let folder = out.with_added_extension(format!("scratch-{}", std::process::id()));
        let made = std::fs::create_dir(&folder);
        made.map_err(|error| {
            Failure::Work(format!(
                "cannot make {}: {error}; the folder of --out must be there, and empty of what an earlier attempt left",
                folder.display()
            ))
        })?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            logs::note(&format!("{} is left behind: {error}", self.0.display()));
        }
    }
}

/// The program beside this one.
fn program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()
        .map_err(|error| Failure::work(format!("cannot find this program's own file: {error}")))?;
    let program = own.with_file_name(PROGRAM);
    match program.is_file() {
        true => Ok(program),
        false => Err(Failure::Input(format!(
            "{} is not there, and it makes training sets; build it with `cargo build -p {PROGRAM}`, or install it beside this program",
            program.display()
        ))),
    }
}

/// What the program said.
enum Answer {
    /// What it was asked for.
    Done(Value),
    /// None of the files has a feature.
    NoHistory(String),
}

fn done(answer: Answer) -> Result<Value, Failure> {
    match answer {
        Answer::Done(value) => Ok(value),
        Answer::NoHistory(said) => Err(Failure::Input(said)),
    }
}

/// Has the program do something.
fn ask(program: &Path, what: Option<&str>, request: &Value) -> Result<Answer, Failure> {
    let failed =
        |error: std::io::Error| Failure::work(format!("cannot run {}: {error}", program.display()));
    let mut child = Command::new(program)
        .args(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends before it has read everything says why.
        let _ = stdin.write_all(request.to_string().as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim_end();
    match output.status.code() {
        Some(0) => {
            let answer = serde_json::from_slice(&output.stdout);
            answer.map(Answer::Done).map_err(|error| {
                let program = program.display();
                Failure::work(format!("{program} said what is no answer: {error}"))
            })
        }
        Some(2) => Err(Failure::input(said)),
        Some(3) => Ok(Answer::NoHistory(said.to_owned())),
        Some(_) => Err(Failure::Work(format!("no training set was made: {said}"))),
        None => Err(Failure::Work(format!(
            "no training set was made: {} was ended by somebody; {said}",
            program.display()
        ))),
    }
}
