//! Which objects a URL stands for: one, those directly in a folder, or those that match a glob.

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore};

use crate::config::is_left_out;
use crate::objects::{Kind, StorageError, StorageFault, StoreUrl};

/// A `*` stays within a name, as it does in a glob over local files.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// What a URL asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One object.
    Object(Path),
    /// The objects directly in a folder; none for the root.
    Folder(Option<Path>),
    /// The objects that match, and the folder that all of them are in.
    Glob(Pattern, Option<Path>),
}

impl Wanted {
    pub(super) fn of(url: &StoreUrl) -> Result<Self, StorageError> {
        let key = url.key();
        let refuse = |why: String| {
            StorageError::new(
                StorageFault::Url,
                format!("{} cannot be looked for: {why}", url.shown()),
                "`*` stands for any part of a name, `**` for any folders, `?` for one character",
            )
        };
        let path = |key: &str| {
            let key = key.trim_matches('/');
            match key {
                "" => Ok(None),
                key => Path::parse(key)
                    .map(Some)
                    .map_err(|error| refuse(error.to_string())),
            }
        };
        let Some(first) = key.find(['*', '?', '[']) else {
            return match path(key)? {
                Some(object) if !key.ends_with('/') => Ok(Self::Object(object)),
                folder => Ok(Self::Folder(folder)),
            };
        };
        if key.ends_with('/') {
            return Err(refuse("it is a glob that ends in `/`".to_owned()));
        }
        let pattern = Pattern::new(key).map_err(|error| refuse(error.msg.to_owned()))?;
        let folder = key[..first].rfind('/').map_or("", |end| &key[..end]);
        Ok(Self::Glob(pattern, path(folder)?))
    }

    /// The objects that may be meant.
    pub(super) async fn list(
        &self,
        store: &Arc<dyn ObjectStore>,
    ) -> Result<Vec<ObjectMeta>, Error> {
        match self {
            Self::Object(path) => store.list(Some(path)).try_collect().await,
            Self::Folder(folder) => {
                let listed = store.list_with_delimiter(folder.as_ref()).await?;
                Ok(listed.objects)
            }
            Self::Glob(_, folder) => store.list(folder.as_ref()).try_collect().await,
        }
    }

    /// Whether a listed object is wanted.
    pub(super) fn takes(&self, key: &str, is_recording: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Object(_) => true,
            Self::Folder(_) => {
                let name = key.rsplit('/').next().unwrap_or_default();
                !is_left_out("", name) && is_recording(key)
            }
            Self::Glob(pattern, _) => {
                pattern.matches_with(key, MATCHING) && !is_left_out(pattern.as_str(), key)
            }
        }
    }

    /// What to say when nothing is left.
    pub(super) fn nothing(&self, url: &StoreUrl) -> StorageError {
        let (message, hint) = match self {
            Self::Folder(_) => (
                format!("{} has no recorded files directly inside", url.shown()),
                "for files further down write a glob such as \"…/**/*.ndjson\"",
            ),
            _ => (
                format!("no object matches {}", url.shown()),
                "keys are case-sensitive, and `*` does not cross a `/`: `**` does",
            ),
        };
        StorageError::new(
            StorageFault::Missing,
            message,
            match url.kind() {
                Kind::Http => "web servers seldom list what they have: name each file",
                _ => hint,
            },
        )
    }
}

/// Leaves out objects that stand for folders: consoles and some writers make them, of 0 bytes, with a
/// key that ends in `/`, which does not show here any more.
pub(super) fn leave_out_markers(found: &mut Vec<ObjectMeta>, is_recording: impl Fn(&str) -> bool) {
    let folders: HashSet<String> = (found.iter())
        .flat_map(|object| {
            let key = object.location.as_ref();
            key.match_indices('/').map(|(end, _)| key[..end].to_owned())
        })
        .collect();
    found.retain(|object| {
        let key = object.location.as_ref();
        object.size > 0 || (is_recording(key) && !folders.contains(key))
    });
}

/// After `error` for one object: whether its store is there at all.
pub(super) async fn is_there(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    error: &Error,
) -> Result<(), Error> {
    if matches!(error, Error::NotFound { .. }) {
        store.list(Some(path)).try_next().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(url: &str) -> Wanted {
        Wanted::of(&StoreUrl::parse(url).unwrap()).unwrap()
    }

    #[test]
    fn globs_stay_in_their_folders_and_hidden_names_are_left_out() {
        let cases: [(&str, &[&str], &[&str]); 6] = [
            (
                "s3://b/**/*.ndjson",
                &["p/a.ndjson"],
                &["p/_hid/a.ndjson", "_temporary/0/a.ndjson"],
            ),
            (
                "s3://b/rides/*.ndjson",
                &["rides/a.ndjson", "rides/b.ndjson"],
                &[
                    "rides/x/a.ndjson",
                    "rides/_a.ndjson",
                    "rides/.a.ndjson",
                    "rides/a.parquet",
                ],
            ),
            (
                "s3://b/**/a?.ndjson",
                &["a1.ndjson", "x/y/a1.ndjson"],
                &["a.ndjson", "x/a/1.ndjson", ".x/a1.ndjson"],
            ),
            ("s3://b/_*.ndjson", &["_a.ndjson"], &["a.ndjson"]),
            ("s3://b/x/", &["x/a.ndjson"], &["x/_a.ndjson", "x/a.txt"]),
            ("s3://b/[ab].ndjson", &["a.ndjson"], &["c.ndjson"]),
        ];
        for (url, taken, left) in cases {
            let wanted = wanted(url);
            let takes = |key: &&str| wanted.takes(key, |key| key.ends_with(".ndjson"));
            assert!(taken.iter().all(takes), "{url}");
            assert!(!left.iter().any(takes), "{url}");
        }
    }

    #[test]
    fn objects_that_stand_for_folders_are_left_out() {
        let object = |(key, size): &(&str, u64)| ObjectMeta {
            location: Path::from(*key),
            last_modified: Default::default(),
            size: *size,
            e_tag: None,
            version: None,
        };
        let listed = [
            ("m/2026", 0),
            ("m/d.ndjson", 0),
            ("m/d.ndjson/a.ndjson", 9),
            ("m/empty.ndjson", 0),
            ("m/whole", 9),
        ];
        let mut found: Vec<_> = listed.iter().map(object).collect();
        leave_out_markers(&mut found, |key| key.ends_with(".ndjson"));
        let left: Vec<&str> = found.iter().map(|found| found.location.as_ref()).collect();
        assert_eq!(left, ["m/d.ndjson/a.ndjson", "m/empty.ndjson", "m/whole"]);
    }

    #[test]
    fn only_the_folder_that_holds_all_matches_is_listed() {
        let folder = |url| match wanted(url) {
            Wanted::Glob(_, folder) | Wanted::Folder(folder) => folder.map(|path| path.to_string()),
            Wanted::Object(_) => panic!("{url} is no object"),
        };
        assert_eq!(
            folder("s3://b/rides/2026-*/a*.ndjson").as_deref(),
            Some("rides")
        );
        assert_eq!(folder("s3://b/*.ndjson"), None);
        assert_eq!(folder("s3://b/"), None);
        assert_eq!(folder("s3://b/x/y/").as_deref(), Some("x/y"));
        let object = Path::from("x/y.ndjson");
        assert_eq!(wanted("s3://b/x/y.ndjson"), Wanted::Object(object));
        let wrong = StoreUrl::parse("s3://b/x[/").unwrap();
        assert!(Wanted::of(&wrong).is_err());
    }
}
