//! Where an environment's embedded store is.

use std::fmt;
use std::path::{Path, PathBuf};

use super::remote::{StoreOptions, is_url};

/// A folder of this machine, or a place on object storage.
#[derive(Debug, Clone)]
pub enum StorePlace {
    /// A folder; it need not exist yet.
    Folder(PathBuf),
    /// A bucket, or what begins with a prefix in one.
    Objects {
        /// `s3://BUCKET/PREFIX` and the like.
        url: String,
        /// What it is opened with, beside the environment variables that are usual for it.
        options: StoreOptions,
    },
}

impl StorePlace {
    /// A folder's path, or a URL that is opened with these options.
    pub fn of(text: &str, options: &StoreOptions) -> Self {
        match is_url(text) {
            true => Self::Objects {
                url: text.to_owned(),
                options: options.clone(),
            },
            false => Self::Folder(text.into()),
        }
    }

    /// The folder, if it is one of this machine.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Objects { .. } => None,
        }
    }
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Objects { url, .. } => f.write_str(url),
        }
    }
}

impl From<PathBuf> for StorePlace {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

impl From<&PathBuf> for StorePlace {
    fn from(folder: &PathBuf) -> Self {
        Self::Folder(folder.clone())
    }
}

impl From<&Path> for StorePlace {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

impl From<&StorePlace> for StorePlace {
    fn from(place: &StorePlace) -> Self {
        place.clone()
    }
}

/// What URLs of stores that can be written to begin with.
const SCHEMES: [&str; 8] = ["s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss"];

/// Why a URL names no place for a store, and what to do; none if it may.
pub(super) fn refused(url: &str) -> Option<(&'static str, &'static str)> {
    const PLACES: &str =
        "write a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme.eq_ignore_ascii_case("file") {
        return Some(("is a URL of this machine", "write the folder's path"));
    }
    if !SCHEMES
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return Some(("is no place that a store can be kept in", PLACES));
    }
    if rest.contains(['*', '?', '[', '#']) {
        return Some(("is a glob, and a store has one place", PLACES));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_written_to_is_taken() {
        for url in ["s3://b", "S3://b/a/c", "gs://b/x/", "abfss://c@a.host/x"] {
            assert_eq!(refused(url), None, "{url}");
        }
        for url in [
            "https://h/x",
            "file:///x",
            "s3://b/*",
            "s3://b/x?y=1",
            "x://b",
        ] {
            assert!(refused(url).is_some(), "{url}");
        }
    }
}
