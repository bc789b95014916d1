//! Reading files of the history back.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use object_store::{Error, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{OfflineFile, OfflineStore, Span};
use crate::store::StoreError;

impl OfflineStore {
    /// A file's bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be read, or is not there any more.
    pub async fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        self.got(name)
            .await
            .map_err(|error| self.explain(name, &error))
    }

    /// The rows of a file.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the file is not there any more, cannot be read, or is not Parquet.
    pub async fn read(&self, name: &str) -> Result<RecordBatch, StoreError> {
        let bytes = self.get(name).await?;
        decode(bytes).map_err(|reason| self.damaged(name, reason))
    }

    /// Hands on the rows of every file of a group, with the file's name, whatever is compacted meanwhile. Some rows may be
    /// handed on twice then: those of a file, and of the one that it was compacted into.
    ///
    /// # Errors
    ///
    /// What `take` says; [`StoreError`] when files cannot be listed or read, or one is not Parquet.
    pub async fn read_all(
        &self,
        group: &str,
        mut take: impl FnMut(&str, &RecordBatch) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut taken = HashSet::new();
        loop {
            let mut is_all = true;
            for OfflineFile { name, .. } in self.files(group).await? {
                if taken.contains(&name) {
                    continue;
                }
                let bytes = match self.got(&name).await {
                    Ok(bytes) => bytes,
                    // It is in a file that the next listing shows.
                    Err(Error::NotFound { .. }) => {
                        is_all = false;
                        continue;
                    }
                    Err(error) => return Err(self.explain(&name, &error)),
                };
                let rows = decode(bytes).map_err(|reason| self.damaged(&name, reason))?;
                take(&name, &rows)?;
                taken.insert(name);
            }
            if is_all {
                return Ok(());
            }
        }
    }

    /// Files of this machine with all rows that a group has of a span, and others, in the folder `into`, where they stay
    /// whatever is compacted: those of one pipeline, if that is named. Of a folder they are links where the file system can
    /// link.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when files cannot be listed, read or copied.
    pub async fn snapshot(
        &self,
        group: &str,
        pipeline: Option<&str>,
        span: Span,
        into: &Path,
    ) -> Result<Vec<PathBuf>, StoreError> {
        loop {
            let mut files = self.files(group).await?;
            files.retain(|file| {
                file.may_have(span) && pipeline.is_none_or(|pipeline| file.is_of(pipeline))
            });
            // What is gone is in a file that the next listing shows.
            if let Some(copies) = self.copied(&files, into).await? {
                return Ok(copies);
            }
        }
    }

    /// None if one of them is gone.
    async fn copied(
        &self,
        files: &[OfflineFile],
        into: &Path,
    ) -> Result<Option<Vec<PathBuf>>, StoreError> {
        let mut copies = Vec::with_capacity(files.len());
        for OfflineFile { name, .. } in files {
            // Copying may take long, and is given up here if nobody wants it any more.
            tokio::task::yield_now().await;
            let copy = into.join(name.replace('/', "_"));
            let done = match &self.folder {
                _ if copy.exists() => Ok(()),
                Some(folder) => {
                    let file = folder.join(name);
                    std::fs::hard_link(&file, &copy)
                        .or_else(|_| std::fs::copy(&file, &copy).map(|_| ()))
                }
                None => match self.got(name).await {
                    Ok(bytes) => std::fs::write(&copy, &bytes),
                    Err(Error::NotFound { .. }) => return Ok(None),
                    Err(error) => return Err(self.explain(name, &error)),
                },
            };
            match done {
                Ok(()) => copies.push(copy),
                Err(error) if error.kind() == io::ErrorKind::NotFound && into.exists() => {
                    return Ok(None);
                }
                Err(source) => {
                    return Err(StoreError::Io {
                        doing: "write",
                        path: copy,
                        source,
                    });
                }
            }
        }
        Ok(Some(copies))
    }

    pub(super) async fn got(&self, name: &str) -> Result<Bytes, Error> {
        self.objects.get(&self.path(name)).await?.bytes().await
    }

    pub(super) fn damaged(&self, name: &str, reason: String) -> StoreError {
        StoreError::Damaged {
            path: format!("{}/{name}", self.shown).into(),
            reason,
        }
    }
}

pub(super) fn decode(bytes: Bytes) -> Result<RecordBatch, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes);
    let builder = builder.map_err(|error| error.to_string())?;
    let schema = Arc::clone(builder.schema());
    let reader = builder.build().map_err(|error| error.to_string())?;
    let batches: Vec<RecordBatch> = reader
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    concat_batches(&schema, &batches).map_err(|error| error.to_string())
}
