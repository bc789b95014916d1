//! How a stream is connected to: who we are, whether the stream is there, its consumer, its shards.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::StreamStatus;
use tokio::runtime::Handle;

use super::KinesisSettings;
use super::fault::{Failure, FaultKind, KinesisFault};
use super::service::{Listed, Service};
use super::waits::Waits;
use crate::aws::{Access, CREDENTIALS, NoAccess, credentials};
use crate::clock::Clock;

/// How long a service that does not answer is tried.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a consumer may take to be registered.
const REGISTERING: Duration = Duration::from_secs(120);

/// How long a stop may go unnoticed.
const GLANCE: Duration = Duration::from_millis(20);

/// A stream that is there.
pub(super) struct Connected {
    pub(super) service: Service,
    /// The ARN of the consumer, with enhanced fan-out.
    pub(super) consumer: Option<String>,
    pub(super) shards: Vec<Listed>,
    /// How long the stream keeps records.
    pub(super) retention: Duration,
}

/// What is wanted for connecting.
pub(super) struct Connecting<'a> {
    pub(super) settings: &'a KinesisSettings,
    pub(super) io: &'a Handle,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) stop: &'a AtomicBool,
}

/// What an attempt came to.
enum Attempt<T> {
    Done(T),
    /// It is to be made again, for this reason.
    NotYet(String),
}

impl Connecting<'_> {
    pub(super) fn connect(&self) -> Result<Connected, KinesisFault> {
        let client = self.client()?;
        let service = Service::new(client, &self.settings.stream);
        let stream = &self.settings.stream;
        let described = self.until(&format!("ask about stream `{stream}`"), PATIENCE, || {
            let service = service.clone();
            async move {
                let described = service.describe().await?;
                Ok(match described.status {
                    StreamStatus::Creating => Attempt::NotYet("it is being made".to_owned()),
                    StreamStatus::Deleting => {
                        return Err(Failure::NotThere("it is being deleted".to_owned()));
                    }
                    _ => Attempt::Done(described),
                })
            }
        })?;
        let consumer = match &self.settings.consumer {
            Some(name) => Some(self.register(&service, &described.arn, name)?),
            None => None,
        };
        let shards = self.until(&format!("list the shards of `{stream}`"), PATIENCE, || {
            let service = service.clone();
            async move { service.list().await.map(Attempt::Done) }
        })?;
        Ok(Connected {
            service,
            consumer,
            shards,
            retention: Duration::from_secs(u64::from(described.retention) * 3600),
        })
    }

    /// A client that asks once, so that all waiting and telling is here.
    fn client(&self) -> Result<Client, KinesisFault> {
        let settings = self.settings;
        let keys = settings.keys.as_ref();
        let access = Access {
            region: settings.region.clone(),
            endpoint: settings.endpoint.clone(),
            profile: None,
            credentials: keys
                .map(|keys| credentials(&keys.id, &keys.secret, keys.token.as_deref())),
            connect_timeout: settings.timeout,
            // A subscription goes on for minutes.
            attempt_timeout: None,
        };
        let found = self.run(access.find(), PATIENCE).map_err(|reason| {
            KinesisFault::new(
                FaultKind::Denied,
                format!("cannot find credentials for AWS: {reason}"),
                CREDENTIALS,
            )
        })?;
        let config = found.map_err(|missing| {
            let (message, hint) = missing.told(&format!("stream `{}`", settings.stream));
            let kind = match missing {
                NoAccess::Region => FaultKind::Setting,
                NoAccess::Credentials(_) => FaultKind::Denied,
            };
            KinesisFault::new(kind, message, hint)
        })?;
        Ok(Client::new(&config))
    }

    fn register(
        &self,
        service: &Service,
        stream: &str,
        name: &str,
    ) -> Result<String, KinesisFault> {
        let doing = format!("register consumer `{name}` of `{}`", self.settings.stream);
        self.until(&doing, REGISTERING, || {
            let (service, stream, name) = (service.clone(), stream.to_owned(), name.to_owned());
            async move {
                let (arn, active) = service.consumer(&stream, &name).await?;
                Ok(if active {
                    Attempt::Done(arn)
                } else {
                    Attempt::NotYet("it is not active yet".to_owned())
                })
            }
        })
    }

    /// Tries until it is done, it is clear that it never will be, or `patience` has ended.
    fn until<T, F>(
        &self,
        doing: &str,
        patience: Duration,
        attempt: impl Fn() -> F,
    ) -> Result<T, KinesisFault>
    where
        T: Send + 'static,
        F: Future<Output = Result<Attempt<T>, Failure>> + Send + 'static,
    {
        let end = self.clock.now() + patience;
        let mut waits = Waits::default();
        loop {
            let reason = match self.run(attempt(), self.settings.timeout) {
                Ok(Ok(Attempt::Done(done))) => return Ok(done),
                Ok(Ok(Attempt::NotYet(reason))) | Err(reason) => reason,
                Ok(Err(failure)) => self.again(doing, failure)?,
            };
            tracing::debug!("cannot {doing} yet: {reason}");
            let next = self.clock.now() + waits.next();
            if next >= end || self.stop.load(Ordering::Relaxed) {
                return Err(KinesisFault::new(
                    FaultKind::Unreachable,
                    format!("cannot {doing}: {reason}"),
                    "check `endpoint` and `region`, that the service can be reached from here, and that nobody else asks it too often",
                ));
            }
            self.clock.wait(next, self.stop);
        }
    }

    /// The reason for another attempt.
    ///
    /// # Errors
    ///
    /// Another one would fail in the same way.
    fn again(&self, doing: &str, failure: Failure) -> Result<String, KinesisFault> {
        match failure {
            Failure::Final(fault) => Err(fault),
            Failure::NotThere(reason) => Err(no_stream(doing, &reason)),
            Failure::Wrong(reason) => Err(KinesisFault::new(
                FaultKind::Refused,
                format!("cannot {doing}: {reason}"),
                "check `stream` and `consumer`",
            )),
            failure => Ok(failure.reason()),
        }
    }

    /// Runs a request for up to `patience`, or until a stop. Gives the reason if it did not end.
    fn run<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
        patience: Duration,
    ) -> Result<T, String> {
        let (send, receive) = sync_channel(1);
        let task = self.io.spawn(async move {
            // Nobody waits any more if this fails.
            let _ = send.send(request.await);
        });
        let end = self.clock.now() + patience;
        let reason = loop {
            match receive.recv_timeout(GLANCE) {
                Ok(done) => return Ok(done),
                Err(RecvTimeoutError::Disconnected) => {
                    break "the request has failed inside Penstock";
                }
                Err(RecvTimeoutError::Timeout) if self.stop.load(Ordering::Relaxed) => {
                    break "it was stopped";
                }
                Err(RecvTimeoutError::Timeout) if self.clock.now() >= end => {
                    break "nothing answers in time";
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        task.abort();
        Err(reason.to_owned())
    }
}

/// The fault that a stream is not there.
pub(super) fn no_stream(doing: &str, reason: &str) -> KinesisFault {
    KinesisFault::new(
        FaultKind::Missing,
        format!("cannot {doing}: {reason}"),
        "make the stream, or correct `stream`, `region` or the account of the credentials",
    )
}
