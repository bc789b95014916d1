//! Kinesis, DynamoDB and S3, by the plainest requests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use penstock_servers::{DynamoDb, Kinesis, Server};

use crate::support::servers::{s3, start};

#[test]
fn kinesis_keeps_records_over_a_stop() {
    let mut kinesis = start(Kinesis);
    let stream = |more: &str| format!("{{\"StreamName\": \"rides\"{more}}}");
    kinesis
        .call("CreateStream", &stream(", \"ShardCount\": 1"))
        .unwrap();
    let active = |kinesis: &Server<Kinesis>| {
        let told = kinesis.call("DescribeStreamSummary", &stream(""));
        told.unwrap().contains("\"ACTIVE\"")
    };
    while !active(&kinesis) {}
    // "hello", in base64.
    let record = stream(", \"PartitionKey\": \"driver 7\", \"Data\": \"aGVsbG8=\"");
    kinesis.call("PutRecord", &record).unwrap();
    for _ in 0..2 {
        let from =
            ", \"ShardId\": \"shardId-000000000000\", \"ShardIteratorType\": \"TRIM_HORIZON\"";
        // The answer, `{"ShardIterator": …}`, is the next question as it is.
        let iterator = kinesis.call("GetShardIterator", &stream(from)).unwrap();
        let records = kinesis.call("GetRecords", &iterator).unwrap();
        assert!(
            records.contains("aGVsbG8=") && records.contains("driver 7"),
            "{records}"
        );
        kinesis.stop().unwrap();
        kinesis.start_again().unwrap();
    }
    let error = kinesis.call(
        "PutRecord",
        "{\"StreamName\": \"nobody-made-it\", \"PartitionKey\": \"k\", \"Data\": \"\"}",
    );
    let error = format!("{:#}", error.expect_err("there is no such stream"));
    assert!(error.contains("ResourceNotFoundException"), "{error}");
}

#[test]
fn dynamodb_keeps_items_on_disk_and_not_in_memory() {
    let table = "{\"TableName\": \"features\", \"BillingMode\": \"PAY_PER_REQUEST\", \"AttributeDefinitions\": [{\"AttributeName\": \"k\", \"AttributeType\": \"S\"}], \"KeySchema\": [{\"AttributeName\": \"k\", \"KeyType\": \"HASH\"}]}";
    let key = "\"TableName\": \"features\", \"Key\": {\"k\": {\"S\": \"driver 7\"}}";
    let item = "{\"TableName\": \"features\", \"Item\": {\"k\": {\"S\": \"driver 7\"}, \"v\": {\"N\": \"42\"}}}";
    for (kind, keeps) in [(DynamoDb::on_disk(), true), (DynamoDb::in_memory(), false)] {
        let mut dynamodb = start(kind);
        dynamodb.call("CreateTable", table).unwrap();
        dynamodb.call("PutItem", item).unwrap();
        let get = |server: &Server<DynamoDb>| server.call("GetItem", &format!("{{{key}}}"));
        assert!(get(&dynamodb).unwrap().contains("\"42\""));
        dynamodb.kill().unwrap();
        dynamodb.start_again().unwrap();
        assert_eq!(
            get(&dynamodb).is_ok_and(|item| item.contains("\"42\"")),
            keeps
        );
    }
}

#[test]
fn s3_gives_objects_back_and_waits_while_it_is_frozen() {
    let mut server = s3::start();
    server.make_bucket("features").unwrap();
    s3::put(server.port(), "features", "a/b", b"hello");
    server.freeze().unwrap();
    let mut connection = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    connection
        .write_all(b"GET /moto-api/data.json HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        .unwrap();
    // It will not answer, however long this waits.
    connection
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut answer = String::new();
    connection
        .read_to_string(&mut answer)
        .expect_err("it stands still");
    assert_eq!(answer, "");
    server.thaw().unwrap();
    connection.set_read_timeout(None).unwrap();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(s3::get(server.port(), "features", "a/b"), b"hello");

    // One that is frozen can still be stopped.
    server.freeze().unwrap();
    server.stop().unwrap();
    server.start_again().unwrap();
    server.make_bucket("features").unwrap();
}

#[test]
fn a_server_takes_its_folder_along() {
    let server = start(Kinesis);
    let folder = server.place().folder.clone();
    assert!(server.place().log().exists());
    drop(server);
    assert!(!folder.exists());
}
