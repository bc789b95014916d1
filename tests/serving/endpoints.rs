//! Health, readiness, metrics and status of a run.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use penstock::pipeline::Progress;
use penstock::pipeline::telemetry::{Doing, PipelineState};
use rustix::process::Signal;
use serde_json::Value;

use super::{flights, start};
use crate::support::{Tuning, ask};

/// Asks until the answer is as wanted.
fn wait_for(address: &str, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
    loop {
        let (code, text) = ask(address, path);
        if wanted(code, &text) {
            return text;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn a_run_answers_while_it_works() {
    let folder = flights("");
    let listen = ["--listen", "127.0.0.1:0", "--speed", "1x", "--lanes", "2"];
    let mut run = start(&folder, &listen);
    let address = run.address.clone();
    assert_eq!(ask(&address, "/health"), (200, "ok\n".into()));
    // Opening the pipeline takes a while, and after the first row it waits 1,000 s for the second.
    wait_for(&address, "/ready", |code, _| code == 200);
    let status = wait_for(&address, "/status", |_, text| {
        let status: Value = serde_json::from_str(text).unwrap();
        status["pipelines"][0]["events"]["applied"] == 1
    });
    let status: Value = serde_json::from_str(&status).unwrap();
    let pipeline = &status["pipelines"][0];
    assert_eq!(pipeline["pipeline"], "pipeline");
    assert_eq!(pipeline["state"], "running");
    assert!(
        pipeline["generation"]["transform"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert_eq!(pipeline["lanes"].as_array().unwrap().len(), 2);
    let parts = pipeline["parts"].as_array().unwrap();
    let parts: Vec<&str> = parts
        .iter()
        .map(|part| part["part"].as_str().unwrap())
        .collect();
    assert_eq!(parts, ["reader", "lane 0", "lane 1", "delivery"]);
    let (code, metrics) = ask(&address, "/metrics");
    assert_eq!(code, 200);
    for line in [
        "penstock_rows_total{pipeline=\"pipeline\",outcome=\"applied\"} 1",
        "penstock_pipeline_state{pipeline=\"pipeline\",state=\"running\"} 1",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }

    let health = |arguments: &[&str]| folder.penstock(&[&["health"], arguments].concat());
    assert_eq!(health(&[&address]).fine(), "ok\n");
    assert_eq!(
        health(&["--ready", &format!("http://{address}")]).fine(),
        "ok\n"
    );
    health(&[&format!("http://{address}/other")]).fails(1, &["404", "no `penstock run --listen`"]);

    run.signal(Signal::TERM);
    assert!(run.says().contains("stopping"));
    // A supervisor may say it again.
    run.signal(Signal::TERM);
    let ended = run.wait();
    assert_eq!(ended.code(), Some(130), "{}", ended.stderr());
    health(&[&address]).fails(1, &["does not answer", "--listen"]);
}

#[test]
fn the_address_may_be_of_the_environment_and_the_flag_wins() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = flights(&format!("listen = {address:?}"));
    let error = folder
        .penstock(&["run", "-q", "pipeline.toml"])
        .fails(1, &[&address, "another process does already"]);
    assert!(!error.contains("listening"), "{error}");
    let run = folder.penstock(&["run", "-q", "pipeline.toml", "--listen", "127.0.0.1:0"]);
    assert!(run.stderr().contains("listening on http://127.0.0.1:"));
    run.fine();
    folder
        .penstock(&["run", "-q", "pipeline.toml", "--listen", "127.0.0.1"])
        .fails(2, &["cannot listen on 127.0.0.1:", "such as"]);
    // Nothing is served unless it is asked for.
    drop(taken);
    let quiet = flights("").penstock(&["run", "-q", "pipeline.toml"]);
    assert!(!quiet.stderr().contains("listening"));
    quiet.fine();
}

/// Every run in this process is compared with what it told; this one has something of each kind to tell.
#[test]
fn the_end_of_a_run_is_told_as_it_is_reported() {
    let folder = flights("");
    for (lanes, batch_rows) in [(1, 100), (3, 1)] {
        let tuning = Tuning { lanes, batch_rows };
        let report = folder.run(tuning).unwrap();
        assert_eq!(report.accounting.read, 7);
        assert_eq!(report.accounting.late, 1);
        assert_eq!(report.accounting.rejected_in_all(), 3);
    }
}

#[test]
fn a_run_that_ended_says_how() {
    let folder = flights("");
    let tuning = Tuning {
        lanes: 1,
        batch_rows: 100,
    };
    let progress = Arc::new(Progress::default());
    folder.run_telling(tuning, &progress).unwrap();
    assert_eq!(progress.telemetry.state(), PipelineState::Finished);
    let (_, lane) = progress.telemetry.lanes().remove(0);
    assert!(lane.batches.snapshot().count() > 0);
    for (part, doing, _) in progress.telemetry.parts() {
        assert_eq!(doing, Doing::Ended, "{part}");
    }
    let pipeline = folder.text("pipeline.toml");
    folder.write(
        "pipeline.toml",
        pipeline + "[limits]\noutput_rows = 1\nfailures = 0\n",
    );
    let progress = Arc::new(Progress::default());
    let error = folder.run_telling(tuning, &progress).unwrap_err();
    assert_eq!(progress.telemetry.state(), PipelineState::Failed(error));
}
