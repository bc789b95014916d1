//! Rows that come too late over several shards. Which they are depends on which shard is read first; that
//! the store is what follows from the others does not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::pipeline::pause;
use super::shards::Shards;

/// Of windows of a minute by the key and the end, in milliseconds: rows, and the sum of amounts.
type Windows = BTreeMap<(u64, i64), (u64, f64)>;

#[test]
fn the_store_is_what_the_input_less_the_late_output_gives() {
    for seed in 0..2 {
        let mut shards = Shards::new(&format!("live-late-{seed}"), 3, 950 + seed);
        shards.disordered = Some(Vec::new());
        let window = "kind = \"tumbling\"\nsize = \"1m\"\nidle_after = \"1h\"";
        let run = format!("lanes = {}\ncommit_every = \"10ms\"", 1 + seed);
        let pipeline = shards.pipeline(window, &run);
        for _ in 0..2 {
            shards.write(1_000);
            let process = pipeline.start("one");
            pause(Duration::from_millis(1_200));
            shards.write(1_000);
            process.kill();
        }
        shards.finish(&pipeline);
        let summary = pipeline.folder.text("last.stdout");
        let summary: Value = serde_json::from_str(&summary).unwrap();
        let mut late = BTreeSet::new();
        let mut watermark = i64::MAX;
        for (lane, account) in summary[0]["lanes"].as_object().unwrap() {
            let file = format!("out/totals.late/{lane}.ndjson");
            for line in pipeline.folder.text(&file).lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                let note = line["record"]["note"].as_str().unwrap().to_owned();
                assert!(late.insert(note), "it is told twice: {line}");
            }
            let reached: jiff::Timestamp = account["watermark"].as_str().unwrap().parse().unwrap();
            watermark = watermark.min(reached.as_millisecond());
        }
        assert_eq!(summary[0]["events"]["late"], late.len());
        assert!(!late.is_empty());
        let windows = in_time(shards.disordered.as_ref().unwrap(), &late);
        check(&pipeline.store(), &windows, watermark);
        println!(
            "seed {seed}: {} of {} rows came too late",
            late.len(),
            shards.written
        );
    }
}

/// The windows of all rows that are neither refused nor late.
fn in_time(lines: &[String], late: &BTreeSet<String>) -> Windows {
    let mut windows = Windows::new();
    for line in lines {
        let Ok(row) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let amount = row["amount"].as_f64();
        let is_late = row["note"].as_str().is_some_and(|note| late.contains(note));
        let Some(key) = row["key"].as_u64() else {
            continue;
        };
        if is_late || amount.is_some_and(|amount| amount < 0.0) {
            continue;
        }
        let end = (row["at"].as_i64().unwrap() / 60_000 + 1) * 60_000;
        let window = windows.entry((key, end)).or_default();
        window.0 += 1;
        window.1 += amount.unwrap_or(0.0);
    }
    windows
}

/// The store has the newest window of each key that is closed at this time.
fn check(store: &[String], windows: &Windows, watermark: i64) {
    let closed = windows.iter().filter(|((_, end), _)| *end <= watermark);
    let newest: BTreeMap<u64, (i64, u64, f64)> = closed
        .map(|((key, end), (rows, sum))| (*key, (*end, *rows, *sum)))
        .collect();
    assert!(newest.len() > 20, "many keys have closed windows");
    for (key, (end, rows, sum)) in newest {
        let found = |feature: &str| {
            let start = format!("{key} {feature} ");
            let line = store.iter().find(|line| line.starts_with(&start));
            let line = line.unwrap_or_else(|| panic!("{start}is not in the store"));
            let found = number(line.strip_prefix(&start).unwrap());
            found.unwrap_or_else(|| panic!("{line}"))
        };
        let expected = (end * 1_000, rows as f64);
        assert_eq!(found("rows_1m"), expected, "rows of key {key}");
        // Greater sums are invalid, and not written.
        if sum <= 3_000.0 {
            let (at, value) = found("sum_1m");
            assert_eq!(at, end * 1_000, "the sum of key {key}");
            assert!(
                (value - sum).abs() <= 1e-9 * sum.abs(),
                "{value} is not {sum}"
            );
        }
    }
}

/// The event time of `Some((TIME, … [ NUMBER, ] …))`, and its number.
fn number(text: &str) -> Option<(i64, f64)> {
    let (at, value) = text.strip_prefix("Some((")?.split_once(", ")?;
    let (_, value) = value.split_once('[')?;
    let value = value.split_once(',')?.0.trim();
    Some((at.parse().ok()?, value.parse().ok()?))
}
