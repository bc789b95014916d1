//! `penstock verify parity`: what is served and kept, against what recorded events give.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use penstock::config::{CacheSettings, FeaturePlace, StorePlace};
use penstock::simulate::{RidesSpec, write_rides};
use penstock::store::embedded::{EmbeddedStore, PipelineLanes};
use penstock::store::{
    FeatureBatch, FeatureColumn, FeatureStore, Items, OpenStores, PutBatch, PutColumn,
    PutStore as _, ServedStore,
};
use serde_json::{Value, json};

use crate::support::servers::dynamodb::{SHARED, settings};
use crate::support::{Folder, HOST, transform};

const PIPELINE: &str = "driver_accept_proportion_10m";

/// Simulated rides of some drivers, and the example over them; `more` is added to the environment.
fn rides(more: &str) -> Folder {
    let folder = Folder::new();
    write_rides(&RidesSpec::new(4_000, 3), &folder.path("made"), |_| {}).unwrap();
    folder.write(
        "penstock.toml",
        format!(
            "[environments.local]\noutput = \"out\"\noffline = \"history\"\n{more}\n[environments.local.events.ride_offer]\nfiles = \"made/*.ndjson\"\nevent_time = \"occurred_at\"\n"
        ),
    );
    let transform = transform("driver_accept_proportion");
    folder.write(
        "pipeline.toml",
        format!(
            "name = \"{PIPELINE}\"\nevent = \"ride_offer\"\ntransform = {transform:?}\nkey = \"driver_id\"\ngroup = \"driver\"\n[run]\nlanes = 1\n[window]\nkind = \"tumbling\"\nsize = \"5s\"\ndisorder = \"30s\"\n[[feature]]\nname = \"driver_accept_proportion_10m\"\ntype = \"float64\"\nvalidation = {{ min = 0.0, max = 1.0 }}\n[[feature]]\nname = \"driver_offers_10m\"\ntype = \"uint64\"\n"
        ),
    );
    folder
}

fn verify(folder: &Folder, more: &[&str]) -> (Option<i32>, Value) {
    let arguments = ["verify", "parity", "pipeline.toml", "--json"];
    let ended = folder.penstock(&[&arguments, more].concat());
    let stdout = ended.stdout();
    let found = serde_json::from_str(&stdout);
    (
        ended.code(),
        found.unwrap_or_else(|_| panic!("{stdout}{}", ended.stderr())),
    )
}

#[test]
fn nothing_differs_after_a_run_whatever_the_store() {
    let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
    let table = format!("store = \"dynamodb://parity\"\n{}", settings(&endpoint));
    for store in ["store = \"store\"", table.as_str()] {
        let folder = rides(store);
        folder.penstock(&["store", "init"]).fine();
        folder
            .penstock(&["run", "-q", "pipeline.toml", "--lanes", "3"])
            .fine();
        // A second run writes all of it again, as another writer.
        folder.penstock(&["run", "-q", "pipeline.toml"]).fine();
        let (code, found) = verify(&folder, &["--sample", "100%"]);
        assert_eq!(code, Some(0), "{found}");
        assert_eq!(found["differences"], json!([]));
        assert_eq!(found["sampled"], found["entities"]);
        assert_eq!(found["not_compared"], json!({"newer": 0, "expired": 0}));
        let entities = found["entities"].as_u64().unwrap();
        assert!(entities > 10, "{entities}");
        // Both features of each driver; in the history those of every window.
        assert_eq!(found["compared"]["served"], 2 * entities);
        assert!(found["compared"]["offline"].as_u64().unwrap() > 2 * entities);
        // A smaller sample is a part of it, the same each time.
        let (code, some) = verify(&folder, &["--sample", "50%"]);
        assert_eq!(code, Some(0));
        let sampled = some["sampled"].as_u64().unwrap();
        assert!(0 < sampled && sampled < entities, "{sampled} of {entities}");
        assert_eq!(verify(&folder, &["--sample", "50%"]).1, some);
        let told = folder.penstock(&["verify", "parity", "pipeline.toml", "--sample", "1"]);
        assert!(told.fine().contains("values compared"));
        folder
            .penstock(&["verify", "parity", "pipeline.toml", "--sample", "0.000001%"])
            .fails(2, &["none of", "--sample"]);
    }
}

#[test]
fn values_that_are_put_to_the_same_group_are_no_difference() {
    let folder = rides("store = \"store\"");
    folder.penstock(&["run", "-q", "pipeline.toml"]).fine();
    let all = ["--sample", "100%"];
    let before = verify(&folder, &all);
    folder.write(
        "profiles.toml",
        "group = \"driver\"\nentity = [\"driver_id\"]\n[[feature]]\nname = \"rating\"\ntype = \"float64\"\n",
    );
    folder
        .penstock(&["features", "apply", "profiles.toml"])
        .fine();
    let text = folder.text("made/rides-000.ndjson");
    let ride: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let driver = ride["driver_id"].as_i64().unwrap().to_string();
    let at: jiff::Timestamp = ride["occurred_at"].as_str().unwrap().parse().unwrap();
    let values: ArrayRef = Arc::new(Float64Array::from(vec![4.5]));
    HOST.io.block_on(async {
        let place = FeaturePlace::Embedded(StorePlace::Folder(folder.path("store")));
        let history = StorePlace::Folder(folder.path("history"));
        let (stores, cache) = (OpenStores::default(), CacheSettings::default());
        let store = ServedStore::open(&stores, &place, cache, Some(history));
        let put = PutBatch {
            group: "driver".to_owned(),
            entities: StringArray::from(vec![driver]),
            event_times: vec![at.as_microsecond()].into(),
            features: vec![PutColumn {
                name: "rating".to_owned(),
                version: 1,
                values,
            }],
        };
        store.await.unwrap().put(put).await.unwrap();
    });
    let day = folder.path(&format!("history/driver/{}", at.strftime("%Y-%m-%d")));
    let names = std::fs::read_dir(day).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
    let is_put = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("elsewhere-");
    assert!(names.iter().any(is_put) && !names.iter().all(is_put));
    assert_eq!(verify(&folder, &all), before);
    assert_eq!(before.0, Some(0), "{}", before.1);
}

#[test]
fn what_was_changed_and_what_is_missing_is_found() {
    let folder = rides("store = \"store\"");
    folder.penstock(&["run", "-q", "pipeline.toml"]).fine();
    let all = ["--sample", "100%"];
    let (_, found) = verify(&folder, &all);
    assert_eq!(found["differences"], json!([]));
    // Somebody writes another number of offers, of the last window of a driver.
    let text = folder.text("made/rides-000.ndjson");
    let ride: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let driver = ride["driver_id"].as_i64().unwrap();
    let entity = driver.to_string();
    let get = ["get", "driver", &entity, "driver_offers_10m", "--json"];
    let kept: Value = serde_json::from_str(&folder.penstock(&get).fine()).unwrap();
    let kept = &kept["features"][0];
    change(&folder, driver, kept["event_time"].as_str().unwrap());
    let (code, found) = verify(&folder, &all);
    assert_eq!(code, Some(1));
    assert_eq!(
        found["differences"],
        json!([{
            "group": "driver",
            "entity": entity,
            "feature": "driver_offers_10m@1",
            "event_time": kept["event_time"],
            "computed": {"state": "value", "value": kept["value"]},
            "served": {"state": "value", "value": 1_000_000},
            "offline": null,
        }])
    );
    let told = folder.penstock(&["verify", "parity", "pipeline.toml", "--sample", "1"]);
    assert!(told.stdout().contains("1000000"), "{}", told.stdout());
    told.fails(1, &["1 of", "are not what recorded events give"]);
    // A driver of whom nothing was ever written.
    let more = text
        .lines()
        .next()
        .unwrap()
        .replace(&format!("\"driver_id\":{driver}"), "\"driver_id\":424242");
    folder.write("more/rides.ndjson", format!("{more}\n{text}"));
    let events = [&all[..], &["--events", "more/rides.ndjson"]].concat();
    let (code, found) = verify(&folder, &events);
    assert_eq!(code, Some(1));
    let differences = found["differences"].as_array().unwrap();
    let of_new: Vec<&Value> = differences
        .iter()
        .filter(|it| it["entity"] == "424242")
        .collect();
    assert_eq!(of_new.len(), 2, "{found}");
    for difference in of_new {
        assert_eq!(difference["served"], json!({"state": "missing"}));
        assert_eq!(difference["offline"], json!({"state": "missing"}));
        assert_eq!(difference["computed"]["state"], "value");
    }
    // Before the first window has closed there is nothing to compare.
    folder
        .penstock(&[
            "verify",
            "parity",
            "pipeline.toml",
            "--sample",
            "1",
            "--until",
            "1990-01-01",
        ])
        .fails(2, &["--until"]);
}

/// Writes a number of offers as a later run would.
fn change(folder: &Folder, driver: i64, event_time: &str) {
    let event_time: jiff::Timestamp = event_time.parse().unwrap();
    let values: ArrayRef = Arc::new(UInt64Array::from(vec![1_000_000]));
    let keys: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![driver]))];
    let features = [FeatureColumn {
        name: "driver_offers_10m",
        version: 1,
        values: &values,
    }];
    let items = Items::encode(&FeatureBatch {
        group: "driver",
        pipeline: PIPELINE,
        window: "5s",
        keys: &keys,
        event_time: &TimestampMicrosecondArray::from(vec![event_time.as_microsecond()]),
        epoch: 1_000,
        first_sequence: 0,
        features: &features,
    });
    let lanes = [PipelineLanes {
        pipeline: PIPELINE.to_owned(),
        lanes: 1,
    }];
    HOST.io.block_on(async {
        let path = folder.path("store");
        let store = EmbeddedStore::open(&path, &lanes).await.unwrap();
        store.write(0, items.unwrap()).await.unwrap();
        store.close().await.unwrap();
    });
}
