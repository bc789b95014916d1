//! The registry of transforms: versions by name, each of them a digest, and the bytes by their digest.
//!
//! ```text
//! blobs/sha256-<hex>.wasm                                 a component
//! versions/<name>/<version>/version.json                  which digest a version is: see `record`
//! versions/<name>/<version>/signatures/<key in hex>       an ed25519 signature of that: see `signature`
//! ```
//!
//! In come components that somebody pushes and names that somebody asks for; out go bytes whose digest is what the
//! version says, and, where signatures are wanted, whose version is signed by a key that is trusted. Every object is
//! written once and never again, so whoever has resolved a name has a digest that nobody can change below it. What is
//! fetched is hostile until its digest was computed anew; nothing here must ever believe the place that it is kept in.

mod error;
mod record;
mod signature;
mod storage;

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};

pub use self::error::RegistryError;
use self::record::Record;
pub use self::signature::{Signature, Signer};
use self::storage::Storage;
use crate::config::{TransformRegistry, Trust, VersionedName};

/// Bytes of what is said of a version, and of a signature, at most: a few hundred are usual.
const RECORD_BYTES: u64 = 64 << 10;

const VERSIONS: &str = "versions";

/// A version of a transform, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its name.
    pub name: VersionedName,
    /// `sha256:` and the SHA-256 of its bytes in hexadecimal.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// The signatures that it has, of whomever.
    pub signatures: Vec<Signature>,
}

/// What came of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The version as it is now.
    pub version: Version,
    /// Whether it was there before, with equal bytes.
    pub was_there: bool,
}

/// A registry, opened.
pub struct Registry {
    storage: Storage,
    trust: Trust,
}

impl Registry {
    /// Opens an environment's registry. Nothing is asked of it.
    ///
    /// # Errors
    ///
    /// [`RegistryError`] when its URL means nothing.
    pub fn open(declared: &TransformRegistry) -> Result<Self, RegistryError> {
        Ok(Self {
            storage: Storage::open(&declared.place)?,
            trust: declared.trust.clone(),
        })
    }

    /// Pushes a component as a version, signed if there is a signer. A version that is there with equal bytes stays as
    /// it is, and gets the signature.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Taken`] when the version has other bytes; others when the registry cannot be written.
    pub async fn push(
        &self,
        name: &VersionedName,
        bytes: Bytes,
        signer: Option<&Signer>,
    ) -> Result<Pushed, RegistryError> {
        let (digest, size) = (digest(&bytes), bytes.len() as u64);
        // Bytes first: a version that is seen has them.
        self.storage.create(&blob(&digest), bytes).await?;
        let record = Record::new(digest.clone(), size);
        let made = self
            .storage
            .create(&file_of(name), record.encode().into())
            .await?;
        if !made {
            let there = self.record(name).await?;
            if there.digest != digest {
                return Err(RegistryError::Taken {
                    name: name.clone(),
                    there: there.digest,
                    pushed: digest,
                });
            }
        }
        if let Some(signer) = signer {
            let signature = signer.sign(name, &digest);
            let file = format!("{}/{}", signatures_of(name), signature.file_name());
            self.storage
                .create(&file, signature.encode().into())
                .await?;
        }
        Ok(Pushed {
            version: self.version(name).await?,
            was_there: !made,
        })
    }

    /// Resolves a name to what it is, and refuses it where a signature is wanted and there is none that counts.
    ///
    /// # Errors
    ///
    /// [`RegistryError`] when there is no such version, when it is not trusted, or the registry cannot be read.
    pub async fn resolve(&self, name: &VersionedName) -> Result<Version, RegistryError> {
        let version = self.version(name).await?;
        self.signers_of(&version)?;
        Ok(version)
    }

    /// The bytes of a version, whose digest is checked. No more are read than the version says that there are.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Damaged`] and [`RegistryError::Unreadable`] when they are others than the version says.
    pub async fn fetch(&self, version: &Version) -> Result<Bytes, RegistryError> {
        let file = blob(&version.digest);
        let bytes = self.storage.read(&file, version.size).await?;
        let bytes = bytes.ok_or_else(|| RegistryError::Gone {
            name: version.name.clone(),
            file: self.storage.shown(&file),
        })?;
        let found = digest(&bytes);
        if found != version.digest {
            return Err(RegistryError::Damaged {
                name: version.name.clone(),
                file: self.storage.shown(&file),
                expected: version.digest.clone(),
                found,
            });
        }
        Ok(bytes)
    }

    /// The names of the configured keys that have signed a version.
    ///
    /// # Errors
    ///
    /// [`RegistryError`] when one of them has not signed what it says, or none has where one must.
    pub fn signers_of(&self, version: &Version) -> Result<Vec<&str>, RegistryError> {
        signature::signers(&self.trust, version)
    }

    /// All versions, or those of one name, in order.
    ///
    /// # Errors
    ///
    /// [`RegistryError`] when the registry cannot be read.
    pub async fn list(&self, name: Option<&str>) -> Result<Vec<Version>, RegistryError> {
        let names = self.names().await?;
        let mut versions = Vec::new();
        let of_name = |found: &&VersionedName| name.is_none_or(|name| found.name() == name);
        for name in names.iter().filter(of_name) {
            versions.push(self.version(name).await?);
        }
        Ok(versions)
    }

    async fn names(&self) -> Result<Vec<VersionedName>, RegistryError> {
        let mut found = BTreeMap::new();
        for path in self.storage.list(VERSIONS).await? {
            let parts: Vec<&str> = path.split('/').collect();
            if let [_, name, version, "version.json"] = parts.as_slice()
                && let Ok(name) = VersionedName::parse(&format!("{name}@{version}"))
            {
                found.insert(name, ());
            }
        }
        Ok(found.into_keys().collect())
    }

    async fn version(&self, name: &VersionedName) -> Result<Version, RegistryError> {
        let record = self.record(name).await?;
        let mut signatures = Vec::new();
        for path in self.storage.list(&signatures_of(name)).await? {
            if let Some(bytes) = self.storage.read(&path, RECORD_BYTES).await? {
                let shown = self.storage.shown(&path);
                signatures.push(Signature::decode(&bytes, shown)?);
            }
        }
        Ok(Version {
            name: name.clone(),
            digest: record.digest,
            size: record.size,
            signatures,
        })
    }

    async fn record(&self, name: &VersionedName) -> Result<Record, RegistryError> {
        let file = file_of(name);
        match self.storage.read(&file, RECORD_BYTES).await? {
            Some(bytes) => Record::decode(&bytes, self.storage.shown(&file)),
            None => Err(RegistryError::Missing {
                name: name.clone(),
                place: self.storage.place(),
                known: self.names().await?,
            }),
        }
    }
}

/// `sha256:` and the SHA-256 of some bytes in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.collect::<String>())
}

/// The file of a digest, whose form [`record`] has checked.
fn blob(digest: &str) -> String {
    format!("blobs/{}.wasm", digest.replace(':', "-"))
}

fn folder_of(name: &VersionedName) -> String {
    format!("{VERSIONS}/{}/{}", name.name(), name.version())
}

fn file_of(name: &VersionedName) -> String {
    format!("{}/version.json", folder_of(name))
}

fn signatures_of(name: &VersionedName) -> String {
    format!("{}/signatures", folder_of(name))
}

#[cfg(test)]
mod tests;
