//! A prefix of a bucket as an object store that waits out what passes, and says so.
//!
//! The storage engine repeats an operation that failed until it succeeds, which is right for a network. But a bucket
//! that is not there, or that these credentials may not write to, would have it wait for ever without a word. Such
//! failures are marked as final here; of all others the log says that somebody waits, and for what.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    BackoffConfig, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    RetryConfig,
};
use slatedb_common::retry::{NonRetryable, should_retry};
use tokio::time::timeout;

use crate::config::StoreOptions;
use crate::objects::{
    Hidden, Place, StorageError, StorageFault, StoreUrl, at, explain, is_transient, open,
};

/// Nothing of an answer for so long, and the log says that one is awaited.
const STALL: Duration = Duration::from_secs(10);

/// While there is trouble the log says so again after this time.
const REMINDER: Duration = Duration::from_secs(30);

/// A prefix of a bucket.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    inner: PrefixStore<Arc<dyn ObjectStore>>,
    url: StoreUrl,
    prefix: Path,
    hidden: Arc<Hidden>,
    trouble: Arc<Mutex<Trouble>>,
}

/// What the log said last.
#[derive(Debug, Default)]
struct Trouble {
    since: Option<Instant>,
    said: Option<Instant>,
}

/// What is tried again before anybody hears of it: a request that a busy server turned away, or a body that broke
/// off. The rest is repeated by the engine.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_millis(500),
            base: 2.0,
        },
        max_retries: 2,
        retry_timeout: Duration::from_secs(5),
    }
}

impl Bucket {
    /// Opens what a URL names. Nothing is asked of it.
    pub(super) fn open(url: &str, options: &StoreOptions) -> Result<Self, StorageError> {
        let url = StoreUrl::parse(&format!("{}/", url.trim_end_matches('/')))?;
        let hidden = Arc::new(Hidden::gather(options));
        let prefix = Path::parse(url.key().trim_matches('/')).map_err(|error| StorageError {
            fault: StorageFault::Url,
            message: format!("{}: {error}", url.shown()),
            hint: "name a prefix without empty parts".to_owned(),
        })?;
        let store = open(&url, options, retries()).map_err(|error| at(&url, &hidden, &error))?;
        Ok(Self {
            inner: PrefixStore::new(store, prefix.clone()),
            url,
            prefix,
            hidden,
            trouble: Arc::default(),
        })
    }

    /// Its URL, without a `/` at the end.
    pub(super) fn shown(&self) -> &str {
        self.url.shown().trim_end_matches('/')
    }

    /// What an error about one of its objects means, for people.
    pub(super) fn explain(&self, name: &str, error: &Error) -> StorageError {
        if let Some(NonRetryable(told)) = NonRetryable::find(error)
            && let Some(told) = told.downcast_ref::<StorageError>()
        {
            return told.clone();
        }
        let key = match self.prefix.as_ref() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        };
        let place = Place {
            object: &self.url.name_of(&key),
            store: self.url.store_name(),
            kind: self.url.kind(),
        };
        explain(&place, &self.hidden, error)
    }

    /// Waits for an answer, and looks at it.
    async fn asked<T>(&self, of: &Path, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let mut answer = pin!(answer);
        let answer = match timeout(STALL, &mut answer).await {
            Ok(answer) => answer,
            Err(_) => {
                let name = self.url.name_of(of.as_ref());
                self.troubled(&format!("{name}: no answer for {} s", STALL.as_secs()));
                answer.await
            }
        };
        self.looked_at(of, answer)
    }

    fn looked_at<T>(&self, of: &Path, answer: Result<T>) -> Result<T> {
        let error = match answer {
            Ok(answer) => {
                self.answers();
                return Ok(answer);
            }
            // Answers such as "not found" and "already exists" are part of protocols and stay what they are.
            Err(error) if !should_retry(&error) => return Err(error),
            Err(error) => error,
        };
        let told = self.explain(of.as_ref(), &error);
        if passes(&told, &error) {
            self.troubled(&told.message);
            return Err(error);
        }
        Err(Error::Generic {
            store: "object storage",
            source: Box::new(NonRetryable(Box::new(told))),
        })
    }

    fn troubled(&self, what: &str) {
        let now = Instant::now();
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *trouble.since.get_or_insert(now);
        let is_said = |said: Instant| now.duration_since(said) < REMINDER;
        if trouble.said.is_some_and(is_said) {
            return;
        }
        trouble.said = Some(now);
        let seconds = now.duration_since(since).as_secs();
        tracing::warn!(
            store = self.shown(),
            for_s = seconds,
            "object storage fails or does not answer ({what}); it is asked again until it does, and nothing is lost meanwhile"
        );
    }

    fn answers(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = std::mem::take(&mut *trouble).since {
            let seconds = since.elapsed().as_secs();
            tracing::info!(
                store = self.shown(),
                after_s = seconds,
                "object storage answers again"
            );
        }
    }
}

/// Whether trying again may help.
fn passes(told: &StorageError, error: &Error) -> bool {
    let text = error.to_string();
    let throttled = ["status code: 408", "status code: 429"];
    match told.fault {
        StorageFault::Unreachable => true,
        StorageFault::Denied | StorageFault::Missing | StorageFault::Url => false,
        StorageFault::Changed | StorageFault::Refused => {
            is_transient(error) || throttled.iter().any(|status| text.contains(status))
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.asked(to, self.inner.put_opts(to, payload, options))
            .await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.asked(to, self.inner.put_multipart_opts(to, options))
            .await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.asked(from, self.inner.get_opts(from, options)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let bucket = self.clone();
        let deleted = self.inner.delete_stream(locations);
        let looked_at = move |answer| bucket.looked_at(&Path::default(), answer);
        deleted.map(looked_at).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (bucket, of) = (self.clone(), prefix.cloned().unwrap_or_default());
        let listed = self.inner.list(prefix);
        listed
            .map(move |answer| bucket.looked_at(&of, answer))
            .boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (bucket, of) = (self.clone(), prefix.cloned().unwrap_or_default());
        let listed = self.inner.list_with_offset(prefix, offset);
        listed
            .map(move |answer| bucket.looked_at(&of, answer))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let of = prefix.cloned().unwrap_or_default();
        self.asked(&of, self.inner.list_with_delimiter(prefix))
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.asked(to, self.inner.copy_opts(from, to, options))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        let bucket = Bucket::open("s3://b/p/", &StoreOptions::default()).unwrap();
        assert_eq!(bucket.shown(), "s3://b/p");
        let generic = |text: &str| Error::Generic {
            store: "S3",
            source: text.to_owned().into(),
        };
        let denied = Error::PermissionDenied {
            path: "x".into(),
            source: "AccessDenied".into(),
        };
        for (error, is_final) in [
            (generic("status code: 503 Slow Down"), false),
            (generic("status code: 429 Too Many Requests"), false),
            (generic("status code: 400 Bad Request"), true),
            (denied, true),
        ] {
            let text = error.to_string();
            let told = bucket.looked_at::<()>(&Path::from("lanes/x"), Err(error));
            let told = told.unwrap_err();
            assert_eq!(!should_retry(&told), is_final, "{text}");
        }
        let denied = bucket.looked_at::<()>(
            &Path::from("store.json"),
            Err(Error::Unauthenticated {
                path: "x".into(),
                source: "no".into(),
            }),
        );
        let told = bucket.explain("other", &denied.unwrap_err()).to_string();
        assert!(told.contains("s3://b/p/store.json"), "{told}");
    }
}
