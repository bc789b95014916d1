//! What a running process answers over HTTP: whether it is well, its metrics, what it is about.
//!
//! In come requests, and what the pipelines tell of themselves; out go texts. Nothing here changes anything, and
//! nothing that a lane does waits for it. There is no authentication: whoever can connect can read the names of
//! pipelines, components and splits, and counts. Events and features are never shown.

mod exposition;
mod families;
mod health;
mod metrics;
mod process;
mod status;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::metrics::{PipelineMetrics, ProcessMetrics};
use crate::pipeline::telemetry::Telemetry;

/// Where a process listens if it is asked to, and nobody says where.
pub const USUAL_ADDRESS: &str = "127.0.0.1:9464";

/// How long those who are being answered may take when the process ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Why nobody can be answered.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken.
    #[error(
        "cannot listen on {address}: another process does already; choose another address with --listen, or stop that process"
    )]
    Taken {
        /// The address.
        address: String,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; an address is a host and a port of this machine, such as {USUAL_ADDRESS}"
    )]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A server at work.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
    io: Handle,
}

impl Server {
    /// Listens on `address` (`host:port`, port 0 for any that is free), and answers on the runtime of `io` from what
    /// `telemetry` tells. `stopping` is set once the process was asked to stop.
    ///
    /// # Errors
    ///
    /// The address is taken, or is none of this machine.
    pub fn start(
        io: &Handle,
        address: &str,
        telemetry: Arc<Telemetry>,
        stopping: Arc<AtomicBool>,
    ) -> Result<Self, ServeError> {
        let listen = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AddrInUse => ServeError::Taken {
                address: address.into(),
            },
            _ => ServeError::Listen {
                address: address.into(),
                source: error,
            },
        };
        let listener = io.block_on(TcpListener::bind(address)).map_err(listen)?;
        let local = listener.local_addr().map_err(listen)?;
        let routes = routes(Answers::new(telemetry, stopping));
        let (end, ended) = oneshot::channel();
        let served = axum::serve(listener, routes).with_graceful_shutdown(async {
            // A sender that is gone ends it as well.
            let _ = ended.await;
        });
        let task = io.spawn(async {
            if let Err(error) = served.await {
                tracing::error!(%error, "the server of metrics and health has ended");
            }
        });
        Ok(Self {
            address: local,
            end,
            task,
            io: io.clone(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, and waits a moment for those that are being answered.
    pub fn close(self) {
        // Nobody listens if the task has ended, which is as well.
        let _ = self.end.send(());
        let mut task = self.task;
        let patience = async { tokio::time::timeout(LAST_ANSWERS, &mut task).await };
        if self.io.block_on(patience).is_err() {
            task.abort();
        }
    }
}

/// What answers are made of.
struct Answers {
    telemetry: Arc<Telemetry>,
    stopping: Arc<AtomicBool>,
    registry: Registry,
    /// When the process started, in microseconds since 1970 and by the clock.
    started: (i64, Duration),
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

impl Answers {
    fn new(telemetry: Arc<Telemetry>, stopping: Arc<AtomicBool>) -> Self {
        let started = (telemetry.clock().unix(), telemetry.clock().now());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics {
            started_s: started.0 as f64 / 1e6,
        }));
        registry.register_collector(Box::new(PipelineMetrics(Arc::clone(&telemetry))));
        Self {
            telemetry,
            stopping,
            registry,
            started,
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

fn routes(answers: Answers) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .fallback(elsewhere)
        .with_state(Arc::new(answers))
}

async fn health(State(answers): State<Arc<Answers>>) -> Response {
    verdict(health::stuck(&answers.telemetry))
}

async fn ready(State(answers): State<Arc<Answers>>) -> Response {
    let stopping = answers.is_stopping();
    verdict(health::not_ready(&answers.telemetry, stopping))
}

async fn metrics(State(answers): State<Arc<Answers>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    match exposition::expose(&answers.registry, accept) {
        Ok((kind, text)) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn status(State(answers): State<Arc<Answers>>) -> Response {
    let (started, since) = answers.started;
    let uptime = answers.telemetry.clock().now().saturating_sub(since);
    let stopping = answers.is_stopping();
    let status = status::status(&answers.telemetry, started, uptime.as_secs_f64(), stopping);
    Json(status).into_response()
}

/// What there is, for whoever asks for something else.
fn elsewhere() -> impl Future<Output = Response> + Send {
    let text = "there are /health, /ready, /metrics and /status\n";
    std::future::ready((StatusCode::NOT_FOUND, text).into_response())
}

/// Well without reasons, and else unwell with one a line.
fn verdict(reasons: Vec<String>) -> Response {
    if reasons.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    let mut text = reasons.join("\n");
    text.push('\n');
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

#[cfg(test)]
mod tests;
