//! What can be wrong with a place on object storage, said without showing a secret.

use std::error::Error as _;
use std::io;

use object_store::Error;
use object_store::client::HttpError;

use super::url::{Kind, StoreUrl};
use crate::config::{StoreOptions, sounds_secret};

/// Why recorded files cannot be found or read. The message says what was asked of whom, the hint
/// what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct StorageError {
    /// What kind of thing is wrong.
    pub fault: StorageFault,
    /// What was done, and what came of it.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageFault {
    /// The URL means nothing.
    Url,
    /// There is no such bucket, object, or match.
    Missing,
    /// The credentials do not do, or there are none.
    Denied,
    /// The object is another one than it was.
    Changed,
    /// Nobody answers, or the answer breaks off again and again.
    Unreachable,
    /// The store answers that it will not.
    Refused,
}

impl StorageError {
    pub(crate) fn new(
        fault: StorageFault,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            fault,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// Whether the same may work another time: the network or the store failed.
    pub fn is_of_the_system(&self) -> bool {
        matches!(
            self.fault,
            StorageFault::Unreachable | StorageFault::Changed
        )
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        let kind = match error.fault {
            StorageFault::Missing => io::ErrorKind::NotFound,
            StorageFault::Denied => io::ErrorKind::PermissionDenied,
            StorageFault::Changed => io::ErrorKind::Other,
            StorageFault::Unreachable => io::ErrorKind::TimedOut,
            StorageFault::Url | StorageFault::Refused => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

/// Texts that no message may hold.
#[derive(Default)]
pub(crate) struct Hidden {
    texts: Vec<String>,
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} hidden texts", self.texts.len())
    }
}

impl Hidden {
    /// The secrets of the options, and of the environment variables that stores are opened with.
    pub(crate) fn gather(options: &StoreOptions) -> Self {
        let options = options.entries.iter();
        let options = options.map(|(name, value)| (name.value.clone(), value.expose().to_owned()));
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?.to_ascii_lowercase();
            let of_stores = ["aws_", "google_", "azure_"];
            let of_stores = of_stores.iter().any(|start| name.starts_with(start));
            Some((name, value.into_string().ok()?)).filter(|_| of_stores)
        });
        let secrets = options.chain(variables);
        let mut texts: Vec<String> = secrets
            .filter(|(name, value)| sounds_secret(name) && value.len() > 2)
            .map(|(_, value)| value)
            .collect();
        // A secret that is part of another must not leave the rest of it behind.
        texts.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
        Self { texts }
    }

    /// A text without them, without the queries of URLs (in which signatures stand), on one line,
    /// and of a bearable length.
    pub(crate) fn from(&self, text: &str) -> String {
        const MOST: usize = 300;
        let mut clean = text.to_owned();
        for secret in &self.texts {
            clean = clean.replace(secret.as_str(), "***");
        }
        let words = clean.split_whitespace().map(|word| {
            let url = word.find("://");
            match url.and_then(|url| word[url..].find('?').map(|query| url + query)) {
                Some(query) => format!("{}?***", &word[..query]),
                None => word.to_owned(),
            }
        });
        let clean = words.collect::<Vec<_>>().join(" ");
        clean.chars().take(MOST).collect()
    }
}

/// A store's error about a URL.
pub(crate) fn at(url: &StoreUrl, hidden: &Hidden, error: &Error) -> StorageError {
    let name = Place {
        object: url.shown(),
        store: url.store_name(),
        kind: url.kind(),
    };
    explain(&name, hidden, error)
}

/// What an error is about.
pub(crate) struct Place<'a> {
    /// The URL of an object, or the pattern.
    pub(crate) object: &'a str,
    /// The store, in words.
    pub(crate) store: String,
    pub(crate) kind: Kind,
}

pub(crate) fn explain(place: &Place<'_>, hidden: &Hidden, error: &Error) -> StorageError {
    let (object, store) = (place.object, &place.store);
    let text = error.to_string();
    let said = hidden.from(&answer(error, &text));
    let status = |code: &str| text.contains(&format!("status code: {code}"));
    let missing = matches!(error, Error::NotFound { .. });
    let no_store = [
        "NoSuchBucket",
        "ContainerNotFound",
        "The specified bucket does not exist",
    ];
    // A listing that finds nothing is empty; one that is not found has nowhere to look.
    let nowhere = !missing && status("404");
    if nowhere || no_store.iter().any(|code| text.contains(code)) {
        return StorageError::new(
            StorageFault::Missing,
            format!("{object}: there is no {store}"),
            "check the name, the region and the endpoint",
        );
    }
    if missing {
        return StorageError::new(
            StorageFault::Missing,
            format!("there is no {object}"),
            "check the name: keys are case-sensitive; a folder ends in `/`, a glob has a `*`",
        );
    }
    if text.contains("169.254.169.254") || text.contains("metadata.google.internal") {
        return StorageError::new(
            StorageFault::Denied,
            format!(
                "{object}: there are no credentials for {store}, and this machine has none of its own"
            ),
            credentials_hint(place.kind),
        );
    }
    let denied = matches!(
        error,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
    );
    if denied || status("401") || status("403") {
        return StorageError::new(
            StorageFault::Denied,
            format!("{object}: {store} does not let these credentials read it ({said})"),
            credentials_hint(place.kind),
        );
    }
    match error {
        Error::Precondition { .. } | Error::NotModified { .. } => changed(object),
        _ if is_of_the_network(error) => StorageError::new(
            StorageFault::Unreachable,
            format!("{object}: {store} cannot be reached ({said})"),
            "check the network and the endpoint, and run again",
        ),
        _ => StorageError::new(
            StorageFault::Refused,
            format!("{object}: {store} cannot be read ({said})"),
            "check the URL and `[environments.NAME.object_store]`",
        ),
    }
}

pub(crate) fn changed(object: &str) -> StorageError {
    StorageError::new(
        StorageFault::Changed,
        format!("{object} was replaced while it was read"),
        "run again when it is no longer written to",
    )
}

/// Whether trying again may help: the network failed, or the server did.
pub(crate) fn is_transient(error: &Error) -> bool {
    let text = error.to_string();
    match error {
        Error::Generic { .. } => {
            !text.contains("status code: 4") && !text.contains("non-partial response")
        }
        Error::JoinError { .. } => true,
        _ => false,
    }
}

fn is_of_the_network(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<HttpError>() {
            return true;
        }
        cause = error.source();
    }
    error.to_string().contains("status code: 5")
}

/// What the store or the system said, without what `object_store` puts around it.
fn answer(error: &Error, text: &str) -> String {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0.to_owned())
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        _ => {
            let mut innermost: &dyn std::error::Error = error;
            while let Some(cause) = innermost.source() {
                innermost = cause;
            }
            innermost.to_string()
        }
    }
}

fn credentials_hint(kind: Kind) -> &'static str {
    match kind {
        Kind::S3 => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `aws_…` in `[environments.NAME.object_store]`; a public bucket needs `aws_skip_signature = \"true\"`"
        }
        Kind::Google => {
            "set GOOGLE_SERVICE_ACCOUNT, or `google_…` in `[environments.NAME.object_store]`; a public bucket needs `google_skip_signature = \"true\"`"
        }
        Kind::Azure => {
            "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or `azure_…` in `[environments.NAME.object_store]`"
        }
        Kind::Http | Kind::Local => "check who may read it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Located, Secret, Span};

    #[test]
    fn secrets_and_signatures_are_taken_out() {
        let name = |name: &str| Located::new(name.to_owned(), Span::WHOLE_FILE);
        let hidden = Hidden::gather(&StoreOptions {
            entries: vec![
                (name("aws_secret_access_key"), Secret::new("hunter2")),
                (name("azure_storage_sas_key"), Secret::new("hunter2-long")),
                (name("aws_region"), Secret::new("moon")),
            ],
        });
        let text = "no hunter2-long\n or hunter2 on the moon at https://h/a?sig=abc&x=1 .";
        assert_eq!(
            hidden.from(text),
            "no *** or *** on the moon at https://h/a?*** ."
        );
        assert!(!format!("{hidden:?}").contains("hunter2"));
    }
}
