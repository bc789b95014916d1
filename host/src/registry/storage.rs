//! The place of a registry: a folder, or a prefix of a bucket. Objects are made once, and never written over.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};

use super::RegistryError;
use crate::config::StorePlace;
use crate::objects::{
    Hidden, Place, StorageError, StorageFault, StoreUrl, at, explain, open, retries,
};

/// Where objects are.
#[expect(
    clippy::large_enum_variant,
    reason = "a command or a start of a pipeline has one of it"
)]
pub(super) enum Storage {
    Folder(PathBuf),
    Bucket {
        inner: Arc<dyn ObjectStore>,
        url: StoreUrl,
        prefix: Path,
        hidden: Hidden,
    },
}

impl Storage {
    pub(super) fn open(place: &StorePlace) -> Result<Self, RegistryError> {
        let (url, options) = match place {
            StorePlace::Folder(folder) => return Ok(Self::Folder(folder.clone())),
            StorePlace::Objects { url, options } => (url, options),
        };
        let url = StoreUrl::parse(&format!("{}/", url.trim_end_matches('/')))?;
        let hidden = Hidden::gather(options);
        let prefix = Path::parse(url.key().trim_matches('/')).map_err(|error| {
            let message = format!("{}: {error}", url.shown());
            StorageError {
                fault: StorageFault::Url,
                message,
                hint: "name a prefix without empty parts".to_owned(),
            }
        })?;
        let inner = open(&url, options, retries()).map_err(|error| at(&url, &hidden, &error))?;
        Ok(Self::Bucket {
            inner: Arc::new(PrefixStore::new(inner, prefix.clone())),
            url,
            prefix,
            hidden,
        })
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Bucket { url, .. } => url.shown().trim_end_matches('/').to_owned(),
        }
    }

    /// Where an object is, for people.
    pub(super) fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.place())
    }

    /// Makes an object, durably, unless it is there. Says whether it did; an answer that gets lost may make that wrong,
    /// so whoever asks looks at what is there.
    pub(super) async fn create(&self, name: &str, bytes: Bytes) -> Result<bool, RegistryError> {
        let objects = match self {
            Self::Folder(folder) => {
                std::fs::create_dir_all(folder)
                    .map_err(|error| self.folder_error("make", name, &error.to_string()))?;
                local(folder).map_err(|error| self.fault("open", name, &error))?
            }
            Self::Bucket { inner, .. } => Arc::clone(inner),
        };
        let options = PutOptions::from(PutMode::Create);
        match objects
            .put_opts(&Path::from(name), bytes.into(), options)
            .await
        {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(self.fault("write to", name, &error)),
        }
    }

    /// An object of at most so many bytes; none if it is not there. What is larger is not read.
    pub(super) async fn read(&self, name: &str, most: u64) -> Result<Option<Bytes>, RegistryError> {
        let Some(objects) = self.objects(name)? else {
            return Ok(None);
        };
        let read = async {
            let found = objects.get(&Path::from(name)).await?;
            match found.meta.size {
                size if size > most => Ok(Err(size)),
                _ => Ok(Ok(found.bytes().await?)),
            }
        };
        match read.await {
            Ok(Ok(bytes)) => Ok(Some(bytes)),
            Ok(Err(size)) => Err(RegistryError::Unreadable {
                file: self.shown(name),
                reason: format!(
                    "it has been changed, for it has {size} bytes and is to have {most} at most"
                ),
            }),
            Err(Error::NotFound { .. }) => {
                // A bucket that is not there has no object either, and that is to be said.
                if let Self::Bucket { inner, .. } = self {
                    let listed = inner.list_with_delimiter(None).await;
                    listed.map_err(|error| self.fault("read", name, &error))?;
                }
                Ok(None)
            }
            Err(error) => Err(self.fault("read", name, &error)),
        }
    }

    /// The objects below a folder, in order.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, RegistryError> {
        let Some(objects) = self.objects(folder)? else {
            return Ok(Vec::new());
        };
        let path = Path::from(folder);
        let listed = objects.list(Some(&path)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|error| self.fault("list", folder, &error))?;
        let names = listed.into_iter().map(|object| object.location.to_string());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    /// What is to be read; none if there is no folder yet.
    fn objects(&self, name: &str) -> Result<Option<Arc<dyn ObjectStore>>, RegistryError> {
        match self {
            Self::Folder(folder) if !folder.exists() => Ok(None),
            Self::Folder(folder) => {
                let opened = local(folder).map_err(|error| self.fault("open", name, &error));
                opened.map(Some)
            }
            Self::Bucket { inner, .. } => Ok(Some(Arc::clone(inner))),
        }
    }

    fn fault(&self, doing: &'static str, name: &str, error: &Error) -> RegistryError {
        let Self::Bucket {
            url,
            prefix,
            hidden,
            ..
        } = self
        else {
            return self.folder_error(doing, name, &error.to_string());
        };
        let key = match prefix.as_ref() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        };
        let place = Place {
            object: &url.name_of(&key),
            store: url.store_name(),
            kind: url.kind(),
        };
        explain(&place, hidden, error).into()
    }

    fn folder_error(&self, doing: &'static str, name: &str, reason: &str) -> RegistryError {
        RegistryError::Folder {
            doing,
            path: self.shown(name).into(),
            reason: reason.to_owned(),
        }
    }
}

fn local(folder: &FsPath) -> Result<Arc<dyn ObjectStore>, Error> {
    let objects = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
    Ok(Arc::new(objects))
}
