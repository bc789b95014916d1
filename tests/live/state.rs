//! What `penstock state` shows of a live pipeline while it works, wherever its store is.

use serde_json::Value;

use super::served::{listening_with, status};
use super::topic::Topic;
use super::{pipeline::Pipeline, pipeline::wait};
use crate::support::servers::s3;

const EVENTS: u32 = 500;

#[test]
fn what_lanes_keep_is_shown_while_they_work() {
    let mut topic = Topic::new("state", 2, 300);
    topic.write(EVENTS);
    check(&topic, &listening_with(&topic, "state", ("store", "")));
}

#[test]
fn what_lanes_keep_on_s3_is_shown_while_they_work() {
    let server = s3::start();
    server.make_bucket("state").unwrap();
    let mut topic = Topic::new("state-remote", 2, 300);
    topic.write(EVENTS);
    let options = s3::options(server.port());
    let pipeline = listening_with(&topic, "state-remote", ("s3://state/live", &options));
    check(&topic, &pipeline);
}

fn check(topic: &Topic, pipeline: &Pipeline) {
    let folder = &pipeline.folder;
    let environment = folder.text("penstock.toml");
    folder.write("penstock.toml", environment.replace("${INSTANCE}", "one"));
    let mut process = pipeline.start("one");
    let address = process.address();
    pipeline.catch_up(topic, &mut [&mut process]);
    // Everything is read; when all of it is committed, nothing changes any more.
    let committed = |told: &Value| -> u64 {
        let lanes = told["lanes"].as_array().unwrap().iter();
        let inputs = lanes.flat_map(|lane| lane["inputs"].as_array().unwrap());
        let judged = inputs.map(|input| {
            let cursors = input["cursors"].as_object().unwrap().values();
            cursors.map(|at| at.as_u64().unwrap()).sum::<u64>()
        });
        judged.sum()
    };
    let url = format!("http://{address}");
    let look = || -> Value {
        let told = folder.penstock(&["state", "totals", "--json", "--status", &url]);
        serde_json::from_str(&told.fine()).unwrap()
    };
    wait(
        || committed(&look()) == u64::from(EVENTS),
        || format!("all is committed: {}", look()),
    );
    let told = look();
    let lanes = told["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), 2);
    let (mut read, mut rows) = (0, 0);
    for lane in lanes {
        assert!(lane["bytes"].as_u64() > Some(0), "{lane}");
        assert!(lane["commit_age_s"].is_f64(), "{lane}");
        assert!(lane["requests_per_hour"].as_f64() > Some(0.0), "{lane}");
        let [input] = &lane["inputs"].as_array().unwrap()[..] else {
            panic!("{lane}");
        };
        assert_eq!(input["input"], "live");
        assert!(input["watermark"].is_string(), "{input}");
        read += input["events"]["read"].as_u64().unwrap();
        rows += input["rows"].as_u64().unwrap();
    }
    let running = status(&address);
    assert_eq!(running["events"]["read"].as_u64(), Some(read));
    assert_eq!(running["rows"].as_u64(), Some(rows));
    let store = &running["lanes"][0]["store"];
    assert!(store["requests"]["put"].as_u64() > Some(0), "{running}");

    let shown = folder.penstock(&["state", "pipeline.toml"]).fine();
    assert!(
        shown.contains("watermark") && shown.contains("live"),
        "{shown}"
    );
    let of_key = folder.penstock(&["state", "pipeline.toml", "--key", "0", "--json"]);
    let told: Value = serde_json::from_str(&of_key.fine()).unwrap();
    let mut panes = told["records"].as_array().unwrap().iter();
    let pane = panes.find(|record| record["record"] == "pane");
    let pane = pane.unwrap_or_else(|| panic!("{told}"));
    assert!(
        pane["start"].is_string() && pane["end"].is_string(),
        "{pane}"
    );
    assert!(!pane["state"].as_object().unwrap().is_empty(), "{pane}");
    process.stop();

    let fails = |arguments: &[&str], code, expected: &[&str]| {
        folder.penstock(arguments).fails(code, expected);
    };
    fails(&["state", "total"], 2, &["`total`", "those of totals"]);
    fails(&["state", "totals", "--key", "0"], 2, &["pipeline's file"]);
    let of = |key| ["state", "pipeline.toml", "--key", key];
    fails(&of("x"), 2, &["`x` is no key", "key (Int64)"]);
    fails(&of("99999"), 1, &["keeps anything of key `99999`"]);
}
