//! `penstock run` over live streams: until a signal ends it, and what came of it.

use std::collections::BTreeMap;

use serde_json::json;

use super::show::{self, say};
use super::signals::Signals;
use super::summary::{map_to_json, print_rows, rejected_to_json, rows_to_json, unfinished_to_json};
use super::{Failure, logs};
use crate::config::{Environment, Pipeline};
use crate::pipeline::Host;
use crate::pipeline::kept::UnfinishedCounts;
use crate::pipeline::live::{self, LaneAccount, LiveError, LiveReport};
use crate::pipeline::telemetry::{PipelineState, Telemetry};

/// How they are run.
pub(super) struct How {
    /// Forget what is kept of their lanes.
    pub(super) fresh: bool,
    /// Print the summary as JSON.
    pub(super) json: bool,
}

pub(super) fn run(
    host: &Host,
    signals: &Signals,
    telemetry: &Telemetry,
    pipelines: Vec<(Pipeline, Environment)>,
    how: How,
) -> Result<(), Failure> {
    let (mut opened, mut refused) = (Vec::new(), Vec::new());
    for (pipeline, environment) in pipelines {
        let name = pipeline.name.value.clone();
        for line in live::unwritten(&pipeline) {
            logs::note(&format!("pipeline {name}: not written: {line}"));
        }
        let mut pipeline = match live::open(host, pipeline, &environment) {
            Ok(pipeline) => pipeline,
            Err(error) => {
                refused.push((name, error));
                continue;
            }
        };
        pipeline.fresh = how.fresh;
        pipeline.telemetry = telemetry.pipeline(&pipeline.plan.pipeline);
        if let Some(upstream) = &mut pipeline.upstream {
            upstream.telemetry = telemetry.pipeline(&upstream.plan.pipeline);
        }
        opened.push(pipeline);
    }
    // The others run: what one team's transform is like is no reason to stop those of others.
    for (name, error) in refused.iter().skip(usize::from(opened.is_empty())) {
        tracing::error!(pipeline = name, %error, "the pipeline was not started");
        let state = PipelineState::Failed(error.to_string());
        telemetry.pipeline(name).set_state(state);
    }
    let refused = refused
        .into_iter()
        .next()
        .map_or(Ok(()), |(_, error)| Err(error.into()));
    if opened.is_empty() {
        return refused;
    }
    let stop = signals.stop_work();
    let reports = live::run(host, opened, &stop).map_err(|error| match error.is_bad_input() {
        true => Failure::input(error),
        false => Failure::work(error),
    })?;
    report(&reports, how.json)?;
    refused
}

fn report(reports: &[Result<LiveReport, LiveError>], as_json: bool) -> Result<(), Failure> {
    let done: Vec<&LiveReport> = reports
        .iter()
        .filter_map(|report| report.as_ref().ok())
        .collect();
    match as_json {
        true => show::json(
            &done
                .iter()
                .map(|report| to_json(report))
                .collect::<Vec<_>>(),
        ),
        false => done.iter().for_each(|report| print(report)),
    }
    let failures: Vec<&LiveError> = reports
        .iter()
        .filter_map(|report| report.as_ref().err())
        .collect();
    let lines: Vec<String> = failures.iter().map(|failure| failure.to_string()).collect();
    let text = lines.join("\nerror: ");
    match failures.as_slice() {
        [] => Ok(()),
        some if some.iter().all(|failure| failure.is_bad_input()) => Err(Failure::Input(text)),
        _ => Err(Failure::Work(text)),
    }
}

fn print(report: &LiveReport) {
    let accounting = report.accounting();
    say!("pipeline   {}", report.pipeline);
    say!("transform  {}", report.transform);
    match report.lanes.len() {
        0 => say!("lanes      none were here at the end"),
        1 => say!("lanes      1, with what it did since it began"),
        count => say!("lanes      {count}, with what they did since they began"),
    }
    if !report.upstream.is_empty() {
        let under_way = show::count(accounting.under_way());
        say!(
            "upstream   {} lanes; {under_way} rows under way to those that have the windows",
            report.upstream.len()
        );
    }
    say!("events     {} read", show::count(accounting.read));
    print_rows(&accounting);
    let windows = report.lanes.values().map(|lane| lane.windows).sum();
    say!("windows    {} closed (one a key)", show::count(windows));
    let mut unfinished = UnfinishedCounts::default();
    for lane in report.lanes.values() {
        let kept = unfinished.kept + lane.unfinished.kept;
        unfinished.add(&lane.unfinished);
        unfinished.kept = kept;
    }
    if unfinished != UnfinishedCounts::default() {
        say!(
            "           {} could not be finished and wait for another version; {} were tried again, {} finished; for {} there was no room",
            show::count(unfinished.kept),
            show::count(unfinished.tried),
            show::count(unfinished.finished),
            show::count(unfinished.dropped)
        );
    }
    let watermarks = report.lanes.values().map(|lane| lane.watermark);
    let least = watermarks.min().flatten();
    say!(
        "watermark  {}",
        least.map_or_else(|| "none".into(), show::instant)
    );
    if report.bootstrapped > 0 {
        let rows = show::count(report.bootstrapped);
        say!("bootstrap  {rows} of the events, here, came from history before the stream");
    }
    if report.is_approximate {
        say!(
            "           joined by event time, which is approximate: events that came after the end of history and are older than it are left out"
        );
    }
    say!("store      {}", report.store);
    for topic in &report.topics {
        say!("topic      {}", show::printable(topic));
    }
}

fn to_json(report: &LiveReport) -> serde_json::Value {
    let accounting = report.accounting();
    let mut shown = json!({
        "pipeline": report.pipeline,
        "transform": report.transform,
        "events": rows_to_json(&accounting),
        "rejected_by_reason": rejected_to_json(&accounting),
        "map": map_to_json(&accounting),
        "bootstrap": {"records": report.bootstrapped, "is_approximate": report.is_approximate},
        "lanes": lanes_to_json(&report.lanes),
        "store": report.store,
        "topics": report.topics,
    });
    if !report.upstream.is_empty() {
        shown["upstream"] = lanes_to_json(&report.upstream);
    }
    shown
}

fn lanes_to_json(lanes: &BTreeMap<u32, LaneAccount>) -> serde_json::Value {
    let lanes = lanes.iter().map(|(number, lane)| {
        let lane = json!({
            "events": rows_to_json(&lane.accounting),
            "rejected_by_reason": rejected_to_json(&lane.accounting),
            "map": map_to_json(&lane.accounting),
            "windows": lane.windows,
            "unfinished_windows": unfinished_to_json(&lane.unfinished),
            "watermark": lane.watermark.map(show::instant),
        });
        (number.to_string(), lane)
    });
    lanes.collect::<serde_json::Map<_, _>>().into()
}
