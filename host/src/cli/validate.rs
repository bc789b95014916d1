//! `penstock validate`: everything that can be checked before a run.

use std::path::PathBuf;

use serde_json::json;

use super::Failure;
use super::show::{self, say};
use crate::config::{
    ComponentPlace, DEFAULT_ENVIRONMENT, Environment, Pipeline, Source, load_pipelines, types,
};
use crate::pipeline::{self, Opened, WiringError, live};
use crate::source::decode;
use crate::source::live::DeclaredStream;

/// Files of a pipeline that are opened, at most: those far away take their time.
const MOST_OPENED: usize = 100;

/// Checks pipelines: their files, the environment, the events' columns, the transform and
/// what it says of itself. Runs no event through it and writes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock validate pipelines/driver_accept_proportion_10m.toml
  penstock validate pipelines --env ci")]
pub(super) struct Arguments {
    /// Pipeline files, or folders of them.
    #[arg(required = true, value_name = "PIPELINE.toml")]
    pipelines: Vec<PathBuf>,
    /// The environment of penstock.toml that says what the events are.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let host = super::host()?;
    let mut found = Vec::new();
    for pipeline in load_pipelines(&arguments.pipelines).map_err(Failure::input)? {
        let environment = Environment::find_and_load(pipeline.source.path(), &arguments.env)
            .map_err(Failure::input)?;
        let (opened, stream) = pipeline::check(&host, pipeline, &environment)?;
        open_files(&opened)?;
        let place = match &environment
            .event(&opened.declaration)
            .map_err(Failure::input)?
            .source
        {
            Source::Live(live) => live.stream.to_string(),
            Source::Files(_) => match opened.replay.recordings.len() {
                1 => "1 file".to_owned(),
                count => format!("{count} files"),
            },
        };
        if !arguments.json {
            print(&opened, &place, stream.as_ref());
        }
        found.push(to_json(&opened, stream.is_some().then_some(place)));
    }
    if arguments.json {
        show::json(&found);
    }
    Ok(())
}

/// Opens the files as a run would: what their headers and footers promise must be what is wanted.
fn open_files(opened: &Opened) -> Result<(), Failure> {
    let replay = &opened.replay;
    for recording in replay.recordings.iter().take(MOST_OPENED) {
        decode::open(recording, replay.format, &replay.columns, 1).map_err(WiringError::from)?;
    }
    Ok(())
}

fn print(opened: &Opened, place: &str, stream: Option<&DeclaredStream>) {
    let plan = &opened.plan;
    say!("{}: fine", opened.declaration.source.path().display());
    say!(
        "  transform  {} ({})",
        opened.declaration.transform.value,
        opened.digest
    );
    if let Some((path, digest)) = mapper_of(opened) {
        say!("  mapper     {path} ({digest})");
    }
    let from = if opened.inferred {
        "inferred"
    } else {
        "declared"
    };
    say!(
        "  event      {}, {}, schema {from}:",
        opened.declaration.event.value,
        show::printable(place)
    );
    for field in opened.event_schema.fields() {
        let used = if plan.source.field_with_name(field.name()).is_ok() {
            ""
        } else {
            "  (not read)"
        };
        say!(
            "               {}: {}{used}",
            show::printable(field.name()),
            show::printable(&types::type_name(field.data_type()))
        );
    }
    for (field, reason) in stream.iter().flat_map(|stream| &stream.left_out) {
        let (field, reason) = (show::printable(field), show::printable(reason));
        say!("               {field}: left out, for {reason}");
    }
    if let Some(mapper) = &opened.mapper {
        say!("  mapped to");
        for field in mapper.output.fields() {
            let data_type = show::printable(&types::type_name(field.data_type()));
            say!(
                "               {}: {data_type}",
                show::printable(field.name())
            );
        }
    }
    say!("  window     {}", opened.declaration.window.value);
    say!("  features");
    for declaration in opened.declaration.declarations() {
        say!(
            "               {declaration}: {}",
            types::type_name(&declaration.feature_type)
        );
    }
    say!("  outputs");
    let is_live = stream.is_some();
    for (what, place) in outputs_of(opened, is_live) {
        say!("               {what}: {}", show::printable(&place));
    }
    for line in unwritten(&opened.declaration, is_live) {
        say!("               not written here: {line}");
    }
}

/// Where everything goes in this environment.
fn outputs_of(opened: &Opened, is_live: bool) -> Vec<(&'static str, String)> {
    let store = opened.feature_store();
    let store = store.map(|place| ("features", format!("store {place}")));
    let topics = opened.topics.all();
    let topics: Vec<(&str, String)> = topics
        .map(|(what, topic)| (what, format!("{topic}, as {}", topic.format.name())))
        .collect();
    let is_in_topic = |what: &str| topics.iter().any(|(other, _)| *other == what);
    let files = opened
        .files()
        .filter(|(what, path)| !is_live || (!is_in_topic(what) && live::writes(what, path)));
    let files = files.map(|(what, path)| match is_live {
        true => (
            what,
            format!(
                "a file of each lane, {}",
                live::file_of(path, "LANE").display()
            ),
        ),
        false => (what, path.display().to_string()),
    });
    let files: Vec<_> = files.collect();
    store.into_iter().chain(topics).chain(files).collect()
}

/// What the pipeline's file asks for, and this environment does not get.
fn unwritten(pipeline: &Pipeline, is_live: bool) -> Vec<String> {
    match is_live {
        true => live::unwritten(pipeline),
        false => super::run::unwritten(pipeline),
    }
}

/// Where the component of its mapper is, and its digest.
fn mapper_of(opened: &Opened) -> Option<(&ComponentPlace, &str)> {
    let own = &opened.declaration.transform;
    let map = opened.declaration.map.as_ref();
    let place = map.map_or(own, |map| &map.transform);
    Some((&place.value, opened.mapper_digest()?))
}

fn to_json(opened: &Opened, stream: Option<String>) -> serde_json::Value {
    let is_live = stream.is_some();
    json!({
        "pipeline": opened.plan.pipeline,
        "transform": opened.digest,
        "mapper": opened.mapper_digest(),
        "event": opened.declaration.event.value,
        "stream": stream,
        "event_schema": show::schema(&opened.event_schema),
        "inferred": opened.inferred,
        "window": opened.declaration.window.value.to_string(),
        "read_columns": show::schema(&opened.plan.source),
        "mapped": opened.mapper.as_ref().map(|mapper| show::schema(&mapper.output)),
        "output": show::schema(&opened.plan.emitted_schema()),
        "features": opened.declaration.declarations().collect::<Vec<_>>(),
        "outputs": outputs_of(opened, is_live)
            .into_iter()
            .map(|(what, place)| json!({"what": what, "place": place}))
            .collect::<Vec<_>>(),
        "not_written": unwritten(&opened.declaration, is_live),
    })
}
