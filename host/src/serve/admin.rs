//! What a process answers about itself: health, readiness, metrics and status.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;

use super::answers::figures::{ServingFigures, ServingMetrics};
use super::metrics::{PipelineMetrics, ProcessMetrics};
use super::{exposition, health, status};
use crate::pipeline::telemetry::Telemetry;

/// What answers are made of.
pub(super) struct Admin {
    telemetry: Arc<Telemetry>,
    stopping: Arc<AtomicBool>,
    is_run: bool,
    pub(super) registry: Registry,
    /// When the process started, in microseconds since 1970 and by the clock.
    started: (i64, Duration),
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// `is_run`: the process runs pipelines, and is ready when they are.
    pub(super) fn new(
        telemetry: Arc<Telemetry>,
        stopping: Arc<AtomicBool>,
        is_run: bool,
        serving: Option<Arc<ServingFigures>>,
    ) -> Self {
        let started = (telemetry.clock().unix(), telemetry.clock().now());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics {
            started_s: started.0 as f64 / 1e6,
        }));
        registry.register_collector(Box::new(PipelineMetrics(Arc::clone(&telemetry))));
        if let Some(figures) = serving {
            registry.register_collector(Box::new(ServingMetrics(figures)));
        }
        Self {
            telemetry,
            stopping,
            is_run,
            registry,
            started,
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// What every process answers about itself.
pub(super) fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(Arc::new(admin))
}

async fn health(State(admin): State<Arc<Admin>>) -> Response {
    verdict(health::stuck(&admin.telemetry))
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let stopping = admin.is_stopping();
    verdict(match admin.is_run {
        true => health::not_ready(&admin.telemetry, stopping),
        false if stopping => vec!["the process is stopping".into()],
        false => Vec::new(),
    })
}

async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    match exposition::expose(&admin.registry, accept) {
        Ok((kind, text)) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn status(State(admin): State<Arc<Admin>>) -> Response {
    let (started, since) = admin.started;
    let uptime = admin.telemetry.clock().now().saturating_sub(since);
    let stopping = admin.is_stopping();
    let status = status::status(&admin.telemetry, started, uptime.as_secs_f64(), stopping);
    Json(status).into_response()
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
