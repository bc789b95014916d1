//! What the service says when it does not do what it was asked, and what follows from it.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::aws::{Hints, chain, is_throttling, said};
use crate::store::{StoreError, TableFault};

/// What an answer that is none asks for.
#[derive(Debug)]
pub(super) enum Failure {
    /// To ask less often.
    Throttled(String),
    /// To ask again: nothing was heard, or the service has failed.
    Unwell(String),
    /// To give up.
    Final {
        fault: TableFault,
        reason: String,
        hint: &'static str,
    },
}

impl Failure {
    /// What was said.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Throttled(reason) | Self::Unwell(reason) | Self::Final { reason, .. } => reason,
        }
    }

    /// As an error for whoever asked, met while `doing` something.
    pub(super) fn into_error(self, doing: impl Into<String>, table: &str) -> StoreError {
        let (fault, reason, hint) = match self {
            Self::Throttled(reason) => (TableFault::Unreachable, reason, THROTTLED),
            Self::Unwell(reason) => (TableFault::Unreachable, reason, UNWELL),
            Self::Final {
                fault,
                reason,
                hint,
            } => (fault, reason, hint),
        };
        StoreError::Table {
            doing: doing.into(),
            table: table.to_owned(),
            fault,
            reason,
            hint: hint.to_owned(),
        }
    }
}

const THROTTLED: &str = "the table has too little capacity for what is asked of it: let it be on demand, or give it more";
const UNWELL: &str = "check `endpoint` and `region`, and that the service can be reached from here";
/// What is said of an item that would be too large, such as `Item size to update has exceeded the maximum allowed size`.
const OUTGROWN: &str = "exceeded the maximum allowed size";
pub(super) const MISSING: &str = "make it with `penstock store init`, or correct the table's name, `region` or the account of the credentials";
const HINTS: Hints = Hints {
    rights: "allow this identity what docs/feature-store.md lists under rights",
    identity: "check the credentials, that they are of the account, and that `region` is the table's",
};

/// What an error of the client asks for.
pub(super) fn judge<E, R>(error: &SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug,
{
    let Some((name, said)) = said(error) else {
        let reason = chain(error);
        return match error {
            // Nothing was sent, and it would be the same again.
            SdkError::ConstructionFailure(_) => Failure::Final {
                fault: TableFault::Refused,
                reason,
                hint: "check `endpoint`, `region` and the table's name",
            },
            _ => Failure::Unwell(reason),
        };
    };
    named(name, said)
}

/// What an error of this name asks for, about which this was said.
fn named(name: &str, reason: String) -> Failure {
    let stop = |fault, reason, hint| Failure::Final {
        fault,
        reason,
        hint,
    };
    if is_throttling(name) {
        return Failure::Throttled(reason);
    }
    if let Some(hint) = HINTS.against(name) {
        return stop(TableFault::Denied, reason, hint);
    }
    match name {
        // Nothing but its words tells this one from other requests that make no sense.
        "Validation" if reason.contains(OUTGROWN) => stop(
            TableFault::TooLarge,
            reason,
            "DynamoDB takes items of 400 KB: keep such values in the embedded store, or make them smaller",
        ),
        "ResourceNotFound" | "TableNotFound" => stop(TableFault::Missing, reason, MISSING),
        "Validation" | "ItemCollectionSizeLimitExceeded" | "Serialization" => stop(
            TableFault::Refused,
            reason,
            "this is a table of another program, or a fault of this one: see that the table was made with `penstock store init`",
        ),
        _ => Failure::Unwell(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        let of = |name: &str| named(name, "said".to_owned());
        assert!(matches!(
            of("ProvisionedThroughputExceeded"),
            Failure::Throttled(_)
        ));
        assert!(matches!(of("InternalServerError"), Failure::Unwell(_)));
        assert!(matches!(of("TransactionConflict"), Failure::Unwell(_)));
        for (name, wanted) in [
            ("ResourceNotFound", TableFault::Missing),
            ("UnrecognizedClient", TableFault::Denied),
            ("AccessDenied", TableFault::Denied),
            ("RequestTimeTooSkewed", TableFault::Denied),
            ("Validation", TableFault::Refused),
        ] {
            let Failure::Final { fault, .. } = of(name) else {
                panic!("{name} is not final");
            };
            assert_eq!(fault, wanted, "{name}");
        }
        let outgrown = "Item size to update has exceeded the maximum allowed size";
        let Failure::Final { fault, .. } = named("Validation", outgrown.to_owned()) else {
            panic!("it is not final");
        };
        assert_eq!(fault, TableFault::TooLarge);
        let told = of("ResourceNotFound")
            .into_error("read items", "features")
            .to_string();
        assert_eq!(
            told,
            "cannot read items in DynamoDB table `features`: said; make it with `penstock store init`, or correct the table's name, `region` or the account of the credentials"
        );
    }
}
