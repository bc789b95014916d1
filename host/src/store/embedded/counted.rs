//! An object store of one lane, whose requests are counted: on object storage each of them is paid for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// Names that one request for a listing gives, at most.
const PAGE: u64 = 1000;

/// What a lane asked for since it was opened. What is asked again because it failed counts again, but for the few
/// tries that the client of a bucket makes by itself.
#[derive(Debug, Default)]
pub struct StoreRequests {
    get: AtomicU64,
    put: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
}

/// Requests by what they are, and what went over the line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Objects or parts of them that were read, and looks at what they are.
    pub get: u64,
    /// Objects that were written; of large ones each part, and the two requests around them.
    pub put: u64,
    /// Listings, a thousand names each at most.
    pub list: u64,
    /// Objects that were removed.
    pub delete: u64,
    /// Bytes that were asked for.
    pub read_bytes: u64,
    /// Bytes that were sent.
    pub written_bytes: u64,
}

impl StoreRequests {
    /// What there was so far.
    pub fn counts(&self) -> RequestCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RequestCounts {
            get: load(&self.get),
            put: load(&self.put),
            list: load(&self.list),
            delete: load(&self.delete),
            read_bytes: load(&self.read_bytes),
            written_bytes: load(&self.written_bytes),
        }
    }

    fn put(&self, bytes: usize) {
        one(&self.put);
        add(&self.written_bytes, bytes as u64);
    }
}

impl RequestCounts {
    /// All of them by their names.
    pub fn by_name(&self) -> [(&'static str, u64); 4] {
        [
            ("get", self.get),
            ("put", self.put),
            ("list", self.list),
            ("delete", self.delete),
        ]
    }

    /// How many there were.
    pub fn all(&self) -> u64 {
        self.get + self.put + self.list + self.delete
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

fn one(count: &AtomicU64) {
    add(count, 1);
}

/// The objects of a store, as one lane asks for them.
#[derive(Debug)]
pub(super) struct Counted {
    inner: Arc<dyn ObjectStore>,
    requests: Arc<StoreRequests>,
}

impl Counted {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            requests: Arc::default(),
        }
    }

    pub(super) fn requests(&self) -> &Arc<StoreRequests> {
        &self.requests
    }

    fn pages(
        &self,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        one(&self.requests.list);
        let requests = Arc::clone(&self.requests);
        let counted = listed.enumerate().map(move |(at, found)| {
            if at > 0 && (at as u64).is_multiple_of(PAGE) {
                one(&requests.list);
            }
            found
        });
        counted.boxed()
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.requests.put(payload.content_length());
        self.inner.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.requests.put(0);
        let inner = self.inner.put_multipart_opts(to, options).await?;
        let requests = Arc::clone(&self.requests);
        Ok(Box::new(CountedUpload { inner, requests }))
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        one(&self.requests.get);
        let is_head = options.head;
        let found = self.inner.get_opts(from, options).await?;
        if !is_head {
            add(
                &self.requests.read_bytes,
                found.range.end - found.range.start,
            );
        }
        Ok(found)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let requests = Arc::clone(&self.requests);
        let counted = locations.inspect(move |_| one(&requests.delete));
        self.inner.delete_stream(counted.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pages(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.pages(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        one(&self.requests.list);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.requests.put(0);
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    requests: Arc<StoreRequests>,
}

#[async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.requests.put(data.content_length());
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.requests.put(0);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        one(&self.requests.delete);
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn every_request_counts_once() {
        let store = Counted::new(Arc::new(InMemory::new()));
        let at = Path::from("a/b");
        store.put(&at, "12345".into()).await.unwrap();
        store.get_range(&at, 1..3).await.unwrap();
        store.head(&at).await.unwrap();
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        store.list_with_delimiter(None).await.unwrap();
        let mut upload = store.put_multipart(&Path::from("c")).await.unwrap();
        upload.put_part("678".into()).await.unwrap();
        upload.complete().await.unwrap();
        store.delete(&at).await.unwrap();
        let counts = store.requests().counts();
        let expected = RequestCounts {
            get: 2,
            put: 4,
            list: 2,
            delete: 1,
            read_bytes: 2,
            written_bytes: 8,
        };
        assert_eq!(counts, expected);
        assert_eq!(counts.all(), 9);
    }
}
