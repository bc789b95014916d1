//! One request to a registry, and its answer.

use std::fmt;

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::Url;

use super::RegistryOptions;
use super::error::{RegistryFault, innermost};

/// Bytes of an answer, at most.
const MOST_BYTES: usize = 16 << 20;

/// What a registry is asked for.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// The schema of an id.
    Id(u32),
    /// A version of a subject; none: the latest.
    Version(String, Option<u32>),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "schema {id}"),
            Self::Version(subject, None) => write!(f, "the latest schema of subject `{subject}`"),
            Self::Version(subject, Some(version)) => {
                write!(f, "version {version} of subject `{subject}`")
            }
        }
    }
}

impl Asked {
    /// What tells it from others.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Version(subject, version) => format!("{version:?} {subject}"),
        }
    }

    fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        // A URL with a host has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            match self {
                Self::Id(id) => path.extend(["schemas", "ids", &id.to_string()]),
                Self::Version(subject, version) => {
                    let version = version.map_or("latest".to_owned(), |v| v.to_string());
                    path.extend(["subjects", subject, "versions", &version])
                }
            };
        }
        url
    }
}

/// What a registry says of a schema. Of an id's, it says less.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) schema: String,
    #[serde(rename = "schemaType")]
    pub(super) schema_type: Option<String>,
    pub(super) id: Option<u32>,
    #[serde(default)]
    pub(super) references: Vec<Reference>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Reference {
    pub(super) subject: String,
    pub(super) version: u32,
}

#[derive(Debug, Deserialize)]
struct Failure {
    error_code: u32,
    #[serde(default)]
    message: String,
}

/// Asks once. None: there is no such schema.
pub(super) async fn get(
    client: &Client,
    options: &RegistryOptions,
    base: &Url,
    asked: &Asked,
) -> Result<Option<Answer>, RegistryFault> {
    let unreachable = |error: reqwest::Error| RegistryFault::Unreachable(innermost(&error));
    let mut request = client.get(asked.url(base)).header(
        "accept",
        "application/vnd.schemaregistry.v1+json, application/json",
    );
    if let Some((user, password)) = &options.credentials {
        request = request.basic_auth(user, Some(password));
    }
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MOST_BYTES {
            let reason = format!("it is longer than {MOST_BYTES} bytes");
            return Err(RegistryFault::Garbled(reason));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        let answer = serde_json::from_slice(&body);
        return answer
            .map(Some)
            .map_err(|error| RegistryFault::Garbled(error.to_string()));
    }
    let failure: Option<Failure> = serde_json::from_slice(&body).ok();
    // 40401: subject not found; 40402: version not found; 40403: schema not found.
    if status == StatusCode::NOT_FOUND
        && let Some(Failure {
            error_code: 40401..=40403,
            ..
        }) = failure
    {
        return Ok(None);
    }
    Err(refused(status, failure))
}

fn refused(status: StatusCode, failure: Option<Failure>) -> RegistryFault {
    let said = failure.map_or(String::new(), |failure| {
        format!(" ({}: {})", failure.error_code, failure.message)
    });
    let answered = format!("it answers {status}{said}");
    let temporary = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
        );
    match status {
        _ if temporary => RegistryFault::Unreachable(answered),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryFault::Forbidden(answered),
        _ => RegistryFault::Refused(answered),
    }
}
