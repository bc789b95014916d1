//! The one clock that a run may look at, handed in by whoever starts it.
//!
//! It decides when something happens, and never what: results depend on events alone.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Something that tells how time passes.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time since some fixed moment. It never falls.
    fn now(&self) -> Duration;

    /// Waits until [`Clock::now`] has reached `until`, or `stop` is set, whichever comes first.
    fn wait(&self, until: Duration, stop: &AtomicBool);
}
