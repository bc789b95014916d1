//! Which events are read, and when: parts of the time, a pace, and rows that claim to be of the future.

use penstock::simulate::RidesFormat;

use super::data::pipeline;
use super::object_storage::{EVENTS, environment, folder, outputs};
use crate::support::{Folder, transform};

#[test]
fn a_part_of_the_time_is_read_as_if_there_were_nothing_else() {
    let folder = folder(RidesFormat::Ndjson);
    environment(&folder, "\"rides\"", "");
    let all = folder.penstock(&["run", "pipeline.toml", "--json"]).fine();
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all[0]["skipped"], 0);
    let times = std::fs::read_to_string(folder.path("rides/rides-000.ndjson")).unwrap();
    let line: serde_json::Value = serde_json::from_str(times.lines().nth(5_000).unwrap()).unwrap();
    let middle = line["occurred_at"].as_str().unwrap();
    let part = |arguments: &[&str]| {
        let arguments = [&["run", "pipeline.toml", "--json"], arguments].concat();
        let part: serde_json::Value =
            serde_json::from_str(&folder.penstock(&arguments).fine()).unwrap();
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        (
            number(&part[0]["events"]["read"]),
            number(&part[0]["skipped"]),
        )
    };
    let (before, after) = (part(&["--to", middle]), part(&["--from", middle]));
    assert_eq!(before.0 + before.1, EVENTS);
    assert_eq!(after, (before.1, before.0), "every event is on one side");
    assert!(before.0 > 0 && after.0 > 0);
    assert_eq!(
        part(&["--from", "1999-01-01", "--to", "1999-01-02"]),
        (0, EVENTS)
    );
    let arguments = [
        "run",
        "pipeline.toml",
        "--from",
        "2026-01-02",
        "--to",
        "2026-01-02",
    ];
    folder.penstock(&arguments).fails(2, &["--from", "--to"]);
}

#[test]
fn a_run_at_a_pace_gives_the_same_bytes() {
    let folder = folder(RidesFormat::Ndjson);
    let whole = outputs(&folder, "\"rides\"", "");
    let out = folder
        .penstock(&["run", "pipeline.toml", "--speed", "1000x"])
        .fine();
    assert!(out.contains(", from rides/rides-00"), "{out}");
    assert!(outputs(&folder, "\"rides\"", "") == whole);
}

#[test]
fn rows_of_the_future_are_quarantined_and_do_not_close_windows() {
    let folder = Folder::new();
    let event = |driver: u32, occurred: &str, received: &str| {
        format!(
            "{{\"driver_id\":{driver},\"accepted\":true,\"occurred_at\":\"2026-01-01T{occurred}Z\",\"received_at\":{received}}}\n"
        )
    };
    let rides = [
        event(1, "00:01:00", "\"2026-01-01T00:01:01Z\""),
        event(1, "09:00:00", "\"2026-01-01T00:02:00Z\""),
        // Within an hour of its arrival, and without one.
        event(1, "00:03:00", "\"2026-01-01T00:02:30Z\""),
        event(2, "00:04:00", "null"),
    ];
    folder.write("rides.ndjson", rides.concat());
    folder.write(
        "penstock.toml",
        "[environments.local]\nstore = \"store\"\noutput = \"out\"\n[environments.local.events.ride_offer]\nfiles = \"rides.ndjson\"\nevent_time = \"occurred_at\"\narrival_time = \"received_at\"\n",
    );
    let path = transform("driver_accept_proportion");
    pipeline(&folder, path.to_str().unwrap(), "driver_id", "10m");
    let run = || -> serde_json::Value {
        let out = folder.penstock(&["run", "pipeline.toml", "--json", "--quiet"]);
        serde_json::from_str(&out.fine()).unwrap()
    };
    let without = run();
    assert_eq!(without[0]["events"]["late"], 2, "nobody asked to look");
    let text = folder.text("pipeline.toml");
    folder.write(
        "pipeline.toml",
        text.replace(
            "disorder = \"30s\"",
            "disorder = \"30s\"\nmax_future = \"1h\"",
        ),
    );
    let with = run();
    let events = &with[0]["events"];
    assert_eq!(
        (&events["applied"], &events["quarantined"]),
        (&3.into(), &1.into()),
        "{with}"
    );
    assert_eq!(
        (&events["rejected"], &events["late"]),
        (&0.into(), &0.into()),
        "{with}"
    );
    assert_eq!(with[0]["watermark"], "2026-01-01T00:03:30Z");
    let reject: serde_json::Value =
        serde_json::from_str(&folder.text("out/pipeline.rejects.ndjson")).unwrap();
    assert_eq!(reject["stage"], "quarantine");
    assert_eq!(
        (&reject["code"], &reject["line"]),
        (&"too_far_in_future".into(), &2.into())
    );
    let detail = reject["detail"].as_str().unwrap();
    assert!(
        detail.contains("2026-01-01T09:00:00Z") && detail.contains("2026-01-01T00:02:00Z"),
        "{detail}"
    );
}
