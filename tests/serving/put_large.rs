//! Values so large that a table of DynamoDB takes no item of them: refused, and nothing of them is there.

use serde_json::{Value, json};

use super::program::Serving;
use super::put::{PUT, declared, now, values};
use crate::support::servers::dynamodb::{SHARED, settings};

const SHAPES: &str = r#"
group = "airport"
entity = ["origin"]

[[feature]]
name = "outline"
type = "list[float32]"
"#;

const SERVING: &str =
    "[environments.local.serving]\nanyone = \"write\"\nmax_body = \"4MiB\"\ndeadline = \"30s\"";

/// Serves a store that has airports with an outline.
fn serve(store: &str) -> (crate::support::Folder, Serving) {
    let folder = declared(store, SERVING);
    folder.write("shapes.toml", SHAPES);
    folder
        .penstock(&["features", "apply", "shapes.toml"])
        .fine();
    let serving = Serving::start(&folder);
    (folder, serving)
}

fn table(name: &str) -> String {
    let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
    format!("store = \"dynamodb://put_{name}\"\n{}", settings(&endpoint))
}

/// As many floats, of 4 bytes each.
fn floats(count: usize) -> Value {
    json!([vec![1; count]])
}

fn put(serving: &Serving, time: &str, features: &[(&str, Value)]) -> (u16, String) {
    let (code, answer) = serving.post(PUT, &values(&json!(["SFO"]), time, features));
    (code, answer.to_string())
}

#[test]
fn a_value_that_a_table_takes_no_item_of_is_refused_and_nothing_of_its_request_is_stored() {
    let (_folder, serving) = serve(&table("too_large"));
    let first = [("elevation", json!([1])), ("embedding", json!([[0.5]]))];
    assert_eq!(put(&serving, "2020-01-01T00:00:00Z", &first).0, 200);
    let large = [("elevation", json!([2])), ("embedding", floats(100_000))];
    let (code, told) = put(&serving, "2020-01-02T00:00:00Z", &large);
    assert_eq!(code, 413, "{told}");
    for part in [
        "too_large",
        "embedding@1",
        "takes 390000 of",
        "nothing was stored",
    ] {
        assert!(told.contains(part), "{told}");
    }
    for (feature, value) in [("elevation", json!([1.0])), ("embedding", json!([[0.5]]))] {
        let [values, _, times] = now(&serving, feature, &["SFO"]);
        assert_eq!((values, times), (value, json!(["2020-01-01T00:00:00Z"])));
    }
    serving.stop();
    // The embedded store has no such bound.
    let (_folder, serving) = serve("store = \"store\"");
    assert_eq!(put(&serving, "2020-01-02T00:00:00Z", &large).0, 200);
    assert_eq!(
        now(&serving, "embedding", &["SFO"])[0],
        floats_read(100_000)
    );
    serving.stop();
}

/// The same as answers have them.
fn floats_read(count: usize) -> Value {
    json!([vec![1.0; count]])
}

#[test]
fn an_item_that_outgrows_a_table_refuses_its_own_put_and_no_other() {
    let (_folder, serving) = serve(&table("outgrown"));
    let time = "2020-01-01T00:00:00Z";
    assert_eq!(put(&serving, time, &[("embedding", floats(60_000))]).0, 200);
    let (code, told) = put(&serving, time, &[("outline", floats(60_000))]);
    assert_eq!(code, 413, "{told}");
    assert!(
        told.contains("\\\"SFO\\\"") && told.contains("400 KB"),
        "{told}"
    );
    assert_eq!(now(&serving, "outline", &["SFO"])[1], json!(["missing"]));
    assert_eq!(now(&serving, "embedding", &["SFO"])[0], floats_read(60_000));
    // Others are put as before, of this entity and of another; and this one when there is room for it.
    let both = values(
        &json!(["SFO", "LAX"]),
        time,
        &[("elevation", json!([1, 2]))],
    );
    assert_eq!(serving.post(PUT, &both).0, 200);
    assert_eq!(
        now(&serving, "elevation", &["SFO", "LAX"])[0],
        json!([1.0, 2.0])
    );
    let later = "2020-01-02T00:00:00Z";
    assert_eq!(put(&serving, later, &[("embedding", json!([null]))]).0, 200);
    assert_eq!(put(&serving, later, &[("outline", floats(60_000))]).0, 200);
    assert_eq!(now(&serving, "outline", &["SFO"])[0], floats_read(60_000));
    serving.stop();
}
