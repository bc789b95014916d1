//! `penstock features`, on the embedded store and on a table.

use serde_json::Value;

use crate::serving::flights;
use crate::support::servers::dynamodb::{SHARED, settings};
use crate::support::{Folder, transform};

const PROFILES: &str = r#"
group = "driver"
entity = ["driver_id"]
owner = "fleet@example.com"

[[feature]]
name = "home_city"
type = "utf8"
description = "Where a driver lives."
validation = { max_length = 64 }
ttl = "30d"
freshness = "1d"
alert = "fleet-oncall@example.com"

[[feature]]
name = "rating"
type = "float64"
validation = { min = 1.0, max = 5.0, nulls = false }
"#;

fn each(name: &str, ask: impl Fn(&Folder)) {
    let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
    for table in [None, Some(name)] {
        let folder = Folder::new();
        let toml = match table {
            None => "[environments.local]\nstore = \"store\"\n".to_owned(),
            Some(table) => {
                let settings = settings(&endpoint);
                format!("[environments.local]\nstore = \"dynamodb://{table}\"\n{settings}")
            }
        };
        folder.write("penstock.toml", toml);
        folder.write("profiles.toml", PROFILES);
        folder.penstock(&["store", "init"]).fine();
        ask(&folder);
    }
}

#[test]
fn features_are_declared_listed_shown_and_changed_where_that_breaks_nobody() {
    each("declared", |folder| {
        let told = folder.penstock(&["features", "diff", "profiles.toml"]);
        assert!(
            told.stdout().contains("driver/home_city@1: new"),
            "{}",
            told.stdout()
        );
        told.fails(1, &["2 of 2 features are not as declared"]);
        folder
            .penstock(&["features", "apply", "profiles.toml"])
            .fine();
        folder
            .penstock(&["features", "diff", "profiles.toml"])
            .fine();
        let listed = folder.penstock(&["features", "list"]).fine();
        assert!(
            listed.contains("driver/rating@1") && listed.contains("fleet@example.com"),
            "{listed}"
        );
        let shown = folder.penstock(&["features", "show", "home_city"]).fine();
        for part in [
            "driver/home_city@1",
            "utf8",
            "Where a driver lives.",
            "30d",
            "fleet-oncall",
        ] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
        let shown = folder
            .penstock(&["features", "show", "driver/rating@1", "--json"])
            .fine();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["declaration"]["validation"]["max"], 5.0);

        // Narrower, and of another owner: nobody minds.
        let harmless = PROFILES
            .replace("max = 5.0", "max = 4.5")
            .replace("fleet@", "cars@");
        folder.write("profiles.toml", &harmless);
        let told = folder
            .penstock(&["features", "apply", "profiles.toml"])
            .fine();
        assert!(
            told.contains("owner: `fleet@example.com` becomes `cars@example.com`"),
            "{told}"
        );
        // Wider, and of another type: both break, and nothing is changed.
        for (was, now) in [
            ("max = 4.5", "max = 10.0"),
            ("type = \"utf8\"", "type = \"large_utf8\""),
        ] {
            folder.write("profiles.toml", harmless.replace(was, now));
            let told = folder.penstock(&["features", "apply", "profiles.toml"]);
            assert!(
                told.stdout().contains("needs a new version"),
                "{}",
                told.stdout()
            );
            told.fails(2, &["would break whoever reads it: give it a new version"]);
        }
        // As a new version it is fine, and the old one stays.
        let newer = harmless.replace("name = \"rating\"", "name = \"rating\"\nversion = 2");
        folder.write("profiles.toml", newer.replace("max = 4.5", "max = 10.0"));
        folder
            .penstock(&["features", "apply", "profiles.toml"])
            .fine();
        let listed = folder
            .penstock(&["features", "list", "driver", "--json"])
            .fine();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed["features"].as_array().unwrap().len(), 3);
    });
}

#[test]
fn what_cannot_be_found_or_read_is_told() {
    each("untold", |folder| {
        folder
            .penstock(&["features", "apply", "profiles.toml"])
            .fine();
        folder
            .penstock(&["features", "show", "nobody"])
            .fails(2, &["no feature `nobody`"]);
        folder
            .penstock(&["features", "show", "No"])
            .fails(2, &["does not name a feature"]);
        folder
            .penstock(&["features", "list", "riders"])
            .fails(2, &["no features of group `riders`"]);
        folder
            .penstock(&["features", "apply", "none.toml"])
            .fails(2, &["none.toml"]);
        folder.write("wrong.json", "{\"group\": 1}");
        folder
            .penstock(&["features", "apply", "wrong.json"])
            .fails(2, &["wrong.json", "line 1"]);
    });
}

const LATE: &str = "[[feature]]\nname = \"late_1d\"\ncolumn = \"late_share\"\ntype = \"float64\"\n";

#[test]
fn what_a_pipeline_does_not_declare_any_more_is_shown_before_a_run_refuses_it() {
    let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
    let table = format!("store = \"dynamodb://dropped\"\n{}", settings(&endpoint));
    for store in ["store = \"store\"", table.as_str()] {
        let folder = flights(store);
        folder.write("profiles.toml", PROFILES);
        folder.penstock(&["store", "init"]).fine();
        let less = folder.text("pipeline.toml");
        folder.write("pipeline.toml", format!("{less}{LATE}"));
        let run = ["run", "--quiet", "pipeline.toml"];
        folder.penstock(&run).fine();
        let files = ["features", "apply", "pipeline.toml", "profiles.toml"];
        folder.penstock(&files).fine();
        let diff = ["features", "diff", "pipeline.toml", "profiles.toml"];
        folder.penstock(&diff).fine();

        // It goes, and whatever other files declare stays out of it.
        folder.write("pipeline.toml", &less);
        let gone = ["airport/late_1d@1 would get no new values", "`retired`"];
        let told = folder.penstock(&diff);
        let shown = told.stdout();
        for part in [
            "airport/late_1d@1: dropped",
            "pipeline pipeline does not declare it any more",
            "retired = [\"airport/late_1d@1\"]",
            "airport/flights_1d@1: unchanged",
        ] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
        assert_eq!(shown.matches("dropped").count(), 1, "{shown}");
        told.fails(2, &gone);
        folder
            .penstock(&run)
            .fails(2, &["airport/late_1d@1 any more"]);
        let told = folder.penstock(&[&diff[..], &["--json"]].concat());
        let shown: Value = serde_json::from_str(&told.stdout()).unwrap();
        let last = shown["features"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone();
        let (feature, outcome) = (&last["feature"], &last["outcome"]);
        assert_eq!(
            (feature, outcome),
            (&"airport/late_1d@1".into(), &"dropped".into())
        );
        assert_eq!(last["pipeline"], "pipeline");
        // A file that declares features alone says nothing of a pipeline's.
        folder
            .penstock(&["features", "diff", "profiles.toml"])
            .fine();

        let retired = "retired = [\"airport/late_1d@1\"]\n";
        folder.write("pipeline.toml", format!("{retired}{less}"));
        let shown = folder.penstock(&diff).fine();
        assert!(shown.contains("airport/late_1d@1: retired"), "{shown}");
        folder.penstock(&run).fine();
    }
}

#[test]
fn a_pipelines_feature_shows_where_it_comes_from() {
    let folder = flights("");
    folder.penstock(&["run", "--quiet", "pipeline.toml"]).fine();
    let shown = folder.penstock(&["features", "show", "airport/flights_1d", "--json"]);
    let shown: Value = serde_json::from_str(&shown.fine()).unwrap();
    let told = shown.to_string();
    let lineage = &shown["declaration"]["lineage"];
    assert_eq!(shown["pipeline"], "pipeline", "{told}");
    assert_eq!(lineage["event"], "flight", "{told}");
    let columns = serde_json::json!(["at", "origin", "delay_minutes"]);
    assert_eq!(lineage["columns"], columns, "{told}");
    let digest = lineage["transform"].as_str().unwrap();
    let component = folder.penstock(&["inspect", &transform("flights_daily").to_string_lossy()]);
    assert!(digest.starts_with("sha256:"), "{told}");
    assert!(component.fine().contains(digest), "{told}");
    // And to people.
    let text = folder.penstock(&["features", "show", "flights_1d"]).fine();
    for part in [
        digest,
        "from event   flight",
        "from columns at, origin, delay_minutes",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
