//! Recordings on object storage.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::{folder, offer};
use crate::support::Folder;
use crate::support::servers::kafka::{SHARED, Writer, create};
use crate::support::servers::s3;

fn record(folder: &Folder, more: &[&str]) -> serde_json::Value {
    let arguments = [
        "record",
        "ride_offer",
        "--env",
        "live",
        "--to",
        "s3://recordings/rides",
        "--until",
        "end",
        "--quiet",
        "--json",
    ];
    let printed = folder.penstock(&[&arguments[..], more].concat()).fine();
    serde_json::from_str(&printed).unwrap()
}

#[test]
fn a_recording_on_object_storage_goes_on_and_is_read() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "record-remote");
    create(&bootstrap, topic, 2);
    let server = s3::start();
    server.make_bucket("recordings").unwrap();
    let folder = folder(topic, "");
    let options = s3::options(server.port());
    let text = folder.text("penstock.toml");
    let live = options.replace("environments.local", "environments.live");
    folder.write("penstock.toml", format!("{text}{live}{options}[environments.local.events.ride_offer]\nfiles = \"s3://recordings/rides/**/*.parquet\"\nevent_time = \"occurred_at\"\n"));
    let writer = Writer::new(&bootstrap, topic);
    writer.write(0, (0..100).map(|number| offer(number, "x")));
    writer.write(0, ["no JSON"]);
    // One object is so large that it goes in parts.
    let mut random = Pcg64::seed_from_u64(7);
    let letters: Vec<char> = ('0'..='9').chain('a'..='z').chain('A'..='Z').collect();
    let mut note = || -> String {
        (0..1000)
            .map(|_| letters[random.random_range(0..letters.len())])
            .collect()
    };
    let large: Vec<String> = (0..26_000).map(|number| offer(number, &note())).collect();
    writer.write(1, &large);

    let first = record(&folder, &[]);
    assert_eq!(
        (&first["counts"]["written"], &first["counts"]["rejected"]),
        (&26_100.into(), &1.into())
    );
    assert!(first["bytes"].as_u64().unwrap() > 17 << 20, "{first}");
    let rejects = s3::get(
        server.port(),
        "recordings",
        "rides/p=0/rejects-00000000000000000000.ndjson",
    );
    assert!(
        String::from_utf8(rejects)
            .unwrap()
            .contains("\"offset\":100")
    );

    writer.write(0, (100..150).map(|number| offer(number, "x")));
    let second = record(&folder, &[]);
    assert_eq!(
        (
            &second["counts"]["read"],
            &second["partitions"]["0"]["from"]
        ),
        (&50.into(), &101.into())
    );
    assert_eq!(record(&folder, &[])["counts"]["read"], 0);

    // All of it is there to be read: a mapper's pipeline would count these rows.
    let path = crate::support::transform("driver_accept_proportion");
    folder.write(
        "pipeline.toml",
        format!(
            "event = \"ride_offer\"\ntransform = {:?}\nkey = \"driver_id\"\ngroup = \"driver\"\n[window]\nkind = \"tumbling\"\nsize = \"10m\"\ndisorder = \"2h\"\n[[feature]]\nname = \"offers\"\ncolumn = \"driver_offers_10m\"\ntype = \"uint64\"\n",
            path.to_str().unwrap()
        ),
    );
    let printed = folder
        .penstock(&["run", "pipeline.toml", "--quiet", "--json"])
        .fine();
    let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report[0]["events"]["applied"], 26_150);
}

#[test]
fn places_that_take_no_files_are_refused() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "record-nowhere");
    create(&bootstrap, topic, 1);
    let folder = folder(topic, "");
    for (to, told) in [
        (
            "https://host/rides/",
            "is a web server, which takes no files",
        ),
        ("s3://bucket/*/", "is a glob"),
        ("ftp://host/rides", "not a place"),
    ] {
        let arguments = [
            "record",
            "ride_offer",
            "--env",
            "live",
            "--to",
            to,
            "--until",
            "end",
            "--quiet",
        ];
        folder.penstock(&arguments).fails(2, &[told]);
    }
    let arguments = ["record", "ride_ofer", "--env", "live", "--to", "x"];
    folder
        .penstock(&arguments)
        .fails(2, &["no event `ride_ofer`", "did you mean `ride_offer`?"]);
}
