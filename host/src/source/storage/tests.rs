//! Objects in memory that break off, stall out and change: what is read is right, or an error.

use std::io::Read;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use proptest::prelude::*;

use super::*;

/// A store whose answers break off after so many bytes, one number an answer; whole after these.
#[derive(Debug)]
struct Breaking {
    inner: InMemory,
    breaks: Mutex<Vec<usize>>,
    /// After so many answers the object is written anew.
    replace_after: Option<u32>,
    answers: AtomicU32,
}

impl std::fmt::Display for Breaking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a breaking store")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Breaking {
    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        let answers = self.answers.fetch_add(1, Ordering::Relaxed) + 1;
        if self.replace_after == Some(answers) {
            let before = self.inner.head(location).await?.size;
            let other = vec![b'x'; before as usize];
            self.inner.put(location, other.into()).await?;
        }
        let mut result = self.inner.get_opts(location, options).await?;
        let broken = self.breaks.lock().unwrap().pop();
        if let Some(after) = broken {
            let (meta, range) = (result.meta.clone(), result.range.clone());
            let attributes = result.attributes.clone();
            let whole = result.bytes().await?;
            let part = whole.slice(..after.min(whole.len()));
            let error = Error::Generic {
                store: "breaking",
                source: "connection reset".into(),
            };
            let parts = [Ok(part), Err(error)];
            result = GetResult {
                payload: GetResultPayload::Stream(futures::stream::iter(parts).boxed()),
                meta,
                range,
                attributes,
                extensions: Default::default(),
            };
        }
        Ok(result)
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn contents(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn object(
    runtime: &tokio::runtime::Runtime,
    length: usize,
    breaks: Vec<usize>,
    replace_after: Option<u32>,
) -> RemoteObject {
    let path = Path::from("rides/a.ndjson");
    let inner = InMemory::new();
    let put = inner.put(&path, contents(length).into());
    put.now_or_never().unwrap().unwrap();
    let found = inner.head(&path).now_or_never().unwrap().unwrap();
    let store = Breaking {
        inner,
        breaks: Mutex::new(breaks),
        replace_after,
        answers: AtomicU32::new(0),
    };
    RemoteObject::new(
        Arc::new(store),
        found,
        "s3://bucket/rides/a.ndjson".into(),
        Arc::default(),
        Arc::default(),
        runtime.handle().clone(),
    )
}

fn read(object: &RemoteObject) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    object.stream()?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn what_breaks_off_is_taken_up_where_it_stopped(
        length in 1_usize..1_500_000,
        breaks in prop::collection::vec(1_usize..400_000, 0..4),
        places in prop::collection::vec((0.0..1.0_f64, 1_usize..70_000), 1..6),
    ) {
        let runtime = runtime();
        let object = object(&runtime, length, breaks, None);
        let whole = contents(length);
        prop_assert_eq!(read(&object).unwrap(), whole.to_vec());
        for (place, many) in places {
            let start = (place * length as f64) as usize;
            let range: Range<usize> = start..(start + many).min(length);
            let read = object.read_at(start as u64, range.len()).unwrap();
            prop_assert_eq!(read, whole.slice(range));
        }
        prop_assert!(object.read_at(length as u64, 1).is_err());
    }
}

#[test]
fn an_object_that_is_replaced_in_the_middle_is_an_error_and_stays_one() {
    let runtime = runtime();
    let object = object(&runtime, 3_000_000, vec![], Some(3));
    let mut stream = object.stream().unwrap();
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).unwrap_err().to_string();
    assert!(
        error.contains("s3://bucket/rides/a.ndjson was replaced while it was read"),
        "{error}"
    );
    assert!(contents(3_000_000).starts_with(&bytes));
    assert!(stream.read(&mut [0; 10]).is_err());
}

#[test]
fn what_never_comes_is_given_up_with_its_place() {
    let runtime = runtime();
    let object = object(&runtime, 1000, vec![0; 100], None);
    let error = read(&object).unwrap_err().to_string();
    assert!(
        error.contains("given up at byte 0") && error.contains("connection reset"),
        "{error}"
    );
}

#[test]
fn more_objects_read_smaller_ranges() {
    let traffic = Traffic::default();
    traffic.join();
    assert_eq!(traffic.largest_range(), 8 << 20);
    (1..5000).for_each(|_| traffic.join());
    assert_eq!(traffic.largest_range(), 64 << 10);
}

#[test]
fn local_files_can_be_named_by_url() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.ndjson", "a.ndjson", "_c.ndjson", "d.txt"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let mut objects = Objects::new(&StoreOptions::default(), runtime.handle());
    let mut find = |rest: &str| {
        let url = format!("file://{}{rest}", folder.path().display());
        let found = objects.find(&url, |name| name.ends_with(".ndjson"));
        found.map(|found| {
            let names = found.iter().map(|file| {
                let mut text = String::new();
                file.stream().unwrap().read_to_string(&mut text).unwrap();
                assert!(
                    file.name().ends_with(&format!("/{text}")),
                    "{}",
                    file.name()
                );
                text
            });
            names.collect::<Vec<_>>()
        })
    };
    assert_eq!(find("/").unwrap(), ["a.ndjson", "b.ndjson"]);
    assert_eq!(find("/*.ndjson").unwrap(), ["a.ndjson", "b.ndjson"]);
    assert_eq!(find("/d.txt").unwrap(), ["d.txt"]);
    let error = find("/e.txt").unwrap_err();
    assert_eq!(error.fault, StorageFault::Missing, "{error}");
    let error = find("/*.parquet").unwrap_err();
    assert_eq!(error.fault, StorageFault::Missing, "{error}");
}
