//! What can be wrong with a Kinesis stream, said with what to do.

use std::error::Error;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError as Ended;

use crate::aws::{Hints, chain, is_throttling, said};

/// Why nothing is read from a stream. The message says what was done and what came of it, the hint
/// what the reader can do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct KinesisFault {
    /// What kind of thing is wrong.
    pub kind: FaultKind,
    /// What was done, with which stream, and what came of it.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The setting that is wrong, by its name, if it is one.
    pub setting: Option<String>,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A setting is missing or unknown, or has a wrong value.
    Setting,
    /// The service does not answer, or was not asked for long enough. The same may work later.
    Unreachable,
    /// There are no credentials, or the service does not accept them or what they are used for.
    Denied,
    /// There is no such stream.
    Missing,
    /// The service refuses for another reason, or this process cannot go on.
    Refused,
}

impl KinesisFault {
    pub(super) fn new(
        kind: FaultKind,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: hint.into(),
            setting: None,
        }
    }

    /// A fault of one setting.
    pub(super) fn of_setting(
        name: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            setting: Some(name.to_owned()),
            ..Self::new(FaultKind::Setting, message, hint)
        }
    }
}

/// What an answer that is none asks for.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// To ask less often.
    Throttled(String),
    /// To ask again: nothing was heard.
    Unreachable(String),
    /// To ask again: the service has failed.
    Unwell(String),
    /// To ask for a new iterator.
    Expired,
    /// To look whether what was asked for is there.
    NotThere(String),
    /// To ask for something else.
    Wrong(String),
    /// To ask again when another has let go.
    InUse(String),
    /// To give up.
    Final(KinesisFault),
}

impl Failure {
    /// What was said, in words.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Throttled(reason)
            | Self::Unreachable(reason)
            | Self::Unwell(reason)
            | Self::NotThere(reason)
            | Self::Wrong(reason)
            | Self::InUse(reason) => reason.clone(),
            Self::Expired => "the iterator has expired".to_owned(),
            Self::Final(fault) => fault.message.clone(),
        }
    }
}

/// What an error of the client asks for, met while `doing` something.
pub(super) fn judge<E, R>(doing: &str, error: &SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug,
{
    let Some((name, said)) = said(error) else {
        return no_code(doing, error);
    };
    named(doing, name, said)
}

/// What the end of a subscription asks for. Errors in the middle of a stream have no codes.
pub(super) fn judge_end<R>(doing: &str, error: &SdkError<Ended, R>) -> Failure
where
    R: std::fmt::Debug,
{
    let Some(ended) = error.as_service_error() else {
        return no_code(doing, error);
    };
    let name = match ended {
        Ended::ResourceNotFoundException(_) => "ResourceNotFound",
        Ended::ResourceInUseException(_) => "ResourceInUse",
        Ended::KmsDisabledException(_) => "KMSDisabled",
        Ended::KmsInvalidStateException(_) => "KMSInvalidState",
        Ended::KmsAccessDeniedException(_) => "KMSAccessDenied",
        Ended::KmsNotFoundException(_) => "KMSNotFound",
        Ended::KmsOptInRequired(_) => "KMSOptInRequired",
        Ended::KmsThrottlingException(_) => "KMSThrottling",
        _ => "InternalFailure",
    };
    named(doing, name, chain(ended))
}

/// What an error of this name asks for, about which this was `said`.
fn named(doing: &str, name: &str, said: String) -> Failure {
    if is_throttling(name) {
        return Failure::Throttled(said);
    }
    match name {
        "ExpiredIterator" | "ExpiredNextToken" => Failure::Expired,
        "ResourceNotFound" => Failure::NotThere(said),
        "ResourceInUse" => Failure::InUse(said),
        "InvalidArgument" | "Validation" => Failure::Wrong(said),
        name => denied(doing, name, &said).unwrap_or(Failure::Unwell(said)),
    }
}

const HINTS: Hints = Hints {
    rights: "allow this identity what docs/kinesis.md lists under rights",
    identity: "check the credentials, that they are of the account, and that `region` is the stream's",
};

/// Errors that no repetition mends, each with what helps.
fn denied(doing: &str, name: &str, said: &str) -> Option<Failure> {
    let hint = match name {
        "KMSAccessDenied" | "KMSDisabled" | "KMSInvalidState" | "KMSNotFound"
        | "KMSOptInRequired" => {
            "allow this identity to decrypt with the stream's key, and see that the key is enabled"
        }
        name => HINTS.against(name)?,
    };
    Some(Failure::Final(KinesisFault::new(
        FaultKind::Denied,
        format!("cannot {doing}: {said}"),
        hint,
    )))
}

/// An error that no service has given a name.
fn no_code<E, R>(doing: &str, error: &SdkError<E, R>) -> Failure
where
    E: Error + 'static,
    R: std::fmt::Debug,
{
    let reason = chain(error);
    match error {
        // Nothing was sent, and it would be the same again.
        SdkError::ConstructionFailure(_) => Failure::Final(KinesisFault::new(
            FaultKind::Refused,
            format!("cannot {doing}: {reason}"),
            "check `endpoint`, `region` and `stream`",
        )),
        SdkError::ServiceError(_) => Failure::Unwell(reason),
        _ => Failure::Unreachable(reason),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::error::{ConnectorError, ErrorMetadata};
    use aws_sdk_kinesis::operation::get_records::GetRecordsError;

    use super::*;

    fn judged(code: &str) -> Failure {
        let told = ErrorMetadata::builder().code(code).message("told").build();
        judge(
            "read `rides`",
            &SdkError::service_error(GetRecordsError::generic(told), ()),
        )
    }

    #[test]
    fn errors_are_told_apart_by_their_codes() {
        for code in [
            "ProvisionedThroughputExceededException",
            "LimitExceededException",
            "KMSThrottlingException",
            "com.amazonaws.kinesis#ThrottlingException",
        ] {
            assert!(matches!(judged(code), Failure::Throttled(_)), "{code}");
        }
        assert!(matches!(
            judged("ExpiredIteratorException"),
            Failure::Expired
        ));
        for (code, part) in [
            ("AccessDeniedException", "docs/kinesis.md"),
            ("UnrecognizedClientException", "check the credentials"),
            ("InvalidSignatureException", "clock"),
            ("KMSAccessDeniedException", "decrypt"),
        ] {
            let Failure::Final(fault) = judged(code) else {
                panic!("{code} is not final");
            };
            assert_eq!(fault.kind, FaultKind::Denied);
            let told = fault.to_string();
            let begin = format!("cannot read `rides`: {code}: told; ");
            assert!(told.starts_with(&begin) && told.contains(part), "{told}");
        }
        assert!(matches!(judged("InternalFailure"), Failure::Unwell(_)));
    }

    #[test]
    fn a_connection_that_fails_is_tried_again() {
        let broken = ConnectorError::io("connection reset".into());
        let error: SdkError<GetRecordsError, ()> = SdkError::dispatch_failure(broken);
        let Failure::Unreachable(reason) = judge("read", &error) else {
            panic!("it is final");
        };
        assert!(reason.ends_with("connection reset"), "{reason}");
    }
}
