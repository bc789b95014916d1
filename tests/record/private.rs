//! What is hashed, left out and sampled shows nowhere.

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, KeyInit, Mac};
use rdkafka::producer::BaseRecord;
use sha2::Sha256;

use super::{ALL, folder, offer, recorded, rejects, summary};
use crate::support::servers::kafka::{SHARED, Writer, create};

const KEY: &[u8] = b"a key that nobody guesses";

fn hashed(text: &str) -> String {
    let mut hash = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    hash.update(text.as_bytes());
    let hash = hash.finalize().into_bytes();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_held_back_shows_nowhere() {
    let (bootstrap, topic) = (SHARED.bootstrap(), "record-private");
    create(&bootstrap, topic, 2);
    let folder = folder(topic, "");
    let writer = Writer::new(&bootstrap, topic);
    for number in 0..400 {
        let (key, value) = (format!("secret-key-{number}"), offer(number, "secret-note"));
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(number as i32 % 2);
        writer.send(record.key(key.as_bytes()).payload(value.as_bytes()));
    }
    writer.flush();
    writer.write(0, ["{\"driver_id\": \"secret-driver\"}"]);
    folder.write("key", [KEY, b"\n"].concat());
    let refused = [&ALL[..], &["--hash", "driver_id"]].concat();
    folder
        .penstock(&refused)
        .fails(2, &["without a key, whoever knows how the values look"]);

    let choice = [
        "--hash",
        "driver_id",
        "--hash-key-file",
        "key",
        "--drop",
        "note",
        "--sample",
        "40%",
        "--by",
        "driver_id",
    ];
    let summary = summary(&folder, &choice);
    let rows: Vec<_> = recorded(&folder.path("out"))
        .into_values()
        .flatten()
        .collect();
    let counts = &summary["counts"];
    assert_eq!(counts["written"], rows.len());
    assert_eq!(counts["rejected"], 1);
    assert_eq!(counts["sampled_out"], 400 - rows.len());
    // Of every driver all rows, or none.
    let drivers: BTreeMap<String, usize> = (0..50)
        .map(|driver| (hashed(&driver.to_string()), driver))
        .collect();
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    for row in &rows {
        let driver = drivers[row["driver_id"].as_str().unwrap()];
        *seen.entry(driver).or_default() += 1;
        assert!(row.get("note").is_none() && row.get("kafka_key").is_none());
    }
    assert!((10..30).contains(&seen.len()), "{}", seen.len());
    assert!(seen.values().all(|count| *count == 8), "{seen:?}");

    let rejects = rejects(&folder.path("out"));
    let keys: BTreeSet<&str> = rejects[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        BTreeSet::from(["code", "offset", "partition", "timestamp"])
    );
    for path in glob::glob(folder.path("out/**/*").to_str().unwrap()).unwrap() {
        let path = path.unwrap();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let shows = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
            assert!(!shows(b"secret") && !shows(KEY), "{}", path.display());
        }
    }

    // The same drivers are chosen elsewhere, and by a larger share more of them.
    let chosen = |to: &str, share: &str| -> BTreeSet<i64> {
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
            "--by",
            "driver_id",
            "--sample",
            share,
        ];
        folder.penstock(&arguments).fine();
        let rows = recorded(&folder.path(to)).into_values().flatten();
        rows.map(|row| row["driver_id"].as_i64().unwrap()).collect()
    };
    let same: BTreeSet<i64> = seen.keys().map(|driver| *driver as i64).collect();
    assert_eq!(chosen("same", "0.4"), same);
    assert!(chosen("more", "80%").is_superset(&same));
}
