//! What went wrong in a call, said to the operator. Whatever a guest had a hand in is shown as
//! [`text::shown`] lets it through.

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use super::bindings::types;
use super::ceiling::NoGuestMemory;
use super::engine::STACK;
use super::limits::{LimitExceeded, Limits};
use super::meter::Waits;
use super::session::WASI_RESOURCES;
use super::text;
use crate::transform::CallError;

/// What is wrong with something that a guest returned.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Fault {
    /// It breaks the contract; says how.
    #[error("{0}")]
    Breaks(String),
    /// It is more than a limit allows.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::Breaks(what)
    }
}

impl Fault {
    /// The same, said of a part of what was returned.
    pub(super) fn within(self, part: &str) -> Self {
        match self {
            Self::Breaks(what) => Self::Breaks(format!("{part}: {what}")),
            Self::Limit(exceeded) => Self::Limit(exceeded),
        }
    }

    /// The error of the call that returned it.
    pub(super) fn of(self, call: &'static str) -> CallError {
        match self {
            Self::Breaks(what) => CallError::Hostile {
                call,
                what: text::shown(&what),
            },
            Self::Limit(exceeded) => limit(call, exceeded),
        }
    }
}

fn limit(call: &'static str, exceeded: LimitExceeded) -> CallError {
    CallError::Limit {
        call,
        name: exceeded.name,
        limit: exceeded.limit,
        current: exceeded.current,
        requested: exceeded.requested,
    }
}

/// What wasmtime's error says of a call. `last` is the last line that the guest logged.
pub(super) fn of_call(
    call: &'static str,
    error: &wasmtime::Error,
    limits: &Limits,
    last: Option<&str>,
) -> CallError {
    if let Some(exceeded) = error.downcast_ref::<LimitExceeded>() {
        return limit(call, exceeded.clone());
    }
    if error.is::<Waits>() {
        return CallError::Waits { call };
    }
    if let Some(exhausted) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return CallError::Exhausted {
            call,
            instances: super::MAX_INSTANCES,
            what: exhausted.to_string(),
        };
    }
    if let Some(none) = error.downcast_ref::<NoGuestMemory>() {
        return CallError::NoMemory {
            call,
            what: none.to_string(),
        };
    }
    let used_up = |name, limit: String, requested: &str| CallError::Limit {
        call,
        name,
        current: limit.clone(),
        limit,
        requested: requested.into(),
    };
    if let Some(Trap::StackOverflow) = error.downcast_ref::<Trap>() {
        return used_up("stack", format!("{STACK} bytes"), "a frame");
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return used_up("wasi_resources", WASI_RESOURCES.to_string(), "one");
    }
    let mut reason = error.root_cause().to_string();
    // Wasmtime keeps the type of this error to itself, so its text is all there is to go by.
    if reason.contains("fuel allocated for hostcalls has been exhausted") {
        return used_up(
            "output_bytes",
            format!("{} bytes", limits.output_bytes),
            "bytes",
        );
    }
    let named = error
        .downcast_ref::<wasmtime::WasmBacktrace>()
        .into_iter()
        .flat_map(|trace| trace.frames())
        .filter_map(|frame| frame.func_name());
    let named: Vec<&str> = named.take(8).collect();
    if !named.is_empty() {
        reason = format!("{reason}, in {}", named.join(", called by "));
    }
    if let Some(last) = last {
        // First of all what it said itself: names of functions may be long enough to push it out.
        reason = format!("it logged: {last}; {reason}");
    }
    CallError::Trap {
        call,
        reason: text::shown(&reason),
    }
}

/// What a failure says that a guest returned.
pub(super) fn refusal(call: &'static str, failure: types::Failure) -> CallError {
    let (kind, message) = match failure {
        types::Failure::BadConfig(message) => ("bad configuration", message),
        types::Failure::BadInput(message) => ("bad input", message),
        types::Failure::Internal(message) => ("internal failure", message),
    };
    CallError::Failure {
        call,
        kind,
        message: text::shown(&message),
    }
}
