//! The answers, parsed back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::pipeline::Accounting;
use crate::pipeline::telemetry::by_hand::ByHand;
use crate::pipeline::telemetry::{Generation, HeavyKey, PipelineState, SplitStatus};
use crate::stage::Stage;

/// A sample's name and labels, and its value.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads the text format as <https://prometheus.io/docs/instrumenting/exposition_formats/> has it, and asserts that
/// every sample belongs to the family that was described last.
fn parse(text: &str) -> (BTreeMap<String, String>, Samples) {
    let (mut families, mut samples) = (BTreeMap::new(), Samples::new());
    let mut helped = BTreeSet::new();
    let mut current = (String::new(), String::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(!help.is_empty() && !help.ends_with('.'), "{line}");
            assert!(helped.insert(name.to_owned()), "twice: {line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(helped.contains(name), "no help: {line}");
            current = (name.to_owned(), kind.to_owned());
            assert!(families.insert(name.to_owned(), kind.to_owned()).is_none());
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let (name, labels, value) = parse_sample(line);
            let (family, kind) = &current;
            let suffixes: &[&str] = match kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            let is_of_family = |suffix: &&str| name == format!("{family}{suffix}");
            assert!(suffixes.iter().any(is_of_family), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(
                samples.insert((name, labels), value).is_none(),
                "twice: {line}"
            );
        }
    }
    (families, samples)
}

fn parse_sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let name_end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").unwrap();
            let (mut value, mut characters) = (String::new(), after.char_indices());
            let end = loop {
                match characters.next().unwrap() {
                    (_, '\\') => value.push(match characters.next().unwrap().1 {
                        'n' => '\n',
                        other => other,
                    }),
                    (at, '"') => break at,
                    (_, character) => value.push(character),
                }
            };
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = &after[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    (name.to_owned(), labels, rest.trim().parse().unwrap())
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Two lanes of a live pipeline at work, with everything that may be told.
fn at_work(clock: &Arc<ByHand>) -> Arc<Telemetry> {
    let shared = Arc::clone(clock) as Arc<dyn Clock>;
    let telemetry = Telemetry::new(Arc::clone(&shared));
    let pipeline = telemetry.pipeline("rides");
    pipeline.set_state(PipelineState::Running);
    pipeline.set_generation(Generation {
        number: Some(3),
        transform: "sha256:12".into(),
        mapper: None,
    });
    let mut read = Accounting {
        read: 20,
        ..Accounting::default()
    };
    read.reject(Stage::Decode, "bad \"json\"\n");
    let reader = pipeline.reader("t/0", &shared);
    reader.accounts.publish(&read);
    reader.arrived(100, 0, 12);
    reader.readable(100, 2_000_000);
    pipeline.set_splits(|| {
        vec![SplitStatus {
            split: "t/0".into(),
            position: Some(100),
            end: Some(130),
            lag: Some(30),
            behind: Some(Duration::from_millis(1_500)),
            paused: true,
            held_bytes: 7,
            pauses: 2,
            throttled: Some(3),
        }]
    });
    for number in 0..2 {
        let lane = pipeline.lane(number, Some("t/0"), &shared);
        let mut accounting = Accounting {
            applied: 6,
            late: 2,
            ..Accounting::default()
        };
        for code in 0..70 {
            accounting.reject(Stage::Transform, &format!("code{code:02}"));
        }
        lane.awaits_commits();
        let began = lane.batch_begins();
        clock.pass(Duration::from_millis(30));
        lane.batch_ends(began, &accounting, 4, 1_500_000);
        lane.heartbeat.rest();
        lane.delivered(5, 9, 1);
        lane.committed(lane.heartbeat.now());
        lane.state_bytes.set(1_000);
        lane.resident_keys.set(10);
        lane.outbox_entries.set(2);
        let _ = lane.store.set(Arc::default());
        lane.set_heavy_keys(vec![HeavyKey {
            key: r#"{"driver_id":42}"#.to_owned(),
            share: 0.5,
        }]);
        lane.traps.fetch_add(1, Ordering::Relaxed);
    }
    pipeline.delivery("1", &shared).heartbeat.work();
    clock.pass(Duration::from_secs(4));
    Arc::new(telemetry)
}

fn exposed(telemetry: &Arc<Telemetry>, accept: Option<&str>) -> (&'static str, String) {
    let admin = Admin::new(Arc::clone(telemetry), Arc::default(), true, None);
    exposition::expose(&admin.registry, accept).unwrap()
}

#[test]
fn every_metric_parses_and_says_what_was_told() {
    let clock = Arc::new(ByHand::default());
    let telemetry = at_work(&clock);
    let (kind, text) = exposed(&telemetry, None);
    assert_eq!(kind, exposition::CLASSIC);
    let (families, samples) = parse(&text);
    let value = |name: &str, of: &[(&str, &str)]| {
        let mut pairs = vec![("pipeline", "rides")];
        pairs.extend_from_slice(of);
        let key = (name.to_owned(), labels(&pairs));
        *samples
            .get(&key)
            .unwrap_or_else(|| panic!("{key:?} is not in\n{text}"))
    };
    assert_eq!(
        value("penstock_pipeline_state", &[("state", "running")]),
        1.0
    );
    assert_eq!(
        value("penstock_pipeline_state", &[("state", "failed")]),
        0.0
    );
    assert_eq!(value("penstock_pipeline_generation", &[]), 3.0);
    assert_eq!(value("penstock_records_read_total", &[]), 20.0);
    assert_eq!(
        value("penstock_rows_total", &[("outcome", "applied")]),
        12.0
    );
    assert_eq!(
        value("penstock_rows_total", &[("outcome", "rejected")]),
        141.0
    );
    assert_eq!(
        value("penstock_lane_rows_applied_total", &[("lane", "1")]),
        6.0
    );
    assert_eq!(value("penstock_windows_closed_total", &[]), 8.0);
    assert_eq!(value("penstock_feature_values_total", &[]), 18.0);
    assert_eq!(
        value("penstock_split_lag_records", &[("split", "t/0")]),
        30.0
    );
    assert_eq!(
        value("penstock_split_behind_seconds", &[("split", "t/0")]),
        1.5
    );
    assert_eq!(
        value("penstock_split_throttled_total", &[("split", "t/0")]),
        3.0
    );
    assert_eq!(value("penstock_split_paused", &[("split", "t/0")]), 1.0);
    assert_eq!(
        value("penstock_split_pauses_total", &[("split", "t/0")]),
        2.0
    );
    let lane = [("lane", "0")];
    assert_eq!(
        value("penstock_lane_watermark_timestamp_seconds", &lane),
        1.5
    );
    // The other lane took up its batch 30 ms later.
    assert_eq!(value("penstock_lane_commit_age_seconds", &lane), 4.03);
    assert_eq!(value("penstock_commit_duration_seconds_count", &lane), 1.0);
    assert_eq!(value("penstock_batch_duration_seconds_sum", &lane), 0.03);
    let bucket = |le| {
        value(
            "penstock_freshness_seconds_bucket",
            &[("split", "t/0"), ("le", le)],
        )
    };
    assert_eq!(
        (bucket("1.0"), bucket("2.5"), bucket("+Inf")),
        (0.0, 12.0, 12.0)
    );
    assert_eq!(
        value("penstock_part_busy_seconds", &[("part", "delivery 1")]),
        4.0
    );
    assert_eq!(
        value("penstock_part_busy_seconds", &[("part", "lane 0")]),
        0.0
    );
    assert_eq!(families["penstock_rows_total"], "counter");
    assert_eq!(families["penstock_freshness_seconds"], "histogram");
    assert_eq!(families["process_cpu_seconds_total"], "counter");
}

#[test]
fn codes_beyond_the_bound_are_one_series() {
    let clock = Arc::new(ByHand::default());
    let (_, text) = exposed(&at_work(&clock), None);
    let (_, samples) = parse(&text);
    let codes: Vec<(&String, f64)> = samples
        .iter()
        .filter(|((name, labels), _)| {
            name == "penstock_rows_rejected_total" && labels["stage"] == "transform"
        })
        .map(|((_, labels), value)| (&labels["code"], *value))
        .collect();
    assert_eq!(codes.len(), metrics::MOST_CODES + 1);
    let all: f64 = codes.iter().map(|(_, count)| count).sum();
    assert_eq!(all, 140.0);
    let other = codes.iter().find(|(code, _)| *code == "other").unwrap();
    assert_eq!(other.1, 2.0 * 6.0);
    // What a source or a guest says comes out as it was said.
    let odd = samples.keys().any(|(_, labels)| {
        labels
            .get("code")
            .is_some_and(|code| code == "bad \"json\"\n")
    });
    assert!(odd, "{text}");
}

#[test]
fn open_metrics_are_given_to_who_asks() {
    let clock = Arc::new(ByHand::default());
    let accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3";
    let (kind, text) = exposed(&at_work(&clock), Some(accept));
    assert_eq!(kind, exposition::OPEN_METRICS);
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE penstock_rows counter\n"));
    assert!(text.contains("# UNIT penstock_freshness_seconds seconds\n"));
    let (_, plain) = exposed(&at_work(&Arc::default()), None);
    let samples = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| line.starts_with("penstock"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(samples(&text), samples(&plain));
}

#[test]
fn the_status_has_every_lane_and_the_sums() {
    let clock = Arc::new(ByHand::default());
    let telemetry = at_work(&clock);
    let status = status::status(&telemetry, 0, 5.0, true);
    assert_eq!(status["started"], "1970-01-01T00:00:00Z");
    assert_eq!(status["stopping"], true);
    let pipeline = &status["pipelines"][0];
    assert_eq!(pipeline["pipeline"], "rides");
    assert_eq!(pipeline["state"], "running");
    assert_eq!(pipeline["generation"]["number"], 3);
    assert_eq!(pipeline["events"]["read"], 20);
    assert_eq!(pipeline["events"]["applied"], 12);
    assert_eq!(pipeline["rejected_by_reason"][0]["stage"], "decode");
    assert_eq!(pipeline["watermark"], "1970-01-01T00:00:01.5Z");
    assert_eq!(pipeline["splits"][0]["lag_records"], 30);
    let lane = &pipeline["lanes"][1];
    assert_eq!((&lane["lane"], &lane["split"]), (&1.into(), &"t/0".into()));
    assert_eq!(lane["commit_age_s"], 4.0);
    assert_eq!(lane["batches"]["count"], 1);
    assert_eq!(lane["batches"]["p99_at_most_s"], 0.05);
    assert_eq!(lane["resident_keys"], 10);
    assert_eq!(lane["store"]["requests"]["put"], 0);
    assert_eq!(lane["store"]["requests_per_hour"], 0.0);
    let heavy = serde_json::json!([{"key": {"driver_id": 42}, "share": 0.5}]);
    assert_eq!(lane["heavy_keys"], heavy);
    assert_eq!(pipeline["parts"][0]["part"], "reader t/0");
}

#[test]
fn a_server_answers_and_ends() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let clock = Arc::new(ByHand::default());
    let telemetry = at_work(&clock);
    let stopping = Arc::new(AtomicBool::new(false));
    let start = |address: &str| {
        let telemetry = Arc::clone(&telemetry);
        let what = Answering {
            operations: None,
            telemetry,
            stopping: Arc::clone(&stopping),
            is_run: true,
            admin: Some(address),
            features: None,
        };
        Server::start(runtime.handle(), what)
    };
    let server = start("127.0.0.1:0").unwrap();
    let address = server.admin().unwrap().to_string();
    let taken = start(&address).unwrap_err().to_string();
    assert!(taken.contains("another process does already"), "{taken}");
    for nowhere in ["nowhere.invalid:1", "192.0.2.1:1", "127.0.0.1"] {
        let error = start(nowhere).unwrap_err().to_string();
        assert!(
            error.contains(&format!("cannot listen on {nowhere}")),
            "{error}"
        );
    }
    let ask = |path: &str| {
        let url = format!("http://{address}{path}");
        runtime.block_on(async {
            let answer = reqwest::get(url).await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    };
    assert_eq!(ask("/health"), (200, "ok\n".into()));
    assert_eq!(ask("/ready"), (200, "ok\n".into()));
    assert_eq!(ask("/metrics").0, 200);
    assert_eq!(ask("/nothing").0, 404);
    let status: serde_json::Value = serde_json::from_str(&ask("/status").1).unwrap();
    assert_eq!(status["pipelines"][0]["pipeline"], "rides");
    clock.pass(Duration::from_secs(1_000));
    let (code, reason) = ask("/health");
    assert_eq!(code, 503);
    assert!(reason.contains("its delivery 1 has worked"), "{reason}");
    stopping.store(true, Ordering::Relaxed);
    assert_eq!(ask("/ready"), (503, "the process is stopping\n".into()));
    server.close();
    start(&address).unwrap().close();
}
