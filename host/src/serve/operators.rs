//! Swaps over HTTP, for operators: which generation a pipeline of this process has, another one, and the way back, as
//! `docs/openapi-admin.json` describes it.
//!
//! | request | |
//! | --- | --- |
//! | `GET /v1/pipelines/{pipeline}/status` | the wanted generation, and where each lane is |
//! | `GET /v1/pipelines/{pipeline}/history` | all generations |
//! | `POST /v1/pipelines/{pipeline}/swap` | asks for a version in the registry, or has it tried first |
//! | `POST /v1/pipelines/{pipeline}/rollback` | takes the wanted generation back |
//! | `POST /v1/pipelines/{pipeline}/shadow/drop` | ends what is tried beside it |
//! | `GET /openapi-admin.json` | the description |
//!
//! Every request but the last needs a token. A request does what the command does, in the store: the answer says what is
//! wanted from then on, and the status and the history say what became of it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::access::{AccessError, bearer, digest, hash_of};
use crate::clock::Clock;
use crate::config::{Environment, OperatorToken, VersionedName, parse_duration};
use crate::pipeline::shadow::{ConditionError, Gate};
use crate::pipeline::swap::{Operator, OperatorError, SwapError, ToTry};

/// The description of all of this, for people and generators.
const OPENAPI: &str = include_str!("../../../docs/openapi-admin.json");

/// The paths, as the description has them, with their methods.
const PATHS: [(&str, &str); 6] = [
    ("get", "/v1/pipelines/{pipeline}/status"),
    ("get", "/v1/pipelines/{pipeline}/history"),
    ("post", "/v1/pipelines/{pipeline}/swap"),
    ("post", "/v1/pipelines/{pipeline}/rollback"),
    ("post", "/v1/pipelines/{pipeline}/shadow/drop"),
    ("get", "/openapi-admin.json"),
];

/// What operators may do here.
pub struct Operations {
    /// The pipelines of this process, each with the environment that it runs in.
    pub pipelines: BTreeMap<String, Environment>,
    /// When something was asked for.
    pub clock: Arc<dyn Clock>,
}

/// The same, with who may do it.
pub(super) struct Operators {
    operations: Operations,
    /// For each token's hash, its name, and the pipelines.
    tokens: HashMap<[u8; 32], Vec<Permission>>,
}

/// What a token is good for.
struct Permission {
    operator: String,
    pipeline: String,
}

impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operators")
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}

impl Operators {
    /// Reads the tokens of the pipelines' environments; none where there are none.
    pub(super) fn open(operations: Operations) -> Result<Option<Self>, AccessError> {
        let mut tokens: HashMap<[u8; 32], Vec<Permission>> = HashMap::new();
        for (pipeline, environment) in &operations.pipelines {
            for OperatorToken { name, known_by } in &environment.operators {
                let permission = Permission {
                    operator: name.clone(),
                    pipeline: pipeline.clone(),
                };
                let permissions = tokens.entry(hash_of(name, known_by)?).or_default();
                permissions.push(permission);
            }
        }
        Ok((!tokens.is_empty()).then_some(Self { operations, tokens }))
    }

    /// The generations of a pipeline, for whoever asks with these headers.
    async fn operator(&self, pipeline: &str, headers: &HeaderMap) -> Result<Operator, Refused> {
        let header = headers.get(header::AUTHORIZATION);
        let token = header.map(HeaderValue::as_bytes).and_then(bearer);
        let permissions = token.and_then(|token| self.tokens.get(&digest(token)));
        let Some(permissions) = permissions else {
            let message = "send `Authorization: Bearer TOKEN`, with a token that `operators` of the pipeline's environment has";
            return Err(Refused::new(
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                message,
            ));
        };
        let environment = self.operations.pipelines.get(pipeline);
        let Some(environment) = environment else {
            let message = format!("this process runs no pipeline {pipeline:?}");
            return Err(Refused::new(StatusCode::NOT_FOUND, "not_found", message));
        };
        let Some(permission) = permissions.iter().find(|it| it.pipeline == pipeline) else {
            let message = format!("the token is none of an operator of pipeline {pipeline}");
            return Err(Refused::new(
                StatusCode::FORBIDDEN,
                "permission_denied",
                message,
            ));
        };
        tracing::info!(pipeline, operator = permission.operator, "an operator asks");
        let clock = Arc::clone(&self.operations.clock);
        Ok(Operator::open(environment, pipeline, clock).await?)
    }
}

/// Why somebody does not get what they asked for.
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

impl From<OperatorError> for Refused {
    fn from(error: OperatorError) -> Self {
        let (status, code) = match &error {
            OperatorError::Swap(SwapError::Never(_)) => (StatusCode::NOT_FOUND, "not_found"),
            error if error.is_bad_input() => (StatusCode::CONFLICT, "failed_precondition"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<JsonRejection> for Refused {
    fn from(error: JsonRejection) -> Self {
        Self::new(error.status(), "invalid_argument", error.body_text())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message}});
        (self.status, Json(body)).into_response()
    }
}

/// The routes.
pub(super) fn routes(operators: Arc<Operators>) -> Router {
    let [
        status_at,
        history_at,
        swap_at,
        rollback_at,
        drop_at,
        openapi,
    ] = PATHS.map(|(_, path)| path);
    Router::new()
        .route(status_at, get(status))
        .route(history_at, get(history))
        .route(swap_at, post(swap))
        .route(rollback_at, post(rollback))
        .route(drop_at, post(drop_shadow))
        .route(openapi, get(description))
        .with_state(operators)
}

type Shared = State<Arc<Operators>>;
type Answer = Result<Json<Value>, Refused>;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToSwap {
    /// `NAME@VERSION` in the registry.
    component: String,
    /// Take nothing over.
    #[serde(default)]
    fresh: bool,
    /// Try it beside the one at work first.
    shadow: Option<Trial>,
}

/// How a version is tried.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trial {
    /// A time such as `10m`.
    #[serde(rename = "for", default = "ten_minutes")]
    lasts: String,
    /// The condition under which it then takes the other's place.
    promote_if: Option<String>,
    /// Values of every feature that must have been compared for that.
    #[serde(default = "a_thousand")]
    at_least: u64,
}

fn ten_minutes() -> String {
    "10m".to_owned()
}

fn a_thousand() -> u64 {
    1_000
}

impl Trial {
    fn read(&self) -> Result<ToTry, Refused> {
        let invalid = |message: String| {
            Refused::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_argument",
                message,
            )
        };
        let lasts = parse_duration(&self.lasts).map_err(|error| invalid(error.to_string()))?;
        if lasts <= 0 {
            return Err(invalid(format!("{} is no time that can pass", self.lasts)));
        }
        let condition = self.promote_if.as_deref().map(str::parse).transpose();
        let condition = condition.map_err(|error: ConditionError| invalid(error.to_string()))?;
        let at_least = self.at_least;
        Ok(ToTry {
            lasts,
            gate: condition.map(|condition| Gate {
                condition,
                at_least,
            }),
        })
    }
}

/// What is to be taken back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToTakeBack {
    /// For the history.
    reason: String,
    /// Also if the topic no longer holds what has to be read again.
    #[serde(default)]
    anyway: bool,
}

/// What is tried no longer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ToDrop {
    /// For the history.
    reason: String,
}

async fn status(
    State(operators): Shared,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let operator = operators.operator(&pipeline, &headers).await?;
    let ledger = operator.ledger().await?;
    let found = operator.found(&ledger).await?;
    let lanes = operator.lanes().await?;
    Ok(Json(ledger.with_lanes(&lanes, found.as_ref())))
}

async fn history(
    State(operators): Shared,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let operator = operators.operator(&pipeline, &headers).await?;
    Ok(Json(operator.ledger().await?.all_shown()))
}

async fn swap(
    State(operators): Shared,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
    asked: Result<Json<ToSwap>, JsonRejection>,
) -> Answer {
    let operator = operators.operator(&pipeline, &headers).await?;
    let Json(asked) = asked?;
    let name = VersionedName::parse(&asked.component);
    let name = name.map_err(|message| {
        Refused::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_argument",
            message,
        )
    })?;
    if let Some(trial) = &asked.shadow {
        let how = trial.read()?;
        let (number, ledger) = operator.try_beside(&name, asked.fresh, &how).await?;
        let mut shadows = ledger.shadows().iter();
        let shadow = shadows.find(|shadow| shadow.number == number);
        return Ok(Json(shadow.map_or(Value::Null, |it| it.shown(None))));
    }
    let (number, ledger) = operator.ask(&name, asked.fresh).await?;
    let generation = ledger.find(number).unwrap_or(ledger.wanted());
    Ok(Json(ledger.shown(generation)))
}

async fn rollback(
    State(operators): Shared,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
    asked: Result<Json<ToTakeBack>, JsonRejection>,
) -> Answer {
    let operator = operators.operator(&pipeline, &headers).await?;
    let Json(asked) = asked?;
    let (ledger, unseen) = operator.take_back(asked.reason, asked.anyway).await?;
    if let Some(reason) = unseen {
        tracing::warn!(
            pipeline,
            reason,
            "whether the stream holds what is read again could not be seen"
        );
    }
    Ok(Json(ledger.shown(ledger.wanted())))
}

async fn drop_shadow(
    State(operators): Shared,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
    asked: Result<Json<ToDrop>, JsonRejection>,
) -> Answer {
    let operator = operators.operator(&pipeline, &headers).await?;
    let Json(asked) = asked?;
    let ledger = operator.drop_shadow(asked.reason).await?;
    Ok(Json(ledger.shown(ledger.wanted())))
}

async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
