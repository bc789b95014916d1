//! A real S3 API, with buckets and objects that tests put there.

use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use penstock_servers::{S3, Server};

use crate::support::HOST;

/// A server that ends with this value. It holds what it was given in memory.
pub(crate) fn start() -> Server<S3> {
    super::start(S3::default())
}

/// One that asks for right credentials after so many requests. It knows none, so none are right.
pub(crate) fn start_locking_after(requests: u32) -> Server<S3> {
    super::start(S3::locking_after(requests))
}

/// Writes an object to the server at `port`, as the owner of what is there.
pub(crate) fn put(port: u16, bucket: &str, key: &str, contents: &[u8]) {
    let contents = contents.to_vec().into();
    let put = HOST.io.block_on(async {
        let store = store(port, bucket);
        store.put(&Path::from(key), contents).await
    });
    put.unwrap_or_else(|error| panic!("{bucket}/{key}: {error}"));
}

/// Reads an object from the server at `port`.
pub(crate) fn get(port: u16, bucket: &str, key: &str) -> Vec<u8> {
    let got = HOST.io.block_on(async {
        let found = store(port, bucket).get(&Path::from(key)).await?;
        found.bytes().await
    });
    let got = got.unwrap_or_else(|error| panic!("{bucket}/{key}: {error}"));
    got.to_vec()
}

fn store(port: u16, bucket: &str) -> impl ObjectStoreExt {
    AmazonS3Builder::new()
        .with_endpoint(format!("http://127.0.0.1:{port}"))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(bucket)
        .with_access_key_id("AKIAEXAMPLE")
        .with_secret_access_key("not-to-be-shown")
        .build()
        .expect("the options are right")
}

/// The options of an environment for an S3 server at `port`.
pub(crate) fn options(port: u16) -> String {
    format!(
        "[environments.local.object_store]\naws_endpoint = \"http://127.0.0.1:{port}\"\naws_allow_http = \"true\"\naws_region = \"us-east-1\"\naws_access_key_id = \"AKIAEXAMPLE\"\naws_secret_access_key = \"not-to-be-shown\"\ntimeout = \"2s\"\n"
    )
}
