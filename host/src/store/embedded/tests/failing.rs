//! A disk that can be full.

use std::fmt;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// The local file system, until it is said to be full: then every write fails as the system would have it.
#[derive(Debug)]
pub(super) struct FailingDisk {
    inner: LocalFileSystem,
    pub(super) full: Arc<AtomicBool>,
}

impl FailingDisk {
    pub(super) fn open(folder: &FsPath) -> Self {
        Self {
            inner: LocalFileSystem::new_with_prefix(folder).unwrap(),
            full: Arc::default(),
        }
    }

    fn room(&self) -> Result<()> {
        if !self.full.load(Relaxed) {
            return Ok(());
        }
        // 28 is ENOSPC on Linux, macOS and FreeBSD.
        let source = std::io::Error::from_raw_os_error(28);
        Err(Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(source),
        })
    }
}

impl fmt::Display for FailingDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailingDisk")
    }
}

#[async_trait]
impl ObjectStore for FailingDisk {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.room()?;
        self.inner.put_opts(to, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.room()?;
        self.inner.put_multipart_opts(to, opts).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(from, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.room()?;
        self.inner.copy_opts(from, to, options).await
    }
}
