//! URLs of recorded files: which store, and which objects of it.

use object_store::ObjectStoreScheme;
use url::Url;

use super::error::{StorageError, StorageFault};

/// A URL, taken apart. Its path may hold the characters of a glob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreUrl {
    shown: String,
    base: String,
    /// What stands before the keys of objects, for names.
    before_keys: String,
    kind: Kind,
    key: String,
    /// What the store's builder reads its bucket from.
    pub(crate) for_builder: Url,
}

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Local,
    S3,
    Google,
    Azure,
    Http,
}

impl StoreUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, StorageError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let scheme = scheme.to_ascii_lowercase();
        let web = scheme == "http" || scheme == "https";
        // Containers of Azure are written before an `@`; anywhere else it ends a user and a password.
        if authority.contains('@') && !["abfs", "abfss", "az", "adl", "azure"].contains(&&*scheme) {
            return Err(refuse(
                "a URL of recorded files that holds a user or a password cannot be read",
                "leave out what stands before the `@`",
            ));
        }
        if web && (path.contains('?') || path.contains('#')) {
            let shown = format!("{scheme}://{authority}/{}", until_query(path));
            return Err(refuse(
                format!(
                    "{shown} goes on with `?` or `#`, and recorded files have neither in their URLs"
                ),
                "name the file alone; for a signed URL use the store's own (`s3://…`) with credentials",
            ));
        }
        let shown = format!("{scheme}://{authority}/{path}");
        let unknown = || {
            refuse(
                format!("{shown} is not a place that recorded files can be read from"),
                "there are s3://BUCKET/…, gs://BUCKET/…, az://CONTAINER/…, https://HOST/… and file:///…",
            )
        };
        // Only on the web is a path encoded; the keys of a bucket are written as they are.
        let for_builder = match web {
            true => Url::parse(&shown),
            false => Url::parse(&format!("{scheme}://{authority}/")),
        };
        let for_builder = for_builder.map_err(|_| unknown())?;
        let (kind, within) = ObjectStoreScheme::parse(&for_builder).map_err(|_| unknown())?;
        let kind = match kind {
            ObjectStoreScheme::Local => Kind::Local,
            ObjectStoreScheme::AmazonS3 => Kind::S3,
            ObjectStoreScheme::GoogleCloudStorage => Kind::Google,
            ObjectStoreScheme::MicrosoftAzure => Kind::Azure,
            ObjectStoreScheme::Http => Kind::Http,
            _ => return Err(unknown()),
        };
        let folder = path.is_empty() || path.ends_with('/');
        let key = match (web, folder) {
            (false, _) => path.to_owned(),
            (true, true) => format!("{}/", within.as_ref()),
            (true, false) => within.as_ref().to_owned(),
        };
        let bucket = match web && kind != Kind::Http {
            true => path.split_once('/').map_or("", |(bucket, _)| bucket),
            false => "",
        };
        let base = format!("{scheme}://{authority}/{bucket}");
        Ok(Self {
            before_keys: match bucket {
                "" => base.clone(),
                _ => format!("{base}/"),
            },
            base,
            shown,
            kind,
            key,
            for_builder,
        })
    }

    /// The URL as it was written.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Scheme, authority and bucket: URLs with the same have the same store.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What is wanted of the store: a key, a glob, or a folder that ends in `/`.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The name of an object, as it is shown.
    pub(crate) fn name_of(&self, key: &str) -> String {
        format!("{}{key}", self.before_keys)
    }

    /// The bucket, container or host, for messages.
    pub(crate) fn store_name(&self) -> String {
        let host = self.for_builder.host_str().unwrap_or_default();
        match self.kind {
            Kind::S3 | Kind::Google => format!("bucket `{host}`"),
            Kind::Azure => format!("container `{}`", self.base),
            Kind::Http => format!("`{host}`"),
            Kind::Local => "the file system".to_owned(),
        }
    }
}

fn until_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

fn refuse(message: impl Into<String>, hint: impl Into<String>) -> StorageError {
    StorageError::new(StorageFault::Url, message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (Kind, String, String) {
        let parsed = StoreUrl::parse(url).unwrap();
        let name = parsed.name_of("x/y.ndjson");
        (parsed.kind(), parsed.key().to_owned(), name)
    }

    #[test]
    fn urls_are_taken_apart() {
        let name = |base: &str| format!("{base}/x/y.ndjson");
        let cases = [
            (
                "s3://b/rides/2026/*.ndjson.gz",
                Kind::S3,
                "rides/2026/*.ndjson.gz",
                "s3://b",
            ),
            (
                "s3://b/a?b [1]%20.ndjson",
                Kind::S3,
                "a?b [1]%20.ndjson",
                "s3://b",
            ),
            ("gs://b/rides/", Kind::Google, "rides/", "gs://b"),
            ("S3://b", Kind::S3, "", "s3://b"),
            ("az://c/a.parquet", Kind::Azure, "a.parquet", "az://c"),
            (
                "abfss://c@a.dfs.core.windows.net/x",
                Kind::Azure,
                "x",
                "abfss://c@a.dfs.core.windows.net",
            ),
            (
                "file:///tmp/x.ndjson",
                Kind::Local,
                "tmp/x.ndjson",
                "file://",
            ),
            (
                "https://host:99/a%20b.ndjson",
                Kind::Http,
                "a b.ndjson",
                "https://host:99",
            ),
            ("https://host/rides/", Kind::Http, "rides/", "https://host"),
            (
                "https://s3.eu-west-1.amazonaws.com/b/a/c.ndjson",
                Kind::S3,
                "a/c.ndjson",
                "https://s3.eu-west-1.amazonaws.com/b",
            ),
        ];
        for (url, kind, key, base) in cases {
            assert_eq!(parsed(url), (kind, key.to_owned(), name(base)), "{url}");
        }
    }

    #[test]
    fn what_holds_a_secret_or_means_nothing_is_refused_without_showing_it() {
        for url in [
            "https://me:hunter2@host/a.ndjson",
            "https://host/a.ndjson?signature=hunter2",
            "s3://AKIA:hunter2@bucket/a",
        ] {
            let error = StoreUrl::parse(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        for url in ["ftp://host/a", "s3:///a", "gs://", "memory:///a"] {
            let error = StoreUrl::parse(url).unwrap_err().to_string();
            assert!(error.contains("s3://BUCKET/"), "{url}: {error}");
        }
    }
}
