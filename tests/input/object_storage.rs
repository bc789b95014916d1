//! Recorded events on object storage, read over an S3 API that is now and then unwell.

use penstock::simulate::{RidesFormat, RidesSpec, write_rides};
use penstock_servers::{S3, Server};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::data::pipeline;
use crate::support::proxy::{Fate, Proxy};
use crate::support::servers::s3;
use crate::support::{Folder, Tuning, transform};

const TUNING: Tuning = Tuning {
    lanes: 2,
    batch_rows: 5_000,
};
const OUTPUTS: [&str; 2] = ["out/features.parquet", "out/pipeline.late.ndjson"];
pub(super) const EVENTS: u64 = 30_000;

/// Rides in three files, and a pipeline over whatever `files` says.
pub(super) fn folder(format: RidesFormat) -> Folder {
    let folder = Folder::new();
    let spec = RidesSpec {
        files: 3,
        format,
        late_share: 0.01,
        rate_per_s: 10.0,
        ..RidesSpec::new(EVENTS, 11)
    };
    write_rides(&spec, &folder.path("rides"), |_| {}).unwrap();
    let path = transform("driver_accept_proportion");
    pipeline(&folder, path.to_str().unwrap(), "driver_id", "1m");
    folder
}

pub(super) fn environment(folder: &Folder, files: &str, options: &str) {
    let schema = "schema = { offer_id = \"utf8\", occurred_at = \"timestamp[us, UTC]\", driver_id = \"int64\", accepted = \"bool\" }";
    folder.write(
        "penstock.toml",
        format!(
            "[environments.local]\nstore = \"store\"\noutput = \"out\"\n{options}[environments.local.events.ride_offer]\nfiles = {files}\nevent_time = \"occurred_at\"\n{schema}\n"
        ),
    );
}

/// Puts the folder's rides into a bucket.
fn upload(folder: &Folder, server: &Server<S3>, bucket: &str) {
    server.make_bucket(bucket).unwrap();
    for entry in std::fs::read_dir(folder.path("rides")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        s3::put(
            server.port(),
            bucket,
            &format!("rides/2026/{name}"),
            &std::fs::read(&path).unwrap(),
        );
    }
}

/// What a run over `files` writes, with files of the machine and of the bucket called the same.
pub(super) fn outputs(folder: &Folder, files: &str, options: &str) -> Vec<String> {
    environment(folder, files, options);
    let report = folder.run(TUNING).unwrap();
    assert_eq!(report.accounting.read, EVENTS);
    assert!(report.accounting.balances() && report.accounting.late > 0);
    let outputs = OUTPUTS.iter().map(|name| match name.ends_with("ndjson") {
        true => {
            let local = format!(
                "{}/",
                folder.path("rides").canonicalize().unwrap().display()
            );
            let text = folder.text(name).replace(&local, "s3://rides/rides/2026/");
            text.replace("\"file\":\"rides/", "\"file\":\"s3://rides/rides/2026/")
        }
        false => format!("{:?}", folder.read(name)),
    });
    outputs.collect()
}

#[test]
fn objects_give_the_bytes_that_local_files_give() {
    let server = s3::start();
    for (format, bucket) in [
        (RidesFormat::Ndjson, "rides"),
        (RidesFormat::Parquet, "rides-parquet"),
    ] {
        let folder = folder(format);
        upload(&folder, &server, bucket);
        s3::put(
            server.port(),
            bucket,
            "rides/2026/_unfinished.ndjson",
            b"not to be read",
        );
        s3::put(
            server.port(),
            bucket,
            "rides/2026/deeper/x.ndjson",
            b"not to be read either",
        );
        let options = s3::options(server.port());
        let rename = |texts: Vec<String>| -> Vec<String> {
            let bucket = format!("s3://{bucket}/");
            texts
                .iter()
                .map(|text| text.replace(&bucket, "s3://rides/"))
                .collect()
        };
        let local = rename(outputs(&folder, "\"rides\"", ""));
        let extension = match format {
            RidesFormat::Ndjson => "ndjson",
            RidesFormat::Parquet => "parquet",
        };
        let ways = [
            format!("\"s3://{bucket}/rides/2026/\""),
            format!("\"s3://{bucket}/rides/**/rides-*.{extension}\""),
            // Each file once, in the order of the list; the merge of files is by time first.
            format!(
                "[\"s3://{bucket}/rides/2026/rides-000.{extension}\", \"s3://{bucket}/rides/2026/rides-00?.{extension}\"]"
            ),
        ];
        for files in ways {
            assert!(
                rename(outputs(&folder, &files, &options)) == local,
                "{files}"
            );
        }
    }
    let folder = folder(RidesFormat::Ndjson);
    let local = outputs(&folder, "\"rides\"", "");
    let mixed = "[\"rides/rides-000.ndjson\", \"s3://rides/rides/2026/rides-00[12].ndjson\"]";
    assert!(outputs(&folder, mixed, &s3::options(server.port())) == local);
    let checked = folder.penstock(&["validate", "pipeline.toml"]).fine();
    assert!(checked.contains("ride_offer, 3 files"), "{checked}");
}

#[test]
fn connections_that_break_and_stall_change_nothing() {
    const SEED: u64 = 20_260_131;
    println!("seed {SEED}");
    let mut random = Pcg64::seed_from_u64(SEED);
    let server = s3::start();
    for (format, bucket) in [
        (RidesFormat::Ndjson, "rides"),
        (RidesFormat::Parquet, "rides-parquet"),
    ] {
        let folder = folder(format);
        upload(&folder, &server, bucket);
        let whole = outputs(
            &folder,
            &format!("\"s3://{bucket}/rides/2026/\""),
            &s3::options(server.port()),
        );
        // The first connection lists the bucket.
        let mut fates = vec![Fate::Pass];
        fates.extend((0..12).map(|_| Fate::Break(random.random_range(1..200_000))));
        fates.push(Fate::Stall(random.random_range(1..50_000)));
        let planned = fates.len() as u32;
        let proxy = Proxy::start(server.port(), fates);
        let options = s3::options(proxy.port);
        let found = outputs(&folder, &format!("\"s3://{bucket}/rides/2026/\""), &options);
        assert!(proxy.connections() > planned, "all faults were met");
        assert!(found == whole, "{bucket}");
    }
}

#[test]
fn an_object_that_is_replaced_in_the_middle_ends_the_run() {
    let server = s3::start();
    let folder = folder(RidesFormat::Ndjson);
    upload(&folder, &server, "rides");
    let old = folder.read("rides/rides-000.ndjson");
    let mut new = old.clone();
    new.rotate_left(1);
    let port = server.port();
    let replace = Fate::Do(Box::new(move || {
        s3::put(port, "rides", "rides/2026/rides-000.ndjson", &new);
    }));
    // Looked for; the first two ranges, which are asked for together; then the third.
    let proxy = Proxy::start(port, vec![Fate::Pass, Fate::Pass, Fate::Pass, replace]);
    let files = "\"s3://rides/rides/2026/rides-000.ndjson\"";
    environment(&folder, files, &s3::options(proxy.port));
    let told = folder.penstock(&["run", "pipeline.toml"]).fails(
        1,
        &[
            "s3://rides/rides/2026/rides-000.ndjson was replaced while it was read",
            "run again",
        ],
    );
    assert!(!folder.path("out/features.parquet").exists(), "{told}");
}

#[test]
fn what_is_wrong_with_a_place_is_told_without_secrets() {
    let server = s3::start();
    let folder = folder(RidesFormat::Ndjson);
    server.make_bucket("rides").unwrap();
    s3::put(server.port(), "rides", "a/b.txt", b"x");
    let told = |files: &str, options: &str, code: i32, expected: &[&str]| {
        environment(&folder, files, options);
        for command in ["run", "validate"] {
            let told = folder
                .penstock(&[command, "pipeline.toml"])
                .fails(code, expected);
            assert!(
                !told.contains("not-to-be-shown") && !told.contains("AKIAEXAMPLE"),
                "{told}"
            );
        }
    };
    let options = s3::options(server.port());
    for files in [
        "\"s3://nowhere/a.ndjson\"",
        "\"s3://nowhere/*.ndjson\"",
        "\"s3://nowhere/a/\"",
    ] {
        told(
            files,
            &options,
            2,
            &[
                "penstock.toml:1",
                "there is no bucket `nowhere`",
                "endpoint",
            ],
        );
    }
    told(
        "\"s3://rides/a/*.ndjson\"",
        &options,
        2,
        &["no object matches s3://rides/a/*.ndjson"],
    );
    told(
        "\"s3://rides/a/\"",
        &options,
        2,
        &["no recorded files directly inside", "**"],
    );
    told(
        "\"s3://rides/b.ndjson\"",
        &options,
        2,
        &["there is no s3://rides/b.ndjson"],
    );
    told(
        "\"s3://rides/a/b.txt\"",
        &options,
        2,
        &["the format of s3://rides/a/b.txt does not show"],
    );
    told(
        "\"s3://rides/[\"",
        &options,
        2,
        &["s3://rides/[ cannot be looked for", "**"],
    );
    told(
        "\"sftp://rides/a\"",
        &options,
        2,
        &["not a place", "s3://BUCKET/"],
    );
    let wrong = format!("{options}aws_secret_acces_key = \"not-to-be-shown\"\n");
    told(
        "\"rides\"",
        &wrong,
        2,
        &[
            "there is no option `aws_secret_acces_key`",
            "did you mean `aws_secret_access_key`?",
        ],
    );
    let nobody = options.replace(&format!(":{}", server.port()), ":9");
    told(
        "\"s3://rides/a/\"",
        &nobody,
        1,
        &["`rides` cannot be reached", "run again"],
    );

    let locked = s3::start_locking_after(1);
    locked.make_bucket("rides").unwrap();
    for files in ["\"s3://rides/a/\"", "\"s3://rides/a.ndjson\""] {
        told(
            files,
            &s3::options(locked.port()),
            2,
            &["does not let these credentials", "AWS_ACCESS_KEY_ID"],
        );
    }
}
