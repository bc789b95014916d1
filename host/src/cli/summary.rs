//! What a run did, for a person and as JSON.

use std::time::Duration;

use serde_json::json;

use super::show::{self, say};
use crate::config::print_duration;
use crate::pipeline::kept::UnfinishedCounts;
use crate::pipeline::{Accounting, RunReport};

pub(super) fn print(report: &RunReport, elapsed: Duration) {
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
    if accounting.poisoned > 0 {
        let poisoned = show::count(accounting.poisoned);
        say!(
            "warning    the transform failed on {poisoned} events; the rejects of stage `poison` say why"
        );
    }
    if report.values == 0 && report.invalid > 0 {
        say!("warning    no feature value was written; the invalid values say why");
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

/// Windows that could not be finished, and what became of them.
pub(super) fn unfinished_to_json(counts: &UnfinishedCounts) -> serde_json::Value {
    json!({
        "kept": counts.kept,
        "dropped": counts.dropped,
        "tried_again": counts.tried,
        "finished": counts.finished,
    })
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

pub(super) fn to_json(report: &RunReport, elapsed: Duration) -> serde_json::Value {
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
