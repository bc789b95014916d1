//! Pipelines over streams of Kinesis: killed, while shards are split and merged, throttled, refused.

use std::process::Command;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::pipeline::{Pipeline, Process, beside, pause, wait};
use super::shards::{Shards, caught_up, status};
use crate::crash::in_pairs;
use crate::crash::stream::WINDOWS;
use crate::kinesis::proxy::{Fate, Proxy};
use crate::kinesis::stream::SHARED;
use crate::support::ask;

/// Events of a schedule, and the pieces in which they come.
const EVENTS: u32 = 6_000;
const PIECES: u32 = 30;
/// Kills of one schedule.
const KILLS: u32 = 3;

/// How lanes are told to commit.
const RUN: &str = "commit_every = \"10ms\"";

/// Windows whose outcome does not depend on which shard is read first.
fn window(seed: u64) -> String {
    // A machine with much to do may leave a shard unread for as long as a minute.
    format!("{}\nidle_after = \"1h\"", WINDOWS[seed as usize % 4])
}

/// The schedules are random; `PENSTOCK_CASES` multiplies their number.
#[test]
fn a_killed_pipeline_over_shards_that_are_split_and_merged_leaves_what_an_undisturbed_one_leaves() {
    let seeds = in_pairs(6, schedule);
    println!("schedules of seeds {seeds:?}, {KILLS} kills each");
}

fn schedule(seed: u64) {
    let lanes = 1 + seed as u32 % 3;
    let run = format!("lanes = {lanes}\ncommit_every = \"5ms\"");
    let mut shards = Shards::new(&format!("live-killed-{seed}"), 2, seed);
    let disturbed = shards.pipeline(&window(seed), &run);
    let mut random = Pcg64::seed_from_u64(seed);
    let shards = beside(
        || {
            for piece in 0..PIECES {
                shards.write(EVENTS / PIECES);
                if piece % 8 == 7 {
                    shards.reshard(piece / 8);
                }
                pause(Duration::from_millis(50));
            }
            shards
        },
        || {
            for _ in 0..KILLS {
                let process = disturbed.start("one");
                pause(Duration::from_millis(random.random_range(300..3_000)));
                process.kill();
            }
        },
    );
    let disturbed = shards.finish(&disturbed);
    let undisturbed = shards.finish(&shards.pipeline(&window(seed), &run));
    disturbed.is(&undisturbed, &format!("seed {seed}"));
}

#[test]
fn a_service_that_throttles_fails_and_cuts_makes_no_difference() {
    let mut shards = Shards::new("live-throttled", 2, 900);
    shards.write(1_000);
    shards.reshard(0);
    shards.write(1_000);
    let mut count = 0;
    let proxy = Proxy::start(SHARED.port(), move |action, _| {
        if !["GetRecords", "GetShardIterator"].contains(&action) {
            return Fate::Pass;
        }
        count += 1;
        match count % 9 {
            1 | 2 => Fate::Refuse(
                400,
                "ProvisionedThroughputExceededException",
                "Rate exceeded",
            ),
            4 => Fate::Refuse(500, "InternalFailure", "oops"),
            6 => Fate::Cut(900),
            7 => Fate::Refuse(400, "ExpiredIteratorException", "Iterator expired"),
            _ => Fate::Pass,
        }
    });
    let mistreated = shards.pipeline_at(&proxy.endpoint(), "", &window(0), RUN);
    let mut process = mistreated.start("one");
    let address = caught_up(&mut process);
    let (_, metrics) = ask(&address, "/metrics");
    let throttled = metrics.lines().filter_map(|line| {
        let line = line.strip_prefix("penstock_split_throttled_total")?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    });
    assert!(throttled.sum::<f64>() > 0.0, "{metrics}");
    process.stop();
    let mistreated = shards.finish(&mistreated);
    let other = shards.finish(&shards.pipeline(&window(0), RUN));
    mistreated.is(&other, "a service that throttles");
}

#[test]
fn shards_that_are_subscribed_to_give_what_polled_ones_give() {
    let mut shards = Shards::new("live-fan-out", 2, 908);
    shards.write(1_000);
    let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
    let consumer = "consumer = \"penstock\"";
    let subscribed = shards.pipeline_at(&endpoint, consumer, &window(1), RUN);
    let process = subscribed.start("one");
    pause(Duration::from_millis(1_500));
    process.kill();
    shards.write(1_000);
    let subscribed = shards.finish(&subscribed);
    let polled = shards.finish(&shards.pipeline(&window(1), RUN));
    subscribed.is(&polled, "enhanced fan-out");
}

#[test]
fn what_is_told_of_shards_has_their_names() {
    let mut shards = Shards::new("live-told", 2, 901);
    shards.write(500);
    shards.reshard(0);
    shards.write(500);
    let pipeline = shards.pipeline(&window(0), &format!("lanes = 2\n{RUN}"));
    let mut process = pipeline.start("one");
    let address = caught_up(&mut process);
    let told = status(&address);
    let splits = told["splits"].as_array().unwrap().iter();
    let mut names: Vec<&str> = splits.map(|it| it["split"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "shardId-000000000001",
            "shardId-000000000002",
            "shardId-000000000003"
        ],
        "{told}"
    );
    let is_caught_up = |told: &serde_json::Value| {
        let mut splits = told["splits"].as_array().unwrap().iter();
        splits.all(|split| split["behind_s"] == 0.0)
    };
    wait(
        || is_caught_up(&status(&address)) && status(&address)["events"]["read"] == 1_000,
        || format!("all is read: {}", status(&address)),
    );
    let (_, metrics) = ask(&address, "/metrics");
    for line in [
        "penstock_split_behind_seconds{pipeline=\"totals\",split=\"shardId-000000000002\"} 0",
        "penstock_records_read_total{pipeline=\"totals\"} 1000",
        "penstock_pipeline_lanes{pipeline=\"totals\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let summary = process.stop();
    assert_eq!(summary[0]["lanes"].as_object().unwrap().len(), 2);
    let rejects = (0..2).map(|lane| {
        pipeline
            .folder
            .text(&format!("out/totals.rejects/{lane}.ndjson"))
    });
    let rejects: String = rejects.collect();
    assert!(
        rejects.contains("\"file\":\"live-told/shardId-00000000000"),
        "{rejects}"
    );
}

#[test]
fn a_shard_on_which_nothing_comes_holds_nobody_up() {
    let shards = Shards::new("live-idle", 2, 902);
    let at = |second: u32| format!("{{\"at\":{}000,\"key\":1,\"amount\":1.0}}", second);
    let events: Vec<_> = (0..200).map(|second| ("1", at(second))).collect();
    shards.stream.put(events);
    let idle = "kind = \"tumbling\"\nsize = \"1m\"\nidle_after = \"500ms\"";
    let waiting = shards.pipeline(idle, RUN);
    let mut process = waiting.start("one");
    caught_up(&mut process);
    let value = |pipeline: &Pipeline| {
        let values = pipeline.store().into_iter();
        let mut values = values.filter(|line| line.starts_with("1 rows_1m"));
        values.next().unwrap_or_default()
    };
    // The other shard is left out; the disorder is kept, so the window that ends at 180 is closed.
    let closed = |at: u32| format!("Some(({at}000000, ");
    wait(
        || value(&waiting).contains(&closed(180)),
        || format!("windows close: {}", value(&waiting)),
    );
    process.stop();
    // Where all are idle, and the pipeline says so, time goes on to the last event.
    shards.stream.put([("1", at(239)), ("1", at(240))]);
    let advancing = shards.pipeline(&format!("{idle}\non_idle = \"advance\""), RUN);
    let mut process = advancing.start("one");
    caught_up(&mut process);
    wait(
        || value(&advancing).contains(&closed(240)),
        || format!("the last window closes: {}", process.stderr()),
    );
    process.is_alive();
    process.stop();
}

#[test]
fn a_second_process_takes_over_and_the_first_one_ends() {
    let mut shards = Shards::new("live-twice", 2, 903);
    shards.write(300);
    let pipeline = shards.pipeline(&window(0), RUN);
    let mut first = pipeline.start("one");
    caught_up(&mut first);
    let mut second = pipeline.start("two");
    caught_up(&mut second);
    shards.write(300);
    first.fails(2, &["another process works on it by now"]);
    second.is_alive();
    second.stop();
    let left = shards.finish(&pipeline);
    let other = shards.finish(&shards.pipeline(&window(0), RUN));
    left.is(&other, "two processes after each other");
}

#[test]
fn newest_records_are_what_came_after_the_first_start() {
    let mut shards = Shards::new("live-latest", 2, 904);
    shards.write(200);
    // The service tells its time in seconds: what came within the same second as the start counts as new.
    pause(Duration::from_millis(1_500));
    let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
    let pipeline = shards.pipeline_at(&endpoint, "start = \"latest\"", &window(0), RUN);
    let mut process = pipeline.start("one");
    caught_up(&mut process);
    process.stop();
    // Nobody was there when these came, and nothing of them is lost.
    shards.written = 0;
    shards.write(300);
    shards.finish(&pipeline);
}

fn started(name: &str, change: impl FnOnce(&str) -> String) -> (Shards, Pipeline, Process) {
    let mut shards = Shards::new(name, 1, 905);
    shards.write(50);
    let pipeline = shards.pipeline(&window(0), RUN);
    let environment = change(&pipeline.folder.text("penstock.toml"));
    pipeline.folder.write("penstock.toml", environment);
    let process = pipeline.start_with("one", without_credentials);
    (shards, pipeline, process)
}

/// Nothing of this machine is to be found.
fn without_credentials(command: &mut Command) {
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ] {
        command.env_remove(name);
    }
    command
        .env("AWS_CONFIG_FILE", "nowhere")
        .env("AWS_SHARED_CREDENTIALS_FILE", "nowhere")
        .env("AWS_EC2_METADATA_DISABLED", "true");
}

#[test]
fn what_cannot_be_read_is_told_at_once() {
    let (_shards, _pipeline, process) = started("live-misspelt", |text| {
        text.replace("\"live-misspelt\"", "\"live-mispelt\"")
    });
    process.fails(2, &["pipeline totals", "`live-mispelt`", "make the stream"]);
    let (_shards, _pipeline, process) = started("live-nobody", |text| {
        let lines = text.lines().filter(|line| !line.starts_with("aws_"));
        lines.collect::<Vec<_>>().join("\n")
    });
    process.fails(2, &["pipeline totals", "there are no credentials for AWS"]);
}

#[test]
fn state_of_another_stream_is_not_taken_over() {
    let (mut shards, pipeline, mut process) = started("live-one", str::to_owned);
    caught_up(&mut process);
    process.stop();
    let other = Shards::new("live-other", 1, 906);
    let environment = pipeline.folder.text("penstock.toml");
    let environment = environment.replace("\"live-one\"", "\"live-other\"");
    pipeline.folder.write("penstock.toml", &environment);
    pipeline
        .start("two")
        .fails(2, &["stream was another", "--fresh"]);
    drop(other);
    let environment = environment.replace("\"live-other\"", "\"live-one\"");
    pipeline.folder.write("penstock.toml", environment);
    shards.write(50);
    shards.finish(&pipeline);
}

#[test]
fn records_that_are_gone_stop_a_pipeline_unless_it_may_go_on() {
    let mut shards = Shards::new("live-gone", 1, 907);
    shards.write(100);
    // A service may begin with the oldest record that it has, in place of the one that is asked for.
    let proxy = Proxy::start(SHARED.port(), |_, body| {
        match body.contains("AT_SEQUENCE_NUMBER") {
            true => Fate::Rewrite(body.replace("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")),
            false => Fate::Pass,
        }
    });
    let pipeline = shards.pipeline_at(&proxy.endpoint(), "", &window(0), RUN);
    let mut process = pipeline.start("one");
    caught_up(&mut process);
    process.stop();
    shards.write(100);
    let shard = "shardId-000000000000";
    pipeline
        .start("two")
        .fails(2, &[shard, "does not hold what comes next", "on_missing"]);
    let environment = pipeline.folder.text("penstock.toml");
    let going_on = "event_time = \"at\"\non_missing = \"earliest\"";
    let environment = environment.replace("event_time = \"at\"", going_on);
    pipeline.folder.write("penstock.toml", environment);
    // What is still there was counted, and is not counted again.
    shards.finish(&pipeline);
    let other = shards.pipeline(&window(0), RUN);
    shards.finish(&other);
    assert_eq!(pipeline.store(), other.store());
}
