//! `penstock run`: pipelines over recorded events, and the summary of what came of them. Those over live
//! streams are in `live`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::datatypes::Schema;
use serde_json::json;

use super::live;
use super::progress::ProgressLine;
use super::replaying::Replaying;
use super::show::{self, say};
use super::signals::Signals;
use super::{Failure, logs};
use crate::config::{
    DEFAULT_ENVIRONMENT, Environment, Pipeline, Source, load_pipelines, print_duration, types,
};
use crate::pipeline::telemetry::Telemetry;
use crate::pipeline::{self, Accounting, Host, Opened, Progress, RunError, RunReport};
use crate::sandbox;
use crate::serve::{ServeError, Server};

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
    let server = start_server(arguments, environments, &host, &telemetry, &signals)?;
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

/// Answers over HTTP, if and where somebody asked for it.
fn start_server<'a>(
    arguments: &'a Arguments,
    environments: impl Iterator<Item = &'a Environment>,
    host: &Host,
    telemetry: &Arc<Telemetry>,
    signals: &Signals,
) -> Result<Option<Server>, Failure> {
    let mut addresses = environments.filter_map(|environment| environment.listen.as_deref());
    let Some(address) = arguments.listen.as_deref().or_else(|| addresses.next()) else {
        return Ok(None);
    };
    if arguments.listen.is_none()
        && let Some(other) = addresses.find(|other| *other != address)
    {
        return Err(Failure::Input(format!(
            "these pipelines are to listen on {address} and on {other}, and a process listens once; choose one with --listen"
        )));
    }
    let (io, telemetry) = (host.io.handle(), Arc::clone(telemetry));
    let server = Server::start(io, address, telemetry, signals.stopping());
    let server = server.map_err(|error| match error {
        ServeError::Taken { .. } => Failure::work(error),
        ServeError::Listen { .. } => Failure::input(error),
    })?;
    logs::note(&format!(
        "listening on http://{}: /health, /ready, /metrics, /status",
        server.address()
    ));
    Ok(Some(server))
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

fn print(report: &RunReport, elapsed: Duration) {
    let accounting = &report.accounting;
    let per_second = accounting.read as f64 / elapsed.as_secs_f64().max(1e-9);
    say!("pipeline   {}", report.pipeline);
    say!("transform  {}", report.transform);
    if let Some(mapper) = report
        .mapper
        .as_ref()
        .filter(|mapper| **mapper != report.transform)
    {
        say!("mapper     {mapper}");
    }
    say!(
        "events     {} read in {:.2} s, {}/s",
        show::count(accounting.read),
        elapsed.as_secs_f64(),
        show::count(per_second as u64)
    );
    print_rows(accounting);
    if report.skipped > 0 {
        let skipped = show::count(report.skipped);
        say!("skipped    {skipped} events outside --from/--to, counted nowhere else");
    }
    let output = format!(
        "{} rows, {} feature values, {} of them removed as invalid",
        show::count(report.rows),
        show::count(report.values + report.invalid),
        show::count(report.invalid)
    );
    match report.windows {
        Some(windows) => say!(
            "windows    {} closed (one a key), {output}",
            show::count(windows)
        ),
        None => say!("output     {output}"),
    }
    let watermark = report
        .watermark
        .map_or_else(|| "none".into(), show::instant);
    match &report.watermark_split {
        Some(split) if split.behind > 0 => say!(
            "watermark  {watermark}, held back by {} ({} behind the furthest)",
            split.name,
            print_duration(split.behind)
        ),
        Some(split) => say!("watermark  {watermark}, from {}", split.name),
        None => say!("watermark  {watermark}"),
    }
    for file in &report.files {
        say!(
            "file       {} ({} rows, {})",
            file.path.display(),
            show::count(file.rows),
            show::bytes(file.bytes)
        );
    }
    if let Some(store) = &report.store {
        say!("store      {store}");
    }
    if let Some(rows) = report.resumed {
        let rows = show::count(rows);
        say!(
            "resumed    an earlier run was interrupted; the first {rows} rows were not done again"
        );
    }
    if accounting.read > 0 && accounting.applied == 0 {
        say!("warning    no event was applied; the rejects say why");
    }
    let figures = &report.figures;
    for (name, count) in &figures.counts {
        say!("metric     {name} = {count}");
    }
    for (name, all) in &figures.observations {
        let mean = all.sum / all.count as f64;
        say!(
            "metric     {name}: {} values, mean {mean}, {} to {}",
            all.count,
            all.least,
            all.greatest
        );
    }
    if figures.dropped > 0 {
        say!(
            "warning    {} log lines or metrics of the transform were over its limits",
            figures.dropped
        );
    }
    if figures.clock_reads + figures.random_reads > 0 {
        say!(
            "warning    the transform read a clock {} times and random bytes {} times: the clock stands still and the bytes are always the same",
            figures.clock_reads,
            figures.random_reads
        );
    }
}

/// Where rows ended: of those that were read, and with a mapper of those that they became.
pub(super) fn print_rows(accounting: &Accounting) {
    let line = |what: &str, rows: u64| say!("  {what:<13}{:>14}", show::count(rows));
    if let Some(mapped) = &accounting.mapped {
        line("mapped", mapped.mapped);
        line("filtered", accounting.filtered);
        line(
            "rejected",
            accounting.rejected_in_all() - accounting.rejected_after_map(),
        );
        line("quarantined", accounting.quarantined);
        say!(
            "map        {} rows in, {} filtered, {} rejected, {} mapped to {} rows",
            show::count(mapped.rows_in),
            show::count(accounting.filtered),
            show::count(accounting.rejected_by_map()),
            show::count(mapped.mapped),
            show::count(mapped.rows_out)
        );
        print_applied(accounting);
        line("rejected", accounting.rejected_after_map());
        line("late", accounting.late);
        line("poisoned", accounting.poisoned);
        if !accounting.rejected.is_empty() {
            say!("rejects");
        }
    } else {
        print_applied(accounting);
        line("filtered", accounting.filtered);
        line("rejected", accounting.rejected_in_all());
    }
    for (reason, count) in &accounting.rejected {
        say!(
            "    {:<11}{:>14}  {}",
            reason.stage.name(),
            show::count(*count),
            reason.code
        );
    }
    if accounting.mapped.is_none() {
        line("late", accounting.late);
        line("quarantined", accounting.quarantined);
        line("poisoned", accounting.poisoned);
    }
}

fn print_applied(accounting: &Accounting) {
    let applied = show::count(accounting.applied);
    match accounting.partly_late {
        0 => say!("  applied      {applied:>14}"),
        some => say!(
            "  applied      {applied:>14}  ({} of them too late for some of their windows)",
            show::count(some)
        ),
    }
}

/// The two sums of a mapper: rows in are those filtered, rejected and mapped; rows out are those
/// applied, rejected after it, late and poisoned.
pub(super) fn map_to_json(accounting: &Accounting) -> Option<serde_json::Value> {
    let mapped = accounting.mapped.as_ref()?;
    Some(json!({
        "rows_in": mapped.rows_in,
        "filtered": accounting.filtered,
        "rejected": accounting.rejected_by_map(),
        "mapped": mapped.mapped,
        "rows_out": mapped.rows_out,
        "applied": accounting.applied,
        "rejected_after": accounting.rejected_after_map(),
        "late": accounting.late,
        "poisoned": accounting.poisoned,
    }))
}

/// Rows by where they ended.
pub(super) fn rows_to_json(accounting: &Accounting) -> serde_json::Value {
    let mut rows = json!({
        "read": accounting.read,
        "applied": accounting.applied,
        "partly_late": accounting.partly_late,
        "filtered": accounting.filtered,
        "rejected": accounting.rejected_in_all(),
        "late": accounting.late,
        "quarantined": accounting.quarantined,
        "poisoned": accounting.poisoned,
    });
    // Of pipelines in two stages.
    let between = [
        ("forwarded", accounting.forwarded),
        ("received", accounting.received),
        ("partials", accounting.partials),
    ];
    for (name, count) in between.into_iter().filter(|(_, count)| *count > 0) {
        rows[name] = count.into();
    }
    rows
}

/// Refused rows by reason.
pub(super) fn rejected_to_json(accounting: &Accounting) -> serde_json::Value {
    let rejected = accounting.rejected.iter();
    rejected
        .map(|(reason, count)| json!({"stage": reason.stage, "code": reason.code, "rows": count}))
        .collect()
}

fn to_json(report: &RunReport, elapsed: Duration) -> serde_json::Value {
    let accounting = &report.accounting;
    let files: Vec<_> = report
        .files
        .iter()
        .map(|file| json!({"path": file.path, "rows": file.rows, "bytes": file.bytes}))
        .collect();
    json!({
        "pipeline": report.pipeline,
        "transform": report.transform,
        "mapper": report.mapper,
        "map": map_to_json(accounting),
        "events": rows_to_json(accounting),
        "rejected_by_reason": rejected_to_json(accounting),
        "windows": report.windows,
        "rows": report.rows,
        "feature_values": report.values,
        "invalid_values": report.invalid,
        "skipped": report.skipped,
        "watermark": report.watermark.map(show::instant),
        "watermark_split": report.watermark_split.as_ref().map(|split| {
            json!({"name": split.name, "behind_s": split.behind as f64 / 1e6})
        }),
        "files": files,
        "store": report.store,
        "resumed": report.resumed,
        "transform_figures": report.figures,
        "seconds": elapsed.as_secs_f64(),
        "events_per_s": accounting.read as f64 / elapsed.as_secs_f64().max(1e-9),
    })
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
