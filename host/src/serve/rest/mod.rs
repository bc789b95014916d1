//! Features over REST: JSON in, JSON out, as `docs/openapi.json` describes it.
//!
//! | request | |
//! | --- | --- |
//! | `POST /v1/groups/{group}/batch-get` | the newest values of features of entities |
//! | `POST /v1/groups/{group}/put` | values of features that are computed elsewhere |
//! | `GET /v1/features` | every feature that the token may read |
//! | `GET /v1/groups/{group}/features` | those of a group |
//! | `GET /v1/groups/{group}/features/{feature}` | one |
//! | `GET /openapi.json` | the description |

mod json;
#[cfg(test)]
mod openapi_tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::answers::Answers;
use super::answers::access::Caller;
use super::answers::figures::REST;
use super::answers::refusal::{Kind, Refusal};

/// The description of all of this, for people and generators.
const OPENAPI: &str = include_str!("../../../../docs/openapi.json");

/// How long an answer may take, in milliseconds.
const TIMEOUT: &str = "x-timeout-ms";

/// The paths, as the description has them, with their methods.
pub(super) const PATHS: [(&str, &str); 6] = [
    ("post", "/v1/groups/{group}/batch-get"),
    ("post", "/v1/groups/{group}/put"),
    ("get", "/v1/features"),
    ("get", "/v1/groups/{group}/features"),
    ("get", "/v1/groups/{group}/features/{feature}"),
    ("get", "/openapi.json"),
];

/// The routes.
pub(super) fn routes(answers: Arc<Answers>) -> Router {
    let [batch_get_at, put_at, all, of_group, one, openapi] = PATHS.map(|(_, path)| path);
    Router::new()
        .route(batch_get_at, post(batch_get))
        .route(put_at, post(put))
        .route(all, get(list))
        .route(of_group, get(list_group))
        .route(one, get(describe))
        .route(openapi, get(description))
        .method_not_allowed_fallback(other_method)
        .with_state(answers)
}

type Shared = State<Arc<Answers>>;

async fn batch_get(
    State(answers): Shared,
    group: Result<Path<String>, axum::extract::rejection::PathRejection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let (answers, headers) = (answers.as_ref(), &parts.headers);
    let work = |caller| async move {
        let group = path(group)?;
        let body = read(headers, body, answers.max_body).await?;
        let asked = json::batch_get(group, &body)?;
        let answer = answers.batch_get(&caller, &asked).await?;
        Ok(json::answer(&asked, &answer))
    };
    reply(answers, "batch_get", headers, work).await
}

async fn put(
    State(answers): Shared,
    group: Result<Path<String>, axum::extract::rejection::PathRejection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let (answers, headers) = (answers.as_ref(), &parts.headers);
    let work = |caller| async move {
        let group = path(group)?;
        let body = read(headers, body, answers.max_body).await?;
        let asked = json::put(group, &body)?;
        drop(body);
        let values = answers.put(&caller, &asked).await?;
        Ok(json::written(values))
    };
    reply(answers, "put", headers, work).await
}

async fn list(State(answers): Shared, headers: HeaderMap) -> Response {
    let answers = answers.as_ref();
    let work = |caller| async move { answers_list(answers, &caller, None).await };
    reply(answers, "list_features", &headers, work).await
}

async fn list_group(
    State(answers): Shared,
    group: Result<Path<String>, axum::extract::rejection::PathRejection>,
    headers: HeaderMap,
) -> Response {
    let answers = answers.as_ref();
    let work = |caller| async move {
        let group = path(group)?;
        answers_list(answers, &caller, Some(&group)).await
    };
    reply(answers, "list_features", &headers, work).await
}

async fn answers_list(
    answers: &Answers,
    caller: &Caller<'_>,
    group: Option<&str>,
) -> Result<String, Refusal> {
    Ok(json::features(&answers.list(caller, group).await?))
}

async fn describe(
    State(answers): Shared,
    names: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
    headers: HeaderMap,
) -> Response {
    let answers = answers.as_ref();
    let work = |caller| async move {
        let (group, feature) = path(names)?;
        let found = answers.describe(&caller, &group, &feature).await?;
        Ok(json::feature(&found).to_string())
    };
    reply(answers, "describe_feature", &headers, work).await
}

async fn description() -> Response {
    json_response(StatusCode::OK, OPENAPI.into())
}

async fn other_method() -> Response {
    let (status, message) = (
        StatusCode::METHOD_NOT_ALLOWED,
        "this path has another method: GET /openapi.json describes them all",
    );
    json_response(status, json::error("method_not_allowed", message).into())
}

/// Answers a request within its deadline, and counts it.
async fn reply<'a, W>(
    answers: &'a Answers,
    method: &'static str,
    headers: &HeaderMap,
    work: impl FnOnce(Caller<'a>) -> W + Send,
) -> Response
where
    W: Future<Output = Result<String, Refusal>> + Send,
{
    let began = answers.now();
    let token = headers
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes);
    let done = match (answers.caller(token), timeout(headers)) {
        (Ok(caller), Ok(asked)) => answers.within(asked, work(caller)).await,
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
    };
    let took = answers.now().saturating_sub(began);
    answers.figures.ended(REST, method, &done, took);
    match done {
        Ok(text) => json_response(StatusCode::OK, text.into()),
        Err(refusal) => refused(&refusal),
    }
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    let millis = value.to_str().ok().and_then(|text| text.parse().ok());
    match millis {
        Some(millis @ 1..) => Ok(Some(Duration::from_millis(millis))),
        _ => Err(Refusal::new(
            Kind::Invalid,
            format!("the header `{TIMEOUT}` is a whole number of milliseconds, from 1"),
        )),
    }
}

fn path<T>(path: Result<Path<T>, axum::extract::rejection::PathRejection>) -> Result<T, Refusal> {
    let path = path.map_err(|error| {
        let message = format!("the path cannot be read: {}", error.body_text());
        Refusal::new(Kind::Invalid, message)
    });
    path.map(|Path(names)| names)
}

/// A JSON body, of no more bytes than may be.
async fn read(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Refusal> {
    // Pages of other sites can send forms here without being asked, and not this.
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::new(
            Kind::Invalid,
            "the body is to be JSON: send it with `Content-Type: application/json`",
        ));
    }
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::new(
            Kind::TooLarge,
            format!(
                "the body has more than {most} bytes, which is as many as `serving.max_body` allows: ask in several requests"
            ),
        )),
        Err(error) => Err(Refusal::new(
            Kind::Invalid,
            format!("the body cannot be read: {error}"),
        )),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal.kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Kind::Precondition => StatusCode::CONFLICT,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let body = json::error(refusal.kind.code(), &refusal.message);
    let mut response = json_response(status, body.into());
    let more = match refusal.kind {
        Kind::Overloaded | Kind::Unavailable => Some((header::RETRY_AFTER, "1")),
        Kind::Unauthenticated => Some((header::WWW_AUTHENTICATE, "Bearer")),
        _ => None,
    };
    if let Some((name, value)) = more {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn json_response(status: StatusCode, body: Body) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
