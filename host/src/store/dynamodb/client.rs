//! Who asks the service, and how often: connecting, and trying again.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use tokio::sync::Semaphore;

use super::fault::Failure;
use crate::aws::{Access, NoAccess, credentials};
use crate::config::TablePlace;
use crate::store::StoreError;
use crate::store::TableFault;
use crate::store::figures::StoreFigures;

/// The first wait, which doubles.
const FIRST_WAIT: Duration = Duration::from_millis(25);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often a read is tried: whoever reads has no time to lose.
pub(super) const READ_TRIES: u32 = 8;
/// How often the same trouble is told.
const REMINDER: Duration = Duration::from_secs(30);

/// A table, and who asks about it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) client: Client,
    pub(super) table: String,
    pub(super) consistent_reads: bool,
    pub(super) in_flight: usize,
    pub(super) figures: Arc<StoreFigures>,
    /// Requests at a time that are made until they are answered, and others. Who reads does not wait for the place of
    /// somebody who writes, and may wait for long.
    patient: Semaphore,
    hurried: Semaphore,
    waits: Waits,
    trouble: Mutex<Trouble>,
}

/// Since when the service fails, and when that was told.
#[derive(Debug, Default)]
struct Trouble {
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Service {
    /// Finds out who we are and where the table is. Nothing is asked of the table.
    pub(super) async fn connect(place: &TablePlace) -> Result<Self, StoreError> {
        let keys = place.keys.as_ref();
        let access = Access {
            region: place.region.clone().or_else(|| region_of(&place.table)),
            endpoint: place.endpoint.clone(),
            profile: place.profile.clone(),
            credentials: keys.map(|keys| {
                let token = keys.token.as_ref().map(|token| token.expose());
                credentials(keys.id.expose(), keys.secret.expose(), token)
            }),
            connect_timeout: place.timeout,
            attempt_timeout: Some(place.timeout),
        };
        let config = access.find().await.map_err(|missing| {
            let (reason, hint) = missing.told("the table");
            let fault = match missing {
                NoAccess::Region => TableFault::Refused,
                NoAccess::Credentials(_) => TableFault::Denied,
            };
            let failure = Failure::Final {
                fault,
                reason,
                hint,
            };
            failure.into_error("connect to the service", &place.table)
        })?;
        let table = place.table.clone();
        let (consistent_reads, in_flight) = (place.consistent_reads, place.in_flight.max(1));
        Ok(Self::new(
            Client::new(&config),
            table,
            consistent_reads,
            in_flight,
        ))
    }

    fn new(client: Client, table: String, consistent_reads: bool, in_flight: usize) -> Self {
        Self {
            client,
            table,
            consistent_reads,
            in_flight,
            figures: Arc::default(),
            patient: Semaphore::new(in_flight),
            hurried: Semaphore::new(in_flight),
            waits: Waits::default(),
            trouble: Mutex::default(),
        }
    }

    /// The same table for somebody else, over the same connections.
    pub(super) fn beside(&self) -> Self {
        let (client, table) = (self.client.clone(), self.table.clone());
        Self::new(client, table, self.consistent_reads, self.in_flight)
    }

    /// Asks until there is an answer, or it is clear that there never will be one; with `tries` at most so often.
    /// Nobody is asked by more than the requests at a time that were allowed: who waits for another try keeps its
    /// place, so that a service that is overrun is asked less.
    pub(super) async fn ask<T, F>(
        &self,
        doing: &str,
        tries: Option<u32>,
        mut request: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let permits = match tries {
            None => &self.patient,
            Some(_) => &self.hurried,
        };
        let _permit = permits.acquire().await.expect("nobody closes it");
        let mut tried = 0;
        loop {
            let failure = match request().await {
                Ok(answer) => {
                    self.answered();
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            tried += 1;
            let is_final = matches!(failure, Failure::Final { .. });
            if is_final || tries.is_some_and(|tries| tried >= tries) {
                return Err(failure.into_error(doing, &self.table));
            }
            match &failure {
                Failure::Throttled(_) => self.figures.throttled.one(),
                _ => self.figures.retried.one(),
            }
            self.troubled(doing, failure.reason());
            self.wait(tried).await;
        }
    }

    /// Waits before what has failed so often is tried again.
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing tells when a service is well again"
    )]
    pub(super) async fn wait(&self, tried: u32) {
        tokio::time::sleep(self.waits.after(tried)).await;
    }

    fn troubled(&self, doing: &str, reason: &str) {
        let now = Instant::now();
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *trouble.since.get_or_insert(now);
        let is_told = |told: Instant| now.duration_since(told) < REMINDER;
        if trouble.told.is_some_and(is_told) {
            return;
        }
        trouble.told = Some(now);
        let seconds = now.duration_since(since).as_secs();
        tracing::warn!(
            table = self.table,
            for_s = seconds,
            "DynamoDB does not {doing} ({reason}); it is asked again until it does, and nothing is lost meanwhile"
        );
    }

    fn answered(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = trouble.since.take() else {
            return;
        };
        // Trouble that comes and goes is told once in a while, and its end only where it was long.
        if since.elapsed() > Duration::from_secs(1) {
            let seconds = since.elapsed().as_secs();
            tracing::info!(
                table = self.table,
                after_s = seconds,
                "DynamoDB answers again"
            );
        }
    }
}

/// The region in a table's ARN.
fn region_of(table: &str) -> Option<String> {
    table
        .strip_prefix("arn:")?
        .split(':')
        .nth(2)
        .map(str::to_owned)
}

/// Waits that double with each failure, each with a part that is drawn, so that those who failed together do not ask
/// together again.
#[derive(Debug, Default)]
struct Waits {
    drawn: AtomicU64,
    seed: RandomState,
}

impl Waits {
    fn after(&self, tried: u32) -> Duration {
        let longest = FIRST_WAIT
            .saturating_mul(1 << tried.min(16))
            .min(LONGEST_WAIT);
        let drawn = self
            .seed
            .hash_one(self.drawn.fetch_add(1, Ordering::Relaxed));
        // Half of it at least, or a service in need would be asked at once by some.
        longest / 2 + (longest / 2).mul_f64((drawn >> 11) as f64 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_differ() {
        let waits = Waits::default();
        for tried in 1..40 {
            let whole = FIRST_WAIT
                .saturating_mul(1 << tried.min(16))
                .min(LONGEST_WAIT);
            for _ in 0..20 {
                let wait = waits.after(tried);
                assert!(wait >= whole / 2 && wait <= whole, "{tried}: {wait:?}");
            }
        }
        let drawn: std::collections::BTreeSet<_> = (0..20).map(|_| waits.after(9)).collect();
        assert!(drawn.len() > 10);
    }

    #[test]
    fn an_arn_says_its_region() {
        let arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/features";
        assert_eq!(region_of(arn).as_deref(), Some("eu-west-1"));
        assert_eq!(region_of("features"), None);
    }
}
