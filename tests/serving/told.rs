//! What a server tells of its cache, and of what is put.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::program::{Serving, json_to};
use super::put::{PUT, declared, now, values};
use super::start;
use crate::support::servers::dynamodb::{SHARED, settings};
use crate::support::{HOST, ask};

const CACHE: [&str; 10] = [
    "hits_total",
    "absent_hits_total",
    "misses_total",
    "joined_total",
    "expired_total",
    "failed_total",
    "age_seconds_total",
    "oldest_seconds",
    "items",
    "held_bytes",
];

/// The value of a series.
fn sample(metrics: &str, series: &str) -> f64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("{series} is not in\n{metrics}"));
    line.parse().unwrap()
}

/// Puts two values, and looks for those of another feature until the cache has answered.
fn metrics_after_a_put_and_two_looks(store: &str) -> String {
    let folder = declared(
        &format!("cache = {{ max_age = \"1h\" }}\n{store}"),
        "[environments.local.serving]\nanyone = \"write\"\ndeadline = \"30s\"",
    );
    let serving = Serving::start(&folder);
    let runways = [("runways", json!([4, 8]))];
    let body = values(&json!(["SFO", "LAX"]), "2020-01-02T00:00:00Z", &runways);
    assert_eq!(serving.post(PUT, &body).0, 200);
    for _ in 0..2 {
        now(&serving, "runways", &["SFO", "LAX", "nobody"]);
    }
    let metrics = ask(&serving.rest, "/metrics").1;
    serving.stop();
    metrics
}

#[test]
fn a_server_tells_of_its_cache_and_of_what_is_put() {
    let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
    let table = format!("store = \"dynamodb://put_told\"\n{}", settings(&endpoint));
    for store in ["store = \"store\"", &table] {
        let metrics = metrics_after_a_put_and_two_looks(store);
        for series in CACHE {
            sample(&metrics, &format!("penstock_store_cache_{series}"));
        }
        let cache = |series: &str| sample(&metrics, &format!("penstock_store_cache_{series}"));
        assert_eq!(
            ["hits_total", "absent_hits_total", "misses_total"].map(cache),
            [3.0, 1.0, 3.0]
        );
        assert_eq!(sample(&metrics, "penstock_serve_put_values_total"), 2.0);
        let of_puts = |series: &str| format!("penstock_store_{series}{{pipeline=\"elsewhere\"}}");
        if store == table {
            let counted = sample(&metrics, &of_puts("items_written_total"));
            assert_eq!(counted, 2.0, "{metrics}");
            for series in [
                "lag_seconds",
                "pending",
                "throttled_total",
                "oversized_total",
            ] {
                assert_eq!(sample(&metrics, &of_puts(series)), 0.0, "{series}");
            }
        } else {
            assert!(!metrics.contains("elsewhere"), "{metrics}");
        }
    }
}

#[test]
fn a_run_that_serves_tells_of_its_cache() {
    let folder = declared("store = \"store\"", "serving = { anyone = \"read\" }");
    let run = start(&folder, &["--listen", "127.0.0.1:0", "--speed", "1x"]);
    let url = format!("http://{}/v1/groups/airport/batch-get", run.address);
    let asked: Value = json!({"entities": ["nobody"], "features": ["runways"]});
    let code = HOST.io.block_on(async {
        let sent = json_to(reqwest::Client::new().post(&url), &asked).send();
        sent.await.unwrap().status().as_u16()
    });
    assert_eq!(code, 200);
    let metrics = ask(&run.address, "/metrics").1;
    assert_eq!(sample(&metrics, "penstock_store_cache_misses_total"), 1.0);
    run.signal(Signal::TERM);
    run.wait();
}
