//! For how long items of a table are kept: what lies in it, and what the service is told.

use penstock::store::dynamodb::DynamoDbStore;
use penstock::store::{FeatureReader as _, FeatureStore as _};
use serde_json::{Value, json};

use super::backends::{PIPELINE, declaration, items};
use crate::support::HOST;
use crate::support::servers::dynamodb::{SHARED, table};

const HOUR: i64 = 3_600_000_000;

fn call(action: &str, asked: &Value) -> Value {
    let answer = SHARED.call(action, &asked.to_string()).unwrap();
    serde_json::from_str(&answer).unwrap()
}

/// When an item of a table may go, in seconds since 1970.
fn expires(table: &str, entity: &str) -> Option<i64> {
    let pk = format!("f/driver/{PIPELINE}/10m/{entity}");
    let key = json!({"pk": {"S": pk}, "sk": {"S": "-"}});
    let asked = json!({"TableName": table, "Key": key, "ConsistentRead": true});
    let item = call("GetItem", &asked)["Item"].clone();
    assert!(item["o"].is_object(), "there is no item: {item}");
    let seconds = item["expires"]["N"].as_str()?;
    Some(seconds.parse().unwrap())
}

#[test]
fn an_item_says_when_it_may_go_and_the_service_is_told_to_look() {
    let place = table("expires");
    HOST.io.block_on(async {
        assert!(DynamoDbStore::init(&place).await.unwrap());
        let [writer, other] = [DynamoDbStore::open(&place), DynamoDbStore::open(&place)];
        let (writer, other) = (writer.await.unwrap(), other.await.unwrap());
        let described = call("DescribeTimeToLive", &json!({"TableName": "expires"}));
        let told = &described["TimeToLiveDescription"];
        assert_eq!(told["AttributeName"], "expires");
        assert_eq!(told["TimeToLiveStatus"], "ENABLED");

        // Of two features that lie in one item, the one that is of use for longer counts.
        let short = declaration("short", 1, "10m", r#"{"ttl":"1h"}"#);
        let long = declaration("long", 1, "10m", r#"{"ttl":"2h"}"#);
        writer.declare(&[short.clone(), long]).await.unwrap();
        let now = writer.unix();
        let write = async |entity: &str, sequence: u64| {
            let rows = [(entity, now, Some(1))];
            let items = items("10m", &[("short", 1)], (1, sequence), &rows);
            writer.write(0, items).await.unwrap();
            writer.flush_lane(PIPELINE, 0).await.unwrap();
            expires("expires", entity)
        };
        let seconds = |ttl: i64| Some((now + ttl).div_euclid(1_000_000) + 1);
        assert_eq!(write("e", 0).await, seconds(2 * HOUR));

        // Somebody else raises it, and a writer at work hears of that.
        let raised = declaration("short", 1, "10m", r#"{"ttl":"3h"}"#);
        other.declare(&[raised]).await.unwrap();
        let until = HOST.clock.now() + std::time::Duration::from_secs(60);
        for sequence in 1.. {
            if write("e", sequence).await == seconds(3 * HOUR) {
                break;
            }
            assert!(HOST.clock.now() < until, "it is not heard of");
            let soon = HOST.clock.now() + std::time::Duration::from_millis(200);
            HOST.clock.wait(soon, &false.into());
        }

        // One that is of use for ever never goes.
        let ever = declaration("ever", 1, "10m", "");
        writer.declare(&[ever]).await.unwrap();
        assert_eq!(write("f", 1).await, None);
    });
}
