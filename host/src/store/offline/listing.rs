//! Which files there are.
//!
//! Files are compacted while somebody lists them, and a listing is no single moment: it may pass the place of the new file
//! before that is there, and the places of the old ones when they are gone. So a listing counts when nothing of the one
//! before it has gone.

use std::collections::HashSet;

use futures::TryStreamExt as _;
use object_store::Error;

use super::rows::DAY;
use super::writer::plain;
use super::{EXTENSION, OfflineStore, taken_back};
use crate::store::StoreError;

/// Event times from the first to the last, both of them within, in microseconds since 1970; all of them where there is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: Option<i64>,
    /// The last.
    pub last: Option<i64>,
}

/// A file of the history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfflineFile {
    /// Its name below the place: group, day and name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, in microseconds since 1970, as the place says.
    pub written: i64,
}

impl OfflineFile {
    /// The day of its rows, as `2026-01-31`.
    #[must_use]
    pub fn day(&self) -> &str {
        self.name.split('/').nth(1).unwrap_or_default()
    }

    /// Whether it may have rows of a span, by its day. One whose day cannot be read may.
    #[must_use]
    pub fn may_have(&self, span: Span) -> bool {
        let day = self.day().parse::<jiff::civil::Date>().ok();
        let midnight = day.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
        let Some(start) = midnight.map(|it| it.timestamp().as_microsecond()) else {
            return true;
        };
        span.last.is_none_or(|last| start <= last)
            && span.first.is_none_or(|first| first < start + DAY)
    }

    /// Whether it may have rows of a pipeline; of another only if that is called alike but for letters that names of
    /// files have not.
    #[must_use]
    pub fn is_of(&self, pipeline: &str) -> bool {
        self.writer().split('-').next() == Some(&*plain(pipeline))
    }

    /// Whose rows it has: pipeline and window, as its name begins with.
    pub(super) fn writer(&self) -> &str {
        let name = self.name.rsplit('/').next().unwrap_or_default();
        let end = name.match_indices('-').nth(1);
        end.map_or(name, |(end, _)| &name[..end])
    }
}

impl OfflineStore {
    /// The files of a group, in the order of days and names. Together they have every row that there was when this was
    /// called, whatever is compacted meanwhile. One that is gone when it is read was compacted since: list them again, or
    /// see [`OfflineStore::snapshot`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be listed. A group without history has none.
    pub async fn files(&self, group: &str) -> Result<Vec<OfflineFile>, StoreError> {
        let mut before = self.listed(group).await?;
        loop {
            let after = self.listed(group).await?;
            let there: HashSet<&str> = after.iter().map(|file| file.name.as_str()).collect();
            if before.iter().all(|file| there.contains(&*file.name)) {
                return Ok(after);
            }
            before = after;
        }
    }

    /// What one listing shows: some rows may be in none of its files.
    pub(super) async fn listed(&self, group: &str) -> Result<Vec<OfflineFile>, StoreError> {
        let folder = self.path(group);
        let listing = self.objects.list(Some(&folder)).try_filter_map(|object| {
            let key = object.location.as_ref();
            let name = match self.prefix.as_ref() {
                "" => Some(key),
                prefix => key.strip_prefix(prefix).and_then(|it| it.strip_prefix('/')),
            };
            let file = name
                .filter(|name| name.ends_with(EXTENSION))
                .map(|name| OfflineFile {
                    name: name.to_owned(),
                    bytes: object.size,
                    written: object.last_modified.timestamp_micros(),
                });
            async { Ok(file) }
        });
        let mut files: Vec<OfflineFile> = match listing.try_collect().await {
            Ok(files) => files,
            Err(Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(self.explain(group, &error)),
        };
        files.sort();
        Ok(files)
    }

    /// The groups that have a history.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when they cannot be listed.
    pub async fn groups(&self) -> Result<Vec<String>, StoreError> {
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let listed = self.objects.list_with_delimiter(prefix).await;
        let listed = listed.map_err(|error| self.explain("", &error))?;
        let names = listed.common_prefixes.iter();
        let names = names.filter_map(|path| path.filename().map(str::to_owned));
        Ok(names.filter(|name| name != taken_back::FOLDER).collect())
    }
}
