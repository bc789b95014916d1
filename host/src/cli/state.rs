//! `penstock state`: how far the lanes of a pipeline have come, and what they keep of a key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::Url;

use super::show::{self, say};
use super::summary::{rows_to_json, unfinished_to_json};
use super::{Failure, health};
use crate::config::{DEFAULT_ENVIRONMENT, Environment, StoreOptions, StorePlace, load_pipelines};
use crate::pipeline;
use crate::pipeline::kept::{self, Come, Fact, KeptError, KeptLane, KeptRecord};
use crate::store::StoreError;
use crate::store::embedded::{EmbeddedReader, EmbeddedStore};
use crate::store::item::entity;

/// Shows how far each lane of a pipeline has come and what it still has to send, from the store
/// alone: also while `penstock run` writes it, and when nothing runs.
///
/// The store is that of an environment of the nearest penstock.toml, or the one --store names. Nothing is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock state driver_accept_proportion_10m
  penstock state driver_accept_proportion_10m --env production --json
  penstock state pipelines/driver_accept_proportion_10m.toml --key 42
  penstock state pipelines/flights_1d.toml --key 'SFO,LAX'      # a key of two columns, as for `penstock get`

Requests are those of the lane's database in the hour, as a running process tells at the environment's `listen`, or
at --status; `-` if none answers. Exit code 1 says that no lane keeps anything of the key, 2 that there is no such pipeline.")]
pub(super) struct Arguments {
    /// The pipeline: its name, or its file. --key wants the file.
    pipeline: String,
    /// Show what is kept of this key, as `penstock get` takes it.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: Option<String>,
    /// The environment whose store to read.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Where to look for penstock.toml: there or in a folder above; beside the pipeline's file if that is given.
    #[arg(long, value_name = "PATH")]
    project: Option<PathBuf>,
    /// The store's folder, or its URL, which is opened with variables such as AWS_REGION. Without --key penstock.toml is not looked for then.
    #[arg(long, value_name = "FOLDER")]
    store: Option<String>,
    /// Where the process that runs it listens, such as http://127.0.0.1:9464, to ask how many requests its lanes make.
    #[arg(long, value_name = "URL")]
    status: Option<String>,
    /// Print what there is as JSON.
    #[arg(long)]
    json: bool,
}

/// How long a running process may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = file(&arguments.pipeline);
    let pipeline = match &file {
        None => arguments.pipeline.clone(),
        Some(file) => {
            let declared = load_pipelines(&[file]).map_err(Failure::input)?.remove(0);
            declared.name.value
        }
    };
    let near = arguments.project.as_deref().or(file.as_deref());
    let near = near.unwrap_or(Path::new("."));
    let environment = match &arguments.store {
        Some(_) => Environment::find_and_load(near, &arguments.env).ok(),
        None => Some(Environment::find_and_load(near, &arguments.env).map_err(Failure::input)?),
    };
    let place = match (&arguments.store, &environment) {
        (Some(text), _) => StorePlace::of(text, &StoreOptions::default()),
        (None, Some(environment)) => environment.store.clone(),
        (None, None) => unreachable!("it was loaded, or that has failed"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::work(format!("cannot start threads: {error}")))?;
    let reader = runtime.block_on(EmbeddedStore::open_reader(&place));
    let reader = reader.map_err(store_failure)?;
    let lanes = runtime.block_on(kept::lanes(&reader, &pipeline));
    let lanes = lanes.map_err(kept_failure)?;
    if lanes.is_empty() {
        return Err(unknown(&runtime, &reader, &pipeline));
    }
    if let Some(key) = &arguments.key {
        let Some(file) = &file else {
            return Err(Failure::input(format!(
                "which columns the state of `{pipeline}` has, its transform knows: name the pipeline's file, as in `penstock state {pipeline}.toml --key {key}`"
            )));
        };
        let environment = environment.ok_or_else(|| {
            Failure::input("--key wants penstock.toml, for what the events are: see --project")
        })?;
        let records = of_key(&runtime, &reader, &lanes, (file, key), &environment)?;
        return show_key(arguments, &pipeline, key, &records);
    }
    let listen = environment.and_then(|environment| environment.listen);
    let asked = arguments.status.clone().or(listen);
    let requests = asked.map(|address| runtime.block_on(requests(&address, &pipeline)));
    let requests = requests.unwrap_or_default();
    let now = jiff::Timestamp::now().as_microsecond();
    match arguments.json {
        true => show::json(&to_json(&pipeline, &reader, &lanes, &requests, now)),
        false => print(&pipeline, &reader, &lanes, &requests, now),
    }
    Ok(())
}

/// The pipeline's file, if one is named.
fn file(pipeline: &str) -> Option<PathBuf> {
    let path = Path::new(pipeline);
    let is_file = path.extension().is_some_and(|it| it == "toml") || path.is_file();
    is_file.then(|| path.to_owned())
}

fn store_failure(error: StoreError) -> Failure {
    match error.is_bad_input() {
        true => Failure::input(error),
        false => Failure::work(error),
    }
}

fn kept_failure(error: KeptError) -> Failure {
    match error {
        KeptError::Store(error) => store_failure(error),
        error @ KeptError::NoWindows(_) => Failure::input(error),
        error => Failure::work(error),
    }
}

fn unknown(runtime: &Runtime, reader: &EmbeddedReader, pipeline: &str) -> Failure {
    let known = match runtime.block_on(reader.pipelines()) {
        Ok(known) => known,
        Err(error) => return store_failure(error),
    };
    let place = reader.place();
    let message = format!("{place} has no lanes of a pipeline `{pipeline}`");
    Failure::input(match known.is_empty() {
        true => format!(
            "{message}, nor of any other: run it first; without `store` or `commit_every` it keeps nothing"
        ),
        false => format!("{message}; there are those of {}", known.join(", ")),
    })
}

/// What lanes keep of a key of the pipeline in a file.
fn of_key(
    runtime: &Runtime,
    reader: &EmbeddedReader,
    lanes: &[KeptLane],
    (file, key): (&Path, &str),
    environment: &Environment,
) -> Result<Vec<KeptRecord>, Failure> {
    let host = super::host()?;
    let declared = load_pipelines(&[file]).map_err(Failure::input)?.remove(0);
    let (opened, _) = pipeline::check(&host, declared, environment)?;
    let columns = entity::parse(key, &opened.plan.key_schema)
        .map_err(|reason| Failure::input(format!("`{key}` is no key of the pipeline: {reason}")))?;
    let records = kept::records(reader, &opened.plan, lanes, &columns);
    runtime.block_on(records).map_err(kept_failure)
}

/// Requests in the hour by lane, as the process at an address tells; none if none does.
async fn requests(address: &str, pipeline: &str) -> BTreeMap<u32, f64> {
    let told = async {
        let address = match address.contains("://") {
            true => address.to_owned(),
            false => format!("http://{address}"),
        };
        let url = Url::parse(&address).ok()?.join("/status").ok()?;
        let (_, text) = health::ask(&url, ANSWER).await.ok()?;
        let status: Value = serde_json::from_str(&text).ok()?;
        let pipelines = status["pipelines"].as_array()?;
        let told = pipelines.iter().find(|it| it["pipeline"] == pipeline)?;
        let lanes = told["lanes"].as_array()?.iter().filter_map(|lane| {
            let number = u32::try_from(lane["lane"].as_u64()?).ok()?;
            Some((number, lane["store"]["requests_per_hour"].as_f64()?))
        });
        Some(lanes.collect())
    };
    told.await.unwrap_or_default()
}

fn print(
    pipeline: &str,
    reader: &EmbeddedReader,
    lanes: &[KeptLane],
    requests: &BTreeMap<u32, f64>,
    now: i64,
) {
    say!("pipeline {pipeline} in {}", reader.place());
    let header = [
        "lane",
        "input",
        "epoch",
        "cursors",
        "watermark",
        "rows",
        "unfinished",
        "outbox",
        "size",
        "committed",
        "requests/h",
    ];
    let mut rows = Vec::new();
    for lane in lanes {
        let shared = [
            show::bytes(lane.size.bytes),
            lane.size
                .log_written
                .map_or_else(|| "-".to_owned(), |at| ago(now, at)),
            requests
                .get(&lane.number)
                .map_or_else(|| "-".to_owned(), |it| show::count(it.round() as u64)),
        ];
        let number = lane.number.to_string();
        if lane.come.is_empty() {
            let nothing = std::iter::repeat_n("-".to_owned(), 7);
            rows.push(
                [number.clone()]
                    .into_iter()
                    .chain(nothing)
                    .chain(shared.clone())
                    .collect(),
            );
        }
        for come in &lane.come {
            let cells = [number.clone()].into_iter().chain(cells(come));
            rows.push(cells.chain(shared.clone()).collect());
        }
    }
    show::table(&header, &rows);
}

fn cells(come: &Come) -> [String; 7] {
    let listed = |pairs: Vec<String>| match pairs.is_empty() {
        true => "-".to_owned(),
        false => pairs.join(" "),
    };
    let cursors = come.cursors.iter();
    let outbox = come.outbox.iter();
    [
        come.input.name().to_owned(),
        come.epoch.to_string(),
        listed(cursors.map(|(split, at)| format!("{split}:{at}")).collect()),
        come.watermark.map_or_else(|| "-".to_owned(), watermark),
        come.rows.map_or_else(|| "-".to_owned(), show::count),
        (come.unfinished.as_ref()).map_or_else(|| "-".to_owned(), |it| show::count(it.kept)),
        listed(
            outbox
                .map(|(name, owed)| format!("{name}:{owed}"))
                .collect(),
        ),
    ]
}

fn watermark(at: i64) -> String {
    match at {
        i64::MAX => "the end".to_owned(),
        at => show::instant(at),
    }
}

fn ago(now: i64, at: i64) -> String {
    let seconds = (now - at).max(0) / 1_000_000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

fn to_json(
    pipeline: &str,
    reader: &EmbeddedReader,
    lanes: &[KeptLane],
    requests: &BTreeMap<u32, f64>,
    now: i64,
) -> Value {
    let lanes = lanes.iter().map(|lane| {
        let age = lane
            .size
            .log_written
            .map(|at| (now - at).max(0) as f64 / 1e6);
        json!({
            "lane": lane.number,
            "inputs": lane.come.iter().map(come_json).collect::<Vec<_>>(),
            "bytes": lane.size.bytes,
            "files": lane.size.files,
            "committed": lane.size.log_written.map(show::instant),
            "commit_age_s": age,
            "requests_per_hour": requests.get(&lane.number),
        })
    });
    json!({
        "pipeline": pipeline,
        "store": reader.place(),
        "lanes": lanes.collect::<Vec<_>>(),
    })
}

fn come_json(come: &Come) -> Value {
    let accounting = &come.accounting;
    let cursors: serde_json::Map<String, Value> = come
        .cursors
        .iter()
        .map(|(split, at)| {
            (
                split.clone(),
                at.parse::<i64>()
                    .map_or_else(|_| at.as_str().into(), Value::from),
            )
        })
        .collect();
    let outbox: BTreeMap<_, _> = come.outbox.iter().cloned().collect();
    json!({
        "input": come.input.name(),
        "epoch": come.epoch,
        "transform": come.transform,
        "cursors": cursors,
        "watermark": come.watermark.map(watermark),
        "windows": come.windows,
        "rows": come.rows,
        "unfinished_windows": come.unfinished.as_ref().map(unfinished_to_json),
        "outbox": outbox,
        "events": rows_to_json(accounting),
    })
}

fn show_key(
    arguments: &Arguments,
    pipeline: &str,
    key: &str,
    records: &[KeptRecord],
) -> Result<(), Failure> {
    if arguments.json {
        let records: Vec<Value> = records.iter().map(record_json).collect();
        show::json(&json!({"pipeline": pipeline, "key": key, "records": records}));
    } else if !records.is_empty() {
        let rows: Vec<Vec<String>> = records.iter().map(row).collect();
        show::table(&["lane", "input", "record", "about", "state"], &rows);
    }
    match records.is_empty() {
        false => Ok(()),
        true => Err(Failure::work(format!(
            "no lane of `{pipeline}` keeps anything of key `{key}`: nothing of it was committed, or its windows are over"
        ))),
    }
}

fn row(record: &KeptRecord) -> Vec<String> {
    let facts = record.facts.iter().map(|(name, fact)| match fact {
        Fact::Instant(at) => format!("{name} {}", show::instant(*at)),
        Fact::Number(number) => format!("{name} {number}"),
    });
    vec![
        record.lane.to_string(),
        record.input.name().to_owned(),
        record.kind.to_owned(),
        facts.collect::<Vec<_>>().join(", "),
        record
            .state
            .as_deref()
            .map_or_else(|| "-".to_owned(), show::printable),
    ]
}

fn record_json(record: &KeptRecord) -> Value {
    let mut shown = json!({
        "lane": record.lane,
        "input": record.input.name(),
        "record": record.kind,
    });
    for (name, fact) in &record.facts {
        shown[*name] = match fact {
            Fact::Instant(at) => show::instant(*at).into(),
            Fact::Number(number) => (*number).into(),
        };
    }
    if let Some(state) = &record.state {
        shown["state"] = serde_json::from_str(state).unwrap_or_else(|_| state.as_str().into());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_the_unit_that_suits_them() {
        let second = 1_000_000;
        for (seconds, shown) in [
            (0, "0 s ago"),
            (119, "119 s ago"),
            (600, "10 min ago"),
            (10_000, "2 h ago"),
            (400_000, "4 days ago"),
        ] {
            assert_eq!(ago(seconds * second, 0), shown);
        }
        assert_eq!(ago(0, second), "0 s ago", "clocks differ");
    }

    #[test]
    fn a_file_is_told_from_a_name() {
        assert_eq!(file("a.toml"), Some("a.toml".into()));
        assert_eq!(file("driver_accept_proportion_10m"), None);
    }
}
