//! A recording is what pipelines run over: the same features as from the messages themselves.

use super::{folder, offer, summary};
use crate::support::servers::kafka::{SHARED, Writer, create};
use crate::support::transform;

#[test]
fn pipelines_run_over_recordings() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "record-and-run");
    create(&bootstrap, topic, 2);
    let folder = folder(topic, "");
    let writer = Writer::new(&bootstrap, topic);
    let texts: Vec<String> = (0..3_000).map(|number| offer(number, "x")).collect();
    for partition in 0..2 {
        let own = texts
            .iter()
            .enumerate()
            .filter(|(number, _)| number % 2 == partition);
        writer.write(partition as i32, own.map(|(_, text)| text));
    }
    // In several files, and one without a row.
    summary(&folder, &["--rows-per-file", "400"]);
    let nothing = [
        "--sample",
        "0.0000001%",
        "--by",
        "driver_id",
        "--to",
        "nothing",
    ];
    let arguments = [
        &[
            "record",
            "ride_offer",
            "--env",
            "live",
            "--until",
            "end",
            "--quiet",
        ],
        &nothing[..],
    ]
    .concat();
    folder.penstock(&arguments).fine();

    folder.write("offers.ndjson", texts.join("\n"));
    let path = transform("driver_accept_proportion");
    folder.write(
        "pipeline.toml",
        format!(
            "event = \"ride_offer\"\ntransform = {:?}\nkey = \"driver_id\"\ngroup = \"driver\"\n[window]\nkind = \"tumbling\"\nsize = \"10m\"\ndisorder = \"1h\"\n[[feature]]\nname = \"offers\"\ncolumn = \"driver_offers_10m\"\ntype = \"uint64\"\n[outputs]\nfeatures = \"features.csv\"\n",
            path.to_str().unwrap()
        ),
    );
    let features = |files: &str| {
        let mut text = folder.text("penstock.toml");
        if let Some(end) = text.find("[environments.local]") {
            text.truncate(end);
        }
        text.push_str(&format!(
            "[environments.local]\nstore = \"store\"\noutput = \"features\"\n[environments.local.events.ride_offer]\nfiles = {files}\nevent_time = \"occurred_at\"\n"
        ));
        folder.write("penstock.toml", text);
        folder.penstock(&["run", "pipeline.toml", "--quiet"]).fine();
        folder.text("features/features.csv")
    };
    let from_messages = features("\"offers.ndjson\"");
    assert!(from_messages.lines().count() > 200);
    assert_eq!(features("\"out/**/*.parquet\""), from_messages);
    assert_eq!(
        features("[\"out/**/*.parquet\", \"nothing/**/*.parquet\"]"),
        from_messages
    );
}
