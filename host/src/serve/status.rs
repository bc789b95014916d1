//! What the process is about, as JSON: pipeline by pipeline, lane by lane. `docs/operations.md` describes it.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::process::ProcessFigures;
use crate::pipeline::Accounting;
use crate::pipeline::telemetry::{
    HeavyKey, HistogramSnapshot, LaneTelemetry, PipelineState, PipelineTelemetry, QueueFill,
    RequestCounts, SplitStatus, Telemetry,
};
use crate::text;

/// The whole of it. `uptime_s`: for how long the process has been up.
pub(super) fn status(telemetry: &Telemetry, started: i64, uptime_s: f64, stopping: bool) -> Value {
    let process = ProcessFigures::look();
    let pipelines: Vec<Value> = telemetry
        .pipelines()
        .iter()
        .map(|(name, pipeline)| of_pipeline(name, pipeline))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": text::instant(started),
        "uptime_s": uptime_s,
        "stopping": stopping,
        "process": {
            "cpu_s": process.cpu_s,
            "resident_bytes": process.resident_bytes,
            "threads": process.threads,
            "open_files": process.open_files,
        },
        "pipelines": pipelines,
    })
}

fn of_pipeline(name: &str, pipeline: &PipelineTelemetry) -> Value {
    let state = pipeline.state();
    let reason = match &state {
        PipelineState::Failed(reason) => Some(reason.as_str()),
        _ => None,
    };
    let generation = pipeline.generation();
    let totals = pipeline.totals();
    let recorded = pipeline.recorded();
    let (splits, lanes) = (pipeline.splits(), pipeline.lanes());
    let deliveries = pipeline.deliveries();
    json!({
        "pipeline": name,
        "state": state.name(),
        "reason": reason,
        "generation": {
            "number": generation.number,
            "transform": generation.transform,
            "mapper": generation.mapper,
        },
        "recorded": recorded.map(|read| json!({
            "bytes": read.bytes,
            "bytes_read": read.bytes_read,
            "records_read": read.records_read,
        })),
        "events": events(&totals.accounting),
        "rejected_by_reason": rejected(&totals.accounting),
        "bootstrap_rows": pipeline.bootstrap_rows(),
        "windows": totals.windows,
        "rows": totals.output_rows,
        "feature_values": totals.values,
        "invalid_values": totals.invalid,
        "watermark": pipeline.watermark().and_then(instant),
        "splits": splits.iter().map(|split| of_split(split, pipeline)).collect::<Vec<_>>(),
        "lanes": lanes.iter().map(|(number, lane)| of_lane(*number, lane)).collect::<Vec<_>>(),
        "delivery_queues": deliveries
            .iter()
            .map(|(lane, delivery)| json!({
                "lane": lane.parse::<u32>().ok(),
                "queue": delivery.queue.get().map(queue),
            }))
            .collect::<Vec<_>>(),
        "parts": pipeline
            .parts()
            .iter()
            .map(|(part, doing, since)| json!({
                "part": part,
                "doing": doing.name(),
                "for_s": since.as_secs_f64(),
            }))
            .collect::<Vec<_>>(),
    })
}

fn of_split(split: &SplitStatus, pipeline: &PipelineTelemetry) -> Value {
    let readers = pipeline.readers();
    let reader = readers.iter().find(|(name, _)| *name == split.split);
    json!({
        "split": split.split,
        "position": split.position,
        "end": split.end,
        "lag_records": split.lag,
        "behind_s": split.behind.map(|behind| behind.as_secs_f64()),
        "throttled": split.throttled,
        "paused": split.paused,
        "pauses": split.pauses,
        "held_bytes": split.held_bytes,
        "freshness": reader.map(|(_, reader)| durations(&reader.freshness.snapshot())),
    })
}

fn of_lane(number: u32, lane: &LaneTelemetry) -> Value {
    let load = |at: &std::sync::atomic::AtomicU64| at.load(Ordering::Relaxed);
    let accounting = lane.accounts.here();
    json!({
        "lane": number,
        "split": lane.split,
        "watermark": lane.watermark.get().and_then(instant),
        "events": events(&accounting),
        "windows": lane.windows(),
        "rows": load(&lane.output_rows),
        "feature_values": load(&lane.values),
        "invalid_values": load(&lane.invalid),
        "commit_age_s": lane.since_commit().map(|age| age.as_secs_f64()),
        "commits": durations(&lane.commits.snapshot()),
        "batches": durations(&lane.batches.snapshot()),
        "switches": durations(&lane.switches.snapshot()),
        "longest_switch_s": load(&lane.longest_switch) as f64 / 1e6,
        "state_bytes": lane.state_bytes.get(),
        "resident_keys": lane.resident_keys.get(),
        "heavy_keys": lane.heavy_keys().iter().map(heavy_key).collect::<Vec<_>>(),
        "outbox_entries": lane.outbox_entries.get(),
        "store": lane.store_requests().map(|counts| of_store(&counts, lane.open_for().as_secs_f64())),
        "traps": load(&lane.traps),
        "unfinished_windows": {
            "kept": lane.unfinished.get(),
            "dropped": load(&lane.unfinished_dropped),
            "tried_again": load(&lane.unfinished_tried),
            "finished": load(&lane.unfinished_finished),
        },
        "queue": lane.queue.get().map(queue),
    })
}

/// What a lane's database has asked for in the time since it was opened.
fn of_store(counts: &RequestCounts, for_s: f64) -> Value {
    let per_hour = (for_s > 0.0).then(|| counts.all() as f64 / for_s * 3600.0);
    let requests: serde_json::Map<String, Value> = counts
        .by_name()
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count.into()))
        .collect();
    json!({
        "requests": requests,
        "read_bytes": counts.read_bytes,
        "written_bytes": counts.written_bytes,
        "for_s": for_s,
        "requests_per_hour": per_hour,
    })
}

fn heavy_key(heavy: &HeavyKey) -> Value {
    let key: Option<Value> = serde_json::from_str(&heavy.key).ok();
    json!({"key": key, "share": heavy.share})
}

/// As in the summary of a run.
fn events(accounting: &Accounting) -> Value {
    json!({
        "read": accounting.read,
        "applied": accounting.applied,
        "partly_late": accounting.partly_late,
        "filtered": accounting.filtered,
        "rejected": accounting.rejected_in_all(),
        "late": accounting.late,
        "quarantined": accounting.quarantined,
        "poisoned": accounting.poisoned,
    })
}

fn rejected(accounting: &Accounting) -> Vec<Value> {
    let rejected = accounting.rejected.iter();
    rejected
        .map(|(reason, count)| json!({"stage": reason.stage, "code": reason.code, "rows": count}))
        .collect()
}

/// `p50_at_most_s` is a bound that half of them are not above; null above the greatest bound there is.
fn durations(durations: &HistogramSnapshot) -> Value {
    let at_most = |quantile| {
        let bound = durations.at_most_s(quantile);
        bound.filter(|bound| bound.is_finite())
    };
    json!({
        "count": durations.count(),
        "mean_s": durations.mean_s(),
        "p50_at_most_s": at_most(0.5),
        "p99_at_most_s": at_most(0.99),
    })
}

fn queue(fill: &QueueFill) -> Value {
    json!({"bytes": fill.bytes(), "bound_bytes": fill.bound()})
}

/// No time stands for a watermark before the first row, or after the last.
fn instant(micros: i64) -> Option<String> {
    (micros != i64::MAX).then(|| text::instant(micros))
}
