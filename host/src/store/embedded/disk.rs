//! The local file system as an object store, whose failures end an operation instead of being tried again.
//!
//! The storage engine takes every failure of its object store for a passing one and repeats the operation for ever,
//! some of them (an upload of a table) whatever its settings say. That suits a network. On a disk that is full or
//! read-only it would hang the pipeline without a word, so such failures are marked as final here. The engine then
//! closes the database, and every later call reports the first failure.

use std::fmt;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path as FsPath;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::ready;
use futures::stream::{BoxStream, StreamExt as _, once};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart,
};
use slatedb_common::retry::{NonRetryable, should_retry};

/// Held while an object is replaced on the condition that it is the one that was read.
static UPDATES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// An object store whose failures are final.
#[derive(Debug)]
pub(super) struct Disk<S = LocalFileSystem>(pub(super) S);

impl Disk {
    /// Opens an existing folder. What is put there is synced to the disk before it counts as written: the engine's
    /// promise of durability is no stronger than its object store's.
    pub(super) fn open(folder: &FsPath) -> Result<Self> {
        Ok(Self(
            LocalFileSystem::new_with_prefix(folder)?.with_fsync(true),
        ))
    }
}

impl<S: fmt::Display> fmt::Display for Disk<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn last(error: Error) -> Error {
    // Answers such as "not found" and "already exists" are part of the engine's protocols and stay what they are.
    if should_retry(&error) {
        Error::Generic {
            store: "Disk",
            source: Box::new(NonRetryable(Box::new(error))),
        }
    } else {
        error
    }
}

/// Bytes that are read where they are asked for.
const AT_ONCE: u64 = 64 << 10;

/// Reads a small part of a file at once. Where the system has it in memory, as most blocks of tables
/// are, it is there sooner than another thread would be. What cannot be read so is left to be read
/// by whoever asked, who then hears why.
fn read_at_once(found: GetResult) -> GetResult {
    let length = found.range.end - found.range.start;
    let GetResultPayload::File(file, _) = &found.payload else {
        return found;
    };
    if length > AT_ONCE {
        return found;
    }
    let mut bytes = vec![0; length as usize];
    match file.read_exact_at(&mut bytes, found.range.start) {
        Ok(()) => GetResult {
            payload: GetResultPayload::Stream(once(ready(Ok(bytes.into()))).boxed()),
            ..found
        },
        Err(_) => found,
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Disk<S> {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> Result<PutResult> {
        let PutMode::Update(expected) = &opts.mode else {
            return self.0.put_opts(to, payload, opts).await.map_err(last);
        };
        // A file system cannot replace a file on condition. The engine does so only where a lane's one writer
        // works, and that is one process: a lock in it is enough.
        let _alone = UPDATES.lock().await;
        let head = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = self.0.get_opts(to, head).await.map_err(last)?;
        if found.meta.e_tag != expected.e_tag {
            return Err(Error::Precondition {
                path: to.to_string(),
                source: "somebody else has replaced it".into(),
            });
        }
        opts.mode = PutMode::Overwrite;
        self.0.put_opts(to, payload, opts).await.map_err(last)
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.0.put_multipart_opts(to, opts).await.map_err(last)?;
        Ok(Box::new(Upload(upload)))
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.0.get_opts(from, options).await.map_err(last)?;
        Ok(read_at_once(found))
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(from, ranges).await.map_err(last)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0
            .delete_stream(locations)
            .map(|r| r.map_err(last))
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix).map(|r| r.map_err(last)).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0
            .list_with_offset(prefix, offset)
            .map(|r| r.map_err(last))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await.map_err(last)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await.map_err(last)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await.map_err(last)
    }
}

#[derive(Debug)]
struct Upload(Box<dyn MultipartUpload>);

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.0.put_part(data);
        Box::pin(async move { part.await.map_err(last) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.0.complete().await.map_err(last)
    }

    async fn abort(&mut self) -> Result<()> {
        self.0.abort().await.map_err(last)
    }
}

#[cfg(test)]
mod tests {
    use object_store::UpdateVersion;

    use super::*;

    /// The engine's collector keeps its marks so.
    #[tokio::test]
    async fn a_file_is_replaced_only_if_it_is_the_one_that_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let at = Path::from("gc/mark");
        let put = async |text: &'static str, mode| {
            let options = PutOptions::from(mode);
            disk.put_opts(&at, PutPayload::from_static(text.as_bytes()), options)
                .await
        };
        let first = put("one", PutMode::Create).await.unwrap();
        let read = |result: &PutResult| {
            PutMode::Update(UpdateVersion {
                e_tag: result.e_tag.clone(),
                version: None,
            })
        };
        put("four", read(&first)).await.unwrap();
        let stale = put("five", read(&first)).await;
        assert!(
            matches!(stale, Err(Error::Precondition { .. })),
            "{stale:?}"
        );
        let found = disk.get_opts(&at, GetOptions::default()).await.unwrap();
        assert_eq!(found.bytes().await.unwrap(), "four");
    }
}
