//! The local file system as an object store, whose failures end an operation instead of being tried again.
//!
//! The storage engine takes every failure of its object store for a passing one and repeats the operation for ever,
//! some of them (an upload of a table) whatever its settings say. That suits a network. On a disk that is full or
//! read-only it would hang the pipeline without a word, so such failures are marked as final here. The engine then
//! closes the database, and every later call reports the first failure.

use std::fmt;
use std::ops::Range;
use std::path::Path as FsPath;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::ready;
use futures::stream::{BoxStream, StreamExt as _, once};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, Result, UploadPart,
};
use slatedb_common::retry::{NonRetryable, should_retry};

use super::tables::{Table, Tables, read_exactly};

/// Held while an object is replaced on the condition that it is the one that was read.
static UPDATES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// An object store whose failures are final.
#[derive(Debug)]
pub(super) struct Disk<S = LocalFileSystem> {
    objects: S,
    tables: Arc<Tables>,
}

impl<S> Disk<S> {
    /// What failures of `objects` are final in.
    pub(super) fn on(objects: S) -> Self {
        Self {
            objects,
            tables: Arc::default(),
        }
    }
}

impl Disk {
    /// Opens an existing folder. What is put there is synced to the disk before it counts as written: the engine's
    /// promise of durability is no stronger than its object store's.
    pub(super) fn open(folder: &FsPath) -> Result<Self> {
        let objects = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        Ok(Self::on(objects))
    }
}

impl<S: fmt::Display> fmt::Display for Disk<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.objects.fmt(f)
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

impl<S: ObjectStore> Disk<S> {
    /// Reads a small part of a table whose file is open. None for what cannot be read so: whoever asked hears
    /// why when it is read as all files are.
    async fn read_table(&self, from: &Path, range: &GetRange) -> Result<Option<GetResult>> {
        let table = match self.tables.get(from) {
            Some(table) => table,
            None => {
                let found = self.objects.get_opts(from, GetOptions::default()).await;
                let found = found.map_err(last)?;
                let GetResultPayload::File(file, _) = found.payload else {
                    return Ok(None);
                };
                let table = Table::new(file, found.meta, found.attributes);
                self.tables.keep(from, table)
            }
        };
        let Ok(range) = range.as_range(table.meta.size) else {
            return Ok(None);
        };
        Ok(table.read(&range).ok().map(|bytes| GetResult {
            payload: at_hand(bytes),
            meta: table.meta.clone(),
            range,
            attributes: table.attributes.clone(),
            extensions: Default::default(),
        }))
    }
}

/// Reads a small part of a file at once. Where the system has it in memory, as most are, it is there sooner than another
/// thread would be. What cannot be read so is left to be read by whoever asked, who then hears why.
fn read_at_once(found: GetResult) -> GetResult {
    let GetResultPayload::File(file, _) = &found.payload else {
        return found;
    };
    if found.range.end - found.range.start > AT_ONCE {
        return found;
    }
    match read_exactly(file, &found.range) {
        Ok(bytes) => GetResult {
            payload: at_hand(bytes),
            ..found
        },
        Err(_) => found,
    }
}

fn at_hand(bytes: Bytes) -> GetResultPayload {
    GetResultPayload::Stream(once(ready(Ok(bytes))).boxed())
}

/// What is asked for of an object, if that is little.
fn small(options: &GetOptions) -> Option<&GetRange> {
    options.range.as_ref().filter(|range| match range {
        GetRange::Bounded(range) => range.end.saturating_sub(range.start) <= AT_ONCE,
        GetRange::Suffix(bytes) => *bytes <= AT_ONCE,
        GetRange::Offset(_) => false,
    })
}

/// Whether nothing is asked beside what is at a path.
fn is_plain(options: &GetOptions) -> bool {
    let GetOptions {
        if_match,
        if_none_match,
        if_modified_since,
        if_unmodified_since,
        version,
        head,
        ..
    } = options;
    if_match.is_none()
        && if_none_match.is_none()
        && if_modified_since.is_none()
        && if_unmodified_since.is_none()
        && version.is_none()
        && !head
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
            return self.objects.put_opts(to, payload, opts).await.map_err(last);
        };
        // A file system cannot replace a file on condition. The engine does so only where a lane's one writer
        // works, and that is one process: a lock in it is enough.
        let _alone = UPDATES.lock().await;
        let head = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = self.objects.get_opts(to, head).await.map_err(last)?;
        if found.meta.e_tag != expected.e_tag {
            return Err(Error::Precondition {
                path: to.to_string(),
                source: "somebody else has replaced it".into(),
            });
        }
        opts.mode = PutMode::Overwrite;
        self.objects.put_opts(to, payload, opts).await.map_err(last)
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self
            .objects
            .put_multipart_opts(to, opts)
            .await
            .map_err(last)?;
        Ok(Box::new(Upload(upload)))
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        if !is_plain(&options) {
            return self.objects.get_opts(from, options).await.map_err(last);
        }
        if Tables::is_one(from)
            && let Some(range) = small(&options)
            && let Some(found) = self.read_table(from, range).await?
        {
            return Ok(found);
        }
        let found = self.objects.get_opts(from, options).await;
        found.map(read_at_once).map_err(last)
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.objects.get_ranges(from, ranges).await.map_err(last)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let tables = Arc::clone(&self.tables);
        let deleted = self
            .objects
            .delete_stream(locations)
            .map(move |deleted| deleted.inspect(|path| tables.close(path)).map_err(last));
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix).map(|r| r.map_err(last)).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects
            .list_with_offset(prefix, offset)
            .map(|r| r.map_err(last))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await.map_err(last)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects
            .copy_opts(from, to, options)
            .await
            .map_err(last)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.objects
            .rename_opts(from, to, options)
            .await
            .map_err(last)
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
