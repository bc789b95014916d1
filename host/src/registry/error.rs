//! Why a registry does not do what it was asked.

use std::path::PathBuf;

use crate::config::VersionedName;
use crate::objects::StorageError;

/// Why a registry does not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// The place does not answer as it should.
    #[error("the registry of transforms: {0}")]
    Storage(#[from] StorageError),
    /// A folder cannot be read or written.
    #[error("cannot {doing} the registry of transforms: {reason}; check that {} is there and may be used", path.display())]
    Folder {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// There is no such version.
    #[error("{place} has no {name}{}", versions_of(name, known))]
    Missing {
        /// What was asked for.
        name: VersionedName,
        /// Where the registry is.
        place: String,
        /// What there is.
        known: Vec<VersionedName>,
    },
    /// A version is another one already.
    #[error(
        "{name} is there with other bytes ({there}; these are {pushed}), and a version never changes: push them as another version"
    )]
    Taken {
        /// The version.
        name: VersionedName,
        /// Its digest.
        there: String,
        /// The digest of what was pushed.
        pushed: String,
    },
    /// The bytes of a version are not there.
    #[error("{file}, which {name} is, is not there; push the same bytes again")]
    Gone {
        /// The version.
        name: VersionedName,
        /// The object.
        file: String,
    },
    /// The bytes of a version are others.
    #[error(
        "{file}, which {name} is, has been changed: its digest is {found} and not {expected}, so it is not used; remove it and push the right bytes again"
    )]
    Damaged {
        /// The version.
        name: VersionedName,
        /// The object.
        file: String,
        /// The digest that the version has.
        expected: String,
        /// That of the bytes.
        found: String,
    },
    /// A file of the registry means nothing to this build.
    #[error("{file} cannot be used: {reason}")]
    Unreadable {
        /// The object.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody who is trusted has signed it.
    #[error(
        "{name} has no signature of a key that penstock.toml names ({keys}), and the environment requires one: `penstock push FILE {name} --sign KEY` adds it"
    )]
    Unsigned {
        /// The version.
        name: VersionedName,
        /// The names of the keys.
        keys: String,
    },
    /// A signature is not of what it says.
    #[error(
        "the signature of {name} by key `{key}` is not of these bytes: somebody has changed the version or the signature, so it is not used"
    )]
    BadSignature {
        /// The version.
        name: VersionedName,
        /// The key's name.
        key: String,
    },
    /// A file with a key cannot be used.
    #[error("{}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl RegistryError {
    /// Whether the same may work another time: the network, the disk or the store failed.
    pub fn is_of_the_system(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_of_the_system(),
            Self::Folder { .. } => true,
            _ => false,
        }
    }
}

/// What there is of a name, as the end of a sentence.
fn versions_of(name: &VersionedName, known: &[VersionedName]) -> String {
    let of_name = known.iter().filter(|found| found.name() == name.name());
    let versions: Vec<&str> = of_name.map(VersionedName::version).collect();
    let mut names: Vec<&str> = known.iter().map(VersionedName::name).collect();
    names.dedup();
    match (versions.as_slice(), names.as_slice()) {
        ([], []) => {
            "; it is empty: `penstock push FILE NAME@VERSION` puts something there".to_owned()
        }
        ([], names) => format!("; it has {}", names.join(", ")),
        (versions, _) => format!("; its versions are {}", versions.join(", ")),
    }
}
