//! `penstock run`: pipelines over recorded events, and the summary of what came of them. Those over live
//! streams are in `live`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::datatypes::Schema;

use super::live;
use super::progress::ProgressLine;
use super::replaying::Replaying;
use super::show;
use super::signals::Signals;
use super::summary::{print, to_json};
use super::{Failure, logs};
use crate::config::{DEFAULT_ENVIRONMENT, Environment, Pipeline, Source, load_pipelines, types};
use crate::pipeline::telemetry::Telemetry;
use crate::pipeline::{self, Host, Opened, Progress, RunError, RunReport};
use crate::sandbox;
use crate::serve::{Answering, Opening, Operations, ServeError, ServedFeatures, Server};

/// Runs pipelines over the events of an environment, and writes the features they compute: over recorded
/// events to their end, over live streams until it is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock run pipelines/driver_accept_proportion_10m.toml
  penstock run pipelines --env ci --json
  penstock run p.toml --from 2026-01-31 --to 2026-02-01       one day of the recorded events
  penstock run p.toml --speed 10x                             ten times as fast as they happened
  penstock run p.toml --fresh                                 not where an interrupted run stopped

  penstock run pipelines --env production                     live streams, until SIGTERM or Ctrl-C

Events may be on object storage: files = \"s3://bucket/rides/*.ndjson\" in penstock.toml.
The events come from penstock.toml, beside the pipeline or in a folder above it. Exit code 1 says
that a run failed, 2 that its input was bad, 130 that you stopped it.")]
pub(super) struct Arguments {
    /// Pipeline files, or folders of them.
    #[arg(required = true, value_name = "PIPELINE.toml")]
    pipelines: Vec<PathBuf>,
    /// The environment of penstock.toml that says what the events are.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Number of lanes of each pipeline, in place of what its file says. The result is the same for any.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    lanes: Option<u32>,
    /// Rows of a batch, in place of what the file says. The result is the same for any.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    batch_rows: Option<u32>,
    /// Forget what an interrupted run left, and begin anew. Without `run.commit_every` every run does.
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    replaying: Replaying,
    /// Answer /health, /ready, /metrics and /status over HTTP here, such as 127.0.0.1:9464; in place of
    /// the environment's `listen`. Nobody is asked who they are. Off unless one of the two says so.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// Show no progress.
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    raise_open_files();
    let range = arguments.replaying.range()?;
    let mut pipelines = load_pipelines(&arguments.pipelines).map_err(Failure::input)?;
    for pipeline in &mut pipelines {
        pipeline.run.lanes = arguments.lanes.or(pipeline.run.lanes);
        if let Some(rows) = arguments.batch_rows {
            pipeline.run.batch_rows = rows as usize;
        }
    }
    let lanes: usize = pipelines.iter().map(pipeline::lanes_of).sum();
    if lanes > sandbox::MAX_INSTANCES {
        return Err(Failure::Input(format!(
            "these pipelines have {lanes} lanes together, and a process has room for {}; lower `run.lanes`, or run fewer pipelines at once",
            sandbox::MAX_INSTANCES
        )));
    }
    let host = super::host()?;
    let signals = Signals::catch(&host)?;
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&host.clock)));
    let mut found = Vec::new();
    for pipeline in pipelines {
        let environment = Environment::find_and_load(pipeline.source.path(), &arguments.env)
            .map_err(Failure::input)?;
        let event = environment.event(&pipeline).map_err(Failure::input)?;
        let is_live = matches!(event.source, Source::Live(_));
        telemetry.pipeline(&pipeline.name.value);
        found.push((pipeline, environment, is_live));
    }
    let is_live = found.iter().any(|(.., is_live)| *is_live);
    if is_live {
        arguments.replaying.refuse_for_live()?;
        if found.iter().any(|(.., is_live)| !is_live) {
            return Err(Failure::Input(
                "some of these pipelines read live streams and others recorded files; run them in two processes, as the ones end and the others do not".to_owned(),
            ));
        }
    }
    // Before pipelines are opened, which may take a while: whoever asks learns that.
    let environments = found.iter().map(|(_, environment, _)| environment);
    let live = found.iter().filter(|(.., is_live)| *is_live);
    let live =
        live.map(|(pipeline, environment, _)| (pipeline.name.value.clone(), environment.clone()));
    let operations = Operations {
        pipelines: live.collect(),
        clock: Arc::clone(&host.clock),
    };
    let server = start_server(
        arguments,
        environments,
        operations,
        &host,
        &telemetry,
        &signals,
    )?;
    let found = found.into_iter();
    let found: Vec<(Pipeline, Environment)> = found
        .map(|(pipeline, environment, _)| (pipeline, environment))
        .collect();
    if is_live {
        if server.is_none() {
            logs::note(
                "nothing is served over HTTP: --listen 127.0.0.1:9464 answers /health, /ready, /metrics and /status",
            );
        }
        let how = live::How {
            fresh: arguments.fresh,
            json: arguments.json,
        };
        let ended = live::run(&host, &signals, &telemetry, found, how);
        server.into_iter().for_each(Server::close);
        return ended;
    }
    let unwritten: Vec<(String, String)> = found
        .iter()
        .flat_map(|(pipeline, _)| {
            let name = &pipeline.name.value;
            let lines = unwritten(pipeline).into_iter();
            lines.map(move |line| (name.clone(), line))
        })
        .collect();
    let mut opened = Vec::new();
    for (pipeline, environment) in found {
        let mut pipeline = pipeline::open(&host, pipeline, &environment)?;
        pipeline.replay.range = range;
        pipeline.fresh = arguments.fresh;
        pipeline.replay.pace = arguments.replaying.pace();
        if pipeline.inferred && !arguments.quiet {
            tell_schema(&pipeline);
        }
        opened.push(pipeline);
    }
    let stop = signals.stop_work();
    let pipelines: Vec<(Opened, Arc<Progress>)> = opened
        .into_iter()
        .map(|pipeline| {
            let progress = Arc::new(Progress {
                telemetry: telemetry.pipeline(&pipeline.plan.pipeline),
                ..Progress::default()
            });
            progress
                .read
                .bytes_total
                .store(pipeline.replay.bytes(), Ordering::Relaxed);
            (pipeline, progress)
        })
        .collect();
    let line = (!arguments.quiet).then(|| {
        let shown = pipelines
            .iter()
            .map(|(pipeline, progress)| (pipeline.plan.pipeline.clone(), Arc::clone(progress)));
        ProgressLine::start(shown.collect())
    });
    let began = Instant::now();
    let reports = pipeline::run(&host, pipelines, &stop);
    let elapsed = began.elapsed();
    drop(line);
    if let Some(server) = server {
        server.close();
    }
    if stop.load(Ordering::Relaxed) {
        // A read that hangs is left behind.
        let Host { lanes, io, .. } = host;
        lanes.shutdown_background();
        io.shutdown_background();
    }
    let reports = reports.map_err(|error| match error.is_bad_input() {
        true => Failure::input(error),
        false => Failure::work(error),
    })?;
    for (pipeline, line) in unwritten {
        logs::note(&format!("pipeline {pipeline}: not written: {line}"));
    }
    report(&reports, elapsed, arguments.json)
}

/// Answers over the network, if and where somebody asked for it.
fn start_server<'a>(
    arguments: &'a Arguments,
    environments: impl Iterator<Item = &'a Environment>,
    operations: Operations,
    host: &Host,
    telemetry: &Arc<Telemetry>,
    signals: &Signals,
) -> Result<Option<Server>, Failure> {
    let environments: Vec<&Environment> = environments.collect();
    let mut addresses = environments.iter().filter_map(|it| it.listen.as_deref());
    let admin = arguments.listen.as_deref().or_else(|| addresses.next());
    if arguments.listen.is_none()
        && let (Some(address), Some(other)) = (admin, addresses.find(|other| Some(*other) != admin))
    {
        return Err(Failure::Input(format!(
            "these pipelines are to listen on {address} and on {other}, and a process listens once; choose one with --listen"
        )));
    }
    let features = served(&environments, admin.is_some(), host, telemetry)?;
    if admin.is_none() && features.is_none() {
        return Ok(None);
    }
    let what = Answering {
        telemetry: Arc::clone(telemetry),
        stopping: signals.stopping(),
        is_run: true,
        admin,
        features,
        operations: Some(operations),
    };
    let server = Server::start(host.io.handle(), what).map_err(refused)?;
    announce(&server);
    Ok(Some(server))
}

/// What of the environments' features is served from this process: those of one store, if it says so.
fn served(
    environments: &[&Environment],
    has_admin: bool,
    host: &Host,
    telemetry: &Arc<Telemetry>,
) -> Result<Option<ServedFeatures>, Failure> {
    let mut serving = environments
        .iter()
        .filter_map(|it| Some((*it, it.serving.as_ref()?)));
    let Some((environment, settings)) = serving.next() else {
        return Ok(None);
    };
    let here = environment.source.path();
    if let Some((other, _)) = serving.find(|(other, _)| other.source.path() != here) {
        return Err(Failure::Input(format!(
            "{} and {} both serve features, and a process serves those of one environment; run them in two processes",
            here.display(),
            other.source.path().display()
        )));
    }
    if !has_admin && settings.listen.is_none() && settings.grpc.is_none() {
        return Ok(None);
    }
    let features = environment.features().map_err(Failure::input)?;
    Ok(Some(ServedFeatures {
        settings: settings.clone(),
        store: Arc::new(Opening::new(
            Arc::clone(&host.stores),
            features,
            environment.cache,
            environment.offline.clone(),
            Arc::clone(telemetry),
        )),
    }))
}

/// What keeps a process from answering, as the end of a command.
pub(super) fn refused(error: ServeError) -> Failure {
    match error {
        ServeError::Taken { .. } | ServeError::Reflection(_) => Failure::work(error),
        ServeError::Listen { .. }
        | ServeError::Tls { .. }
        | ServeError::Access(_)
        | ServeError::Operators(_) => Failure::input(error),
    }
}

/// Says where what is answered.
pub(super) fn announce(server: &Server) {
    if let Some(address) = server.admin() {
        logs::note(&format!(
            "listening on http://{address}: /health, /ready, /metrics, /status"
        ));
    }
    if let Some(address) = server.rest() {
        logs::note(&format!(
            "serving features on {address}: /v1, /openapi.json"
        ));
    }
    if let Some(address) = server.grpc() {
        logs::note(&format!("serving features over gRPC on {address}"));
    }
}

/// What a pipeline's file asks for, and runs over recorded events do not write.
pub(super) fn unwritten(pipeline: &Pipeline) -> Vec<String> {
    let outputs = &pipeline.outputs;
    let topics = outputs.topics.iter();
    let topics = topics.map(|topic| {
        format!(
            "topic `{}`, since the events are recorded ones",
            topic.value
        )
    });
    let side = outputs.side().into_iter();
    let side = side.filter_map(|(what, output)| {
        let topic = output.topic.as_ref()?;
        let file = output.file.path.display();
        Some(format!(
            "topic `{}`, since the events are recorded ones; {what} go to {file}",
            topic.value
        ))
    });
    topics.chain(side).collect()
}

/// A folder may hold more files than a process may usually open: all of them are merged at once.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

fn tell_schema(pipeline: &Opened) {
    let (schema, left_out) = declared_schema(&pipeline.event_schema);
    logs::note(&format!(
        "the schema of event `{}` was inferred; to fix it, put this into penstock.toml:\n  schema = {schema}",
        pipeline.declaration.event.value
    ));
    if !left_out.is_empty() {
        logs::note(&format!(
            "left out, because a schema has no name for their types: {}",
            show::printable(&left_out.join(", "))
        ));
    }
}

/// A schema as penstock.toml has it, and the columns that it cannot have.
fn declared_schema(schema: &Schema) -> (String, Vec<&str>) {
    let mut left_out = Vec::new();
    let mut columns = Vec::new();
    for field in schema.fields() {
        let name = types::type_name(field.data_type());
        let column: toml::Table = [(field.name().clone(), name.clone().into())]
            .into_iter()
            .collect();
        match types::parse_type(&name) {
            Ok(same) if types::fits(&same, field.data_type()) => columns.push(column.to_string()),
            _ => left_out.push(field.name().as_str()),
        }
    }
    let columns: Vec<&str> = columns.iter().map(|column| column.trim_end()).collect();
    (format!("{{ {} }}", columns.join(", ")), left_out)
}

fn report(
    reports: &[Result<RunReport, RunError>],
    elapsed: Duration,
    as_json: bool,
) -> Result<(), Failure> {
    let done: Vec<&RunReport> = reports
        .iter()
        .filter_map(|report| report.as_ref().ok())
        .collect();
    if as_json {
        let shown: Vec<_> = done.iter().map(|report| to_json(report, elapsed)).collect();
        show::json(&shown);
    } else {
        done.iter().for_each(|report| print(report, elapsed));
    }
    let failures: Vec<&RunError> = reports
        .iter()
        .filter_map(|report| report.as_ref().err())
        .collect();
    let text = |failures: &[&RunError]| {
        let lines: Vec<String> = failures.iter().map(|failure| failure.to_string()).collect();
        lines.join("\nerror: ")
    };
    match failures.as_slice() {
        [] => Ok(()),
        all if all.iter().all(|failure| failure.is_stop()) => Err(Failure::Stopped(format!(
            "{}; the feature store keeps what was written, files of earlier runs are untouched",
            text(all)
        ))),
        some if some.iter().all(|failure| failure.is_bad_input()) => {
            Err(Failure::Input(text(some)))
        }
        some => Err(Failure::Work(text(some))),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Fields};

    use super::*;

    #[test]
    fn a_schema_that_is_told_is_toml_and_comes_back() {
        let fields = Fields::from(vec![Field::new("x y", DataType::Int64, true)]);
        let names = [
            "plain",
            "user id",
            "a.b",
            "",
            "two\nlines",
            "esc\u{1b}[0m",
            "q\"'",
        ];
        let mut columns: Vec<Field> = names
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, true))
            .collect();
        columns.push(Field::new("s", DataType::Struct(fields), true));
        let item = Arc::new(Field::new_list_field(DataType::Int64, true));
        let known = columns.len();
        columns.push(Field::new("f", DataType::FixedSizeList(item, 3), true));
        let schema = Schema::new(columns);
        let (told, left_out) = declared_schema(&schema);
        assert_eq!(left_out, ["f"]);
        assert!(!told.contains(char::is_control), "{told:?}");
        let read: toml::Table = format!("schema = {told}").parse().unwrap();
        let read = read["schema"].as_table().unwrap();
        assert_eq!(read.len(), known);
        for field in &schema.fields()[..known] {
            let data_type = types::parse_type(read[field.name()].as_str().unwrap()).unwrap();
            assert_eq!(data_type, *field.data_type());
        }
    }
}
