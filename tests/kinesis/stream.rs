//! Streams that tests write to and reshard.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use penstock_servers::{Kinesis, Server};
use serde_json::{Value, json};

use crate::support::servers;

/// The service for tests that leave it alone, each with streams of its own names. It starts at the
/// first use.
pub(crate) static SHARED: LazyLock<Server<Kinesis>> = LazyLock::new(|| servers::start(Kinesis));

/// A stream, which is deleted with this value: the service has a limit for shards of all streams.
pub(crate) struct Stream {
    pub(crate) name: &'static str,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let all = json!({"StreamName": self.name, "EnforceConsumerDeletion": true});
        // What fails here fails in no test.
        let _ = SHARED.call("DeleteStream", &all.to_string());
    }
}

impl Stream {
    /// Makes a stream, and waits until it can be used.
    #[track_caller]
    pub(crate) fn make(name: &'static str, shards: u32) -> Self {
        let stream = Self { name };
        stream.call("CreateStream", json!({"ShardCount": shards}));
        stream.active();
        stream
    }

    /// Calls an action with the stream's name and more.
    #[track_caller]
    pub(crate) fn call(&self, action: &str, mut more: Value) -> Value {
        more["StreamName"] = self.name.into();
        let told = SHARED.call(action, &more.to_string());
        let told = told.unwrap_or_else(|error| panic!("{action} {more}: {error:#}"));
        serde_json::from_str(&told).unwrap_or(Value::Null)
    }

    /// Waits until the stream can be used, or used again.
    #[track_caller]
    pub(crate) fn active(&self) {
        let told = || self.call("DescribeStreamSummary", json!({}));
        while told()["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE" {}
    }

    /// Writes values with keys, in this order, and gives their sequence numbers.
    #[track_caller]
    pub(crate) fn put<K: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        records: impl IntoIterator<Item = (K, V)>,
    ) -> Vec<String> {
        let records: Vec<Value> = records
            .into_iter()
            .map(|(key, value)| {
                json!({"PartitionKey": key.as_ref(), "Data": BASE64_STANDARD.encode(value)})
            })
            .collect();
        let mut numbers = Vec::new();
        for records in records.chunks(500) {
            let told = self.call("PutRecords", json!({"Records": records}));
            assert_eq!(told["FailedRecordCount"], 0, "{told}");
            let told = told["Records"].as_array().unwrap().iter();
            numbers.extend(told.map(|it| it["SequenceNumber"].as_str().unwrap().to_owned()));
        }
        numbers
    }

    /// The names of all shards.
    #[track_caller]
    pub(crate) fn shards(&self) -> Vec<String> {
        let told = self.call("ListShards", json!({}));
        let shards = told["Shards"].as_array().unwrap().iter();
        let mut shards: Vec<String> = shards
            .map(|it| it["ShardId"].as_str().unwrap().to_owned())
            .collect();
        shards.sort();
        shards
    }

    /// Splits a shard in the middle, and waits until that is done.
    #[track_caller]
    pub(crate) fn split(&self, shard: &str) {
        let told = self.call("ListShards", json!({}));
        let shards = told["Shards"].as_array().unwrap().iter();
        let range =
            shards.clone().find(|it| it["ShardId"] == shard).unwrap()["HashKeyRange"].clone();
        let key = |name: &str| range[name].as_str().unwrap().parse::<u128>().unwrap();
        let middle = u128::midpoint(key("StartingHashKey"), key("EndingHashKey")).to_string();
        let more = json!({"ShardToSplit": shard, "NewStartingHashKey": middle});
        self.call("SplitShard", more);
        self.active();
    }

    /// Merges two neighbours, and waits until that is done.
    #[track_caller]
    pub(crate) fn merge(&self, shard: &str, other: &str) {
        let more = json!({"ShardToMerge": shard, "AdjacentShardToMerge": other});
        self.call("MergeShards", more);
        self.active();
    }
}

/// `0..count`, dealt to `keys` keys in turn: `(key-2, 2:17)` is the 18th value of the third key.
pub(crate) fn values(keys: usize, count: std::ops::Range<usize>) -> Vec<(String, String)> {
    count
        .map(|number| {
            let key = number % keys;
            (format!("key-{key}"), format!("{key}:{}", number / keys))
        })
        .collect()
}
