//! What all services of AWS have in common: who we are there, and what their refusals mean.
//!
//! In goes where a service is and with which credentials; out comes what its client is made of. It must never ask a
//! service anything, or wait and try again: whoever asks does that, and tells of it.

use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
// Every SDK has these under its own name.
use aws_sdk_dynamodb::config::{Credentials, ProvideCredentials as _};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;

/// What settings say of a service. What they leave out is looked for where AWS's own tools look.
#[derive(Debug, Default)]
pub(crate) struct Access {
    pub(crate) region: Option<String>,
    /// Whom to ask instead of the region's own service.
    pub(crate) endpoint: Option<String>,
    /// The profile of AWS's configuration files.
    pub(crate) profile: Option<String>,
    pub(crate) credentials: Option<Credentials>,
    /// How long connecting may take.
    pub(crate) connect_timeout: Duration,
    /// How long one request may take to be answered; some streams are never done.
    pub(crate) attempt_timeout: Option<Duration>,
}

/// Why nobody can be asked.
#[derive(Debug)]
pub(crate) enum NoAccess {
    /// It is not known in which region the service is.
    Region,
    /// There are no credentials, for this reason.
    Credentials(String),
}

impl NoAccess {
    /// What is missing, for `thing`, and what to do.
    pub(crate) fn told(&self, thing: &str) -> (String, &'static str) {
        match self {
            Self::Region => (
                format!("it is not known in which region {thing} is"),
                "set `region`, or AWS_REGION",
            ),
            Self::Credentials(reason) => (
                format!("there are no credentials for AWS: {reason}"),
                CREDENTIALS,
            ),
        }
    }
}

/// Credentials that settings spell out.
pub(crate) fn credentials(id: &str, secret: &str, token: Option<&str>) -> Credentials {
    Credentials::new(id, secret, token.map(str::to_owned), None, "settings")
}

impl Access {
    /// Finds out who we are and where the service is. Its client asks once, so that all waiting and telling is with
    /// whoever asks.
    pub(crate) async fn find(self) -> Result<SdkConfig, NoAccess> {
        let mut timeouts = TimeoutConfig::builder().connect_timeout(self.connect_timeout);
        timeouts.set_operation_attempt_timeout(self.attempt_timeout);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .app_name(AppName::new("penstock").expect("letters only"))
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts.build());
        if let Some(region) = self.region {
            loader = loader.region(Region::new(region));
        }
        if let Some(endpoint) = self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(profile) = self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(credentials) = self.credentials {
            loader = loader.credentials_provider(credentials);
        }
        let config = Box::pin(loader.load()).await;
        if config.region().is_none() {
            return Err(NoAccess::Region);
        }
        if let Some(provider) = config.credentials_provider() {
            let found = provider.provide_credentials().await;
            found.map_err(|error| NoAccess::Credentials(chain(&error)))?;
        }
        Ok(config)
    }
}

/// What to do when there are no credentials.
pub(crate) const CREDENTIALS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile by AWS_PROFILE, or give this machine a role";

/// The name of an error and what the service said of it; none if the service did not say anything.
pub(crate) fn said(error: &impl ProvideErrorMetadata) -> Option<(&str, String)> {
    let code = error.code()?;
    let said = match error.message() {
        Some(message) if !message.is_empty() => format!("{code}: {message}"),
        _ => code.to_owned(),
    };
    // The protocol allows a namespace before the name, and some errors have no `Exception` after it.
    let name = code.rsplit('#').next().unwrap_or(code);
    Some((name.strip_suffix("Exception").unwrap_or(name), said))
}

/// Whether an error of this name asks for fewer requests.
pub(crate) fn is_throttling(name: &str) -> bool {
    matches!(
        name,
        "ProvisionedThroughputExceeded"
            | "RequestLimitExceeded"
            | "LimitExceeded"
            | "KMSThrottling"
            | "Throttling"
            | "ThrottledRequest"
            | "RequestThrottled"
            | "TooManyRequests"
            | "SlowDown"
    )
}

/// What a service says to do that does not let somebody in.
pub(crate) struct Hints {
    /// Whose rights do not suffice.
    pub(crate) rights: &'static str,
    /// Whom it does not know.
    pub(crate) identity: &'static str,
}

impl Hints {
    /// What helps against an error of this name, if it says that somebody is not let in.
    pub(crate) fn against(&self, name: &str) -> Option<&'static str> {
        Some(match name {
            "AccessDenied" | "NotAuthorized" | "UnauthorizedOperation" => self.rights,
            "UnrecognizedClient"
            | "InvalidClientTokenId"
            | "MissingAuthenticationToken"
            | "IncompleteSignature"
            | "OptInRequired" => self.identity,
            "InvalidSignature"
            | "SignatureDoesNotMatch"
            | "RequestTimeTooSkewed"
            | "RequestExpired" => "check the secret key, and that this machine's clock is right",
            "ExpiredToken" => "the session has ended: get new credentials and start again",
            _ => return None,
        })
    }
}

/// An error and what is behind it, in words. Each says less than the one below it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if !told.ends_with(&text) {
            told = format!("{told}: {text}");
        }
        next = error.source();
    }
    told
}
