//! Why somebody is not answered, in a form that every protocol has a code for.

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::serve) enum Kind {
    /// The request cannot be understood, or breaks a rule.
    Invalid,
    /// No token, or one that nobody knows.
    Unauthenticated,
    /// A token that is not good for this.
    Denied,
    /// What is asked for is not declared.
    NotFound,
    /// The request is larger than may be.
    TooLarge,
    /// There is no room for one more request.
    Overloaded,
    /// It took too long.
    DeadlineExceeded,
    /// This server does not do that, as it is configured.
    Precondition,
    /// The store does not answer.
    Unavailable,
    /// A fault of the program.
    Internal,
}

impl Kind {
    /// A short, stable name, for machines.
    pub(in crate::serve) fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid_argument",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "permission_denied",
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Precondition => "failed_precondition",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// Why somebody is not answered, and what they can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(in crate::serve) struct Refusal {
    pub(in crate::serve) kind: Kind,
    pub(in crate::serve) message: String,
}

impl Refusal {
    pub(in crate::serve) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}
