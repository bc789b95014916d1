//! Reading a range of an object, whatever the network does to it.
//!
//! `object_store` repeats requests that fail, and takes up a body that breaks off, a few times. What
//! still fails is taken up here, at the byte where it stopped, until next to nothing has come for
//! several tries: some three minutes at most. A body that stalls or only drips counts as broken.

use std::ops::Range;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectMeta, ObjectStore};
use tokio::sync::Semaphore;

use crate::objects::{
    Hidden, Kind, Place, StorageError, StorageFault, changed, explain, is_transient,
};

/// Tries that bring next to nothing before reading is given up.
const MOST_FAILURES: u32 = 6;
/// The wait after the first of them; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// A request that is not answered for so long is given up.
const UNANSWERED: Duration = Duration::from_secs(30);
/// A body of which next to nothing comes for so long has broken off.
const STALLED: Duration = Duration::from_secs(20);
/// Fewer bytes than these are next to nothing.
const LEAST: usize = 4 << 10;
/// Requests that are under way at once, over all objects of an environment.
const MOST_REQUESTS: usize = 32;
/// Bytes that all objects together may be read ahead.
const AHEAD: u64 = 256 << 20;

/// What the objects of an environment share.
#[derive(Debug)]
pub(super) struct Traffic {
    gate: Semaphore,
    objects: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            gate: Semaphore::new(MOST_REQUESTS),
            objects: AtomicU64::new(0),
        }
    }
}

impl Traffic {
    /// A further object will be read.
    pub(super) fn join(&self) {
        self.objects.fetch_add(1, Ordering::Relaxed);
    }

    /// The largest range that is read at once: less, the more objects there are. An object has three
    /// ranges in memory at most.
    pub(super) fn largest_range(&self) -> u64 {
        let objects = self.objects.load(Ordering::Relaxed).max(1);
        (AHEAD / (3 * objects)).clamp(64 << 10, 8 << 20)
    }
}

/// An object, and which version of it is read.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) path: Path,
    pub(super) name: String,
    /// As listed.
    pub(super) size: u64,
    pub(super) traffic: Arc<Traffic>,
    pub(super) hidden: Arc<Hidden>,
    /// The version that the first response was of.
    pub(super) seen: OnceLock<ObjectMeta>,
}

impl Object {
    /// The bytes of a range within the object.
    pub(super) async fn fetch(&self, range: Range<u64>) -> Result<Bytes, StorageError> {
        let _under_way = self.traffic.gate.acquire().await;
        let length = (range.end - range.start) as usize;
        let mut bytes = Vec::with_capacity(length);
        let (mut failures, mut wait) = (0, FIRST_WAIT);
        loop {
            let before = bytes.len();
            let left = range.start + before as u64..range.end;
            let broken = match self.attempt(left, &mut bytes).await {
                // An answer may also break off behind its last byte.
                Ok(()) | Err(Broken::For(_) | Broken::Off(_)) if bytes.len() == length => {
                    return Ok(bytes.into());
                }
                Ok(()) => Broken::Off("the answer ended too early"),
                Err(Broken::For(error)) if !is_transient(&error) => {
                    return Err(self.explain(&error));
                }
                Err(Broken::Changed) => return Err(changed(&self.name)),
                Err(broken) => broken,
            };
            if bytes.len() - before >= LEAST {
                (failures, wait) = (0, FIRST_WAIT);
            }
            failures += 1;
            let at = range.start + bytes.len() as u64;
            if failures == MOST_FAILURES {
                return Err(self.give_up(broken, at));
            }
            if failures == 1 {
                tracing::warn!(object = %self.name, at, "reading broke off or stalled, and is tried again");
            }
            // No event says when a server is well again.
            #[expect(
                clippy::disallowed_methods,
                reason = "a failing server is given time; results do not depend on it"
            )]
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// One answer, as far as it comes. All that came is kept.
    async fn attempt(&self, range: Range<u64>, bytes: &mut Vec<u8>) -> Result<(), Broken> {
        let seen = self.seen.get().and_then(|seen| seen.e_tag.clone());
        let most = (range.end - range.start) as usize + bytes.len();
        let options = GetOptions {
            // A weak tag never matches; what it says is compared below.
            if_match: seen.filter(|tag| !tag.starts_with("W/")),
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let answer = self.store.get_opts(&self.path, options);
        let answer = match tokio::time::timeout(UNANSWERED, answer).await {
            Ok(answer) => answer.map_err(Broken::For)?,
            Err(_) => return Err(Broken::Off("the server does not answer")),
        };
        let first = self.seen.get_or_init(|| answer.meta.clone());
        if !same_version(first, &answer.meta) || answer.meta.size != self.size {
            return Err(Broken::Changed);
        }
        let mut body = answer.into_stream();
        loop {
            let enough = (bytes.len() + LEAST).min(most);
            let some = async {
                // With all bytes there, the end of the answer is waited for: the connection is
                // then free for the next one.
                while bytes.len() < enough || bytes.len() == most {
                    let Some(part) = body.next().await.transpose()? else {
                        return Ok(true);
                    };
                    let wanted = part.len().min(most - bytes.len());
                    bytes.extend_from_slice(&part[..wanted]);
                }
                Ok(false)
            };
            match tokio::time::timeout(STALLED, some).await {
                Err(_) => return Err(Broken::Off("next to nothing came any more")),
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => return Err(Broken::For(error)),
            }
        }
    }

    fn give_up(&self, broken: Broken, at: u64) -> StorageError {
        match broken {
            Broken::For(error) => {
                let mut error = self.explain(&error);
                error.message = format!("{} (given up at byte {at})", error.message);
                error
            }
            Broken::Off(why) => StorageError::new(
                StorageFault::Unreachable,
                format!("{}: at byte {at} {why}, again and again", self.name),
                "check the network and the endpoint, and run again",
            ),
            Broken::Changed => changed(&self.name),
        }
    }

    fn explain(&self, error: &Error) -> StorageError {
        let (store, kind) = match self.name.split_once("://") {
            Some(("s3" | "s3a", rest)) => (first_name(rest), Kind::S3),
            Some(("gs", rest)) => (first_name(rest), Kind::Google),
            Some(("http" | "https", rest)) => (first_name(rest), Kind::Http),
            Some(("file", _)) => ("the file system".to_owned(), Kind::Local),
            _ => ("the store".to_owned(), Kind::Azure),
        };
        let place = Place {
            object: &self.name,
            store,
            kind,
        };
        explain(&place, &self.hidden, error)
    }
}

fn first_name(rest: &str) -> String {
    format!("`{}`", rest.split('/').next().unwrap_or_default())
}

/// Why an answer is not whole.
enum Broken {
    For(Error),
    Off(&'static str),
    Changed,
}

/// Whether two answers are about the same bytes.
fn same_version(first: &ObjectMeta, later: &ObjectMeta) -> bool {
    let strong = |tag: &str| tag.trim_start_matches("W/").to_owned();
    let tags = first.e_tag.as_deref().zip(later.e_tag.as_deref());
    let same_tags = tags.map(|(first, later)| strong(first) == strong(later));
    let same_time = || first.last_modified == later.last_modified;
    first.size == later.size && same_tags.unwrap_or_else(same_time)
}
