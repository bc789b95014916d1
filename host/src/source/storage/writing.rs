//! A folder on object storage that files are written to, each whole or not at all.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart,
};
use tokio::runtime::Handle;

use super::fetch::Traffic;
use super::object::RemoteObject;
use crate::config::StoreOptions;
use crate::objects::{
    Hidden, Kind, Place, StorageError, StorageFault, StoreUrl, at, explain, open, retries,
};
use crate::source::recording::Recording;

/// What is put in one request, which no object may be there before. Larger ones go in parts.
const ONE_PUT: u64 = 16 << 20;
/// Bytes of a part, and how many are under way at once.
const PART: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 4;

/// A folder of an object store. Calls block, and must not come from a task of its runtime.
#[derive(Debug)]
pub struct RemoteFolder {
    store: Arc<dyn ObjectStore>,
    url: StoreUrl,
    /// None for the root.
    folder: Option<Path>,
    hidden: Arc<Hidden>,
    traffic: Arc<Traffic>,
    io: Handle,
}

/// What came of putting an object where none should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there.
    Done,
    /// Another one is there, and was left as it is.
    Taken,
}

impl RemoteFolder {
    /// The folder that `url` names, with or without a `/` at its end. Nothing is asked of the store yet.
    ///
    /// # Errors
    ///
    /// The URL means nothing, is a glob, or names a place that cannot be written to.
    pub fn open(url: &str, options: &StoreOptions, io: &Handle) -> Result<Self, StorageError> {
        let url = StoreUrl::parse(&format!("{}/", url.trim_end_matches('/')))?;
        let refuse = |why: &str, hint: &str| {
            let message = format!("{} {why}", url.shown());
            StorageError::new(StorageFault::Url, message, hint)
        };
        if url.kind() == Kind::Http {
            let hint = "name a folder of a bucket: s3://BUCKET/FOLDER/";
            return Err(refuse("is a web server, which takes no files", hint));
        }
        if url.key().contains(['*', '?', '[']) {
            return Err(refuse(
                "is a glob, and files are written to one folder",
                "leave `*`, `?` and `[` out",
            ));
        }
        let key = url.key().trim_matches('/');
        let folder = match key {
            "" => None,
            key => Some(
                Path::parse(key).map_err(|error| refuse(&error.to_string(), "name a folder"))?,
            ),
        };
        let hidden = Arc::new(Hidden::gather(options));
        let store = open(&url, options, retries()).map_err(|error| at(&url, &hidden, &error))?;
        Ok(Self {
            store,
            folder,
            hidden,
            traffic: Arc::default(),
            io: io.clone(),
            url,
        })
    }

    /// The names of the objects directly in a folder of this one.
    ///
    /// # Errors
    ///
    /// The store does not answer, or refuses.
    pub fn names(&self, within: &str) -> Result<Vec<String>, StorageError> {
        let folder = self.path(within);
        let listed = self
            .io
            .block_on(self.store.list_with_delimiter(Some(&folder)));
        let listed = listed.map_err(|error| at(&self.url, &self.hidden, &error))?;
        let names = listed
            .objects
            .iter()
            .filter_map(|object| object.location.filename());
        Ok(names.map(str::to_owned).collect())
    }

    /// An object, to read it.
    ///
    /// # Errors
    ///
    /// It is not there, or the store does not answer, or refuses.
    pub fn object(&self, name: &str) -> Result<Arc<dyn Recording>, StorageError> {
        let path = self.path(name);
        let found = self.io.block_on(self.store.head(&path));
        let found = found.map_err(|error| self.explain(name, &error))?;
        Ok(Arc::new(RemoteObject::new(
            Arc::clone(&self.store),
            found,
            self.shown(name),
            Arc::clone(&self.traffic),
            Arc::clone(&self.hidden),
            self.io.clone(),
        )))
    }

    /// What an object is called, for people.
    pub fn shown(&self, name: &str) -> String {
        self.url.name_of(self.path(name).as_ref())
    }

    /// Puts a file from its start on, `bytes` of them, in one piece or in parts that are put together at
    /// the end: at no time is there a part of it to be seen. An object that is there stays.
    ///
    /// # Errors
    ///
    /// The store does not answer, or refuses; or the file cannot be read.
    pub fn put(&self, name: &str, file: &mut File, bytes: u64) -> Result<Put, StorageError> {
        if bytes > ONE_PUT {
            return self.put_parts(name, file);
        }
        let mut content = Vec::with_capacity(bytes as usize);
        file.read_to_end(&mut content)
            .map_err(|error| self.unreadable(name, &error))?;
        self.put_bytes(name, content.into())
    }

    /// As [`RemoteFolder::put`], of bytes at hand.
    ///
    /// # Errors
    ///
    /// The store does not answer, or refuses.
    pub fn put_bytes(&self, name: &str, content: Bytes) -> Result<Put, StorageError> {
        let path = self.path(name);
        let options = |mode| PutOptions {
            mode,
            ..PutOptions::default()
        };
        let put = self.io.block_on(async {
            let payload = PutPayload::from_bytes(content.clone());
            match self
                .store
                .put_opts(&path, payload, options(PutMode::Create))
                .await
            {
                // Some stores know no condition: what is there is looked at just before.
                Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                    if self.is_there(&path).await? {
                        return Ok(Put::Taken);
                    }
                    let payload = PutPayload::from_bytes(content.clone());
                    self.store.put(&path, payload).await.map(|_| Put::Done)
                }
                // An answer that was lost is asked for again, and then finds what it has put itself.
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                    let there = self.store.get(&path).await?.bytes().await?;
                    Ok(if there == content {
                        Put::Done
                    } else {
                        Put::Taken
                    })
                }
                put => put.map(|_| Put::Done),
            }
        });
        put.map_err(|error| self.explain(name, &error))
    }

    /// Removes an object; one that is not there is gone already.
    ///
    /// # Errors
    ///
    /// The store does not answer, or refuses.
    pub fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path(name);
        match self.io.block_on(self.store.delete(&path)) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.explain(name, &error)),
        }
    }

    fn put_parts(&self, name: &str, file: &mut File) -> Result<Put, StorageError> {
        let path = self.path(name);
        let put = self.io.block_on(async {
            if self.is_there(&path).await? {
                return Ok(Ok(Put::Taken));
            }
            let upload = self.store.put_multipart(&path).await?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
            match send(&mut upload, file).await {
                // What was sent would be kept, and paid for, though nobody sees it.
                failed @ (Err(_) | Ok(Err(_))) => {
                    let _ = upload.abort().await;
                    failed.map(|read| read.map(|()| Put::Done))
                }
                Ok(Ok(())) => upload.finish().await.map(|_| Ok(Put::Done)),
            }
        });
        let put = put.map_err(|error| self.explain(name, &error))?;
        put.map_err(|error| self.unreadable(name, &error))
    }

    async fn is_there(&self, path: &Path) -> Result<bool, Error> {
        match self.store.head(path).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn path(&self, name: &str) -> Path {
        let parts = name.split('/').filter(|part| !part.is_empty());
        let folder = self.folder.clone().unwrap_or_default();
        parts.fold(folder, |path, part| path.join(part))
    }

    fn explain(&self, name: &str, error: &Error) -> StorageError {
        let place = Place {
            object: &self.shown(name),
            store: self.url.store_name(),
            kind: self.url.kind(),
        };
        explain(&place, &self.hidden, error)
    }

    fn unreadable(&self, name: &str, error: &io::Error) -> StorageError {
        StorageError::new(
            StorageFault::Unreachable,
            format!(
                "{}: what is to be put there cannot be read: {error}",
                self.shown(name)
            ),
            "see to the folder of temporary files (TMPDIR), and run again",
        )
    }
}

/// Sends a file in parts, and waits until all of them have come. The inner error is that of the file.
async fn send(upload: &mut WriteMultipart, file: &mut File) -> Result<io::Result<()>, Error> {
    loop {
        let mut part = Vec::with_capacity(PART);
        match file.by_ref().take(PART as u64).read_to_end(&mut part) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Ok(Err(error)),
        }
        upload.wait_for_capacity(PARTS_AT_ONCE).await?;
        upload.put(part.into());
    }
    upload.wait_for_capacity(0).await.map(Ok)
}
