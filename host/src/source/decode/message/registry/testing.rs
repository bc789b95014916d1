//! A registry that is asked quickly, for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::{Registry, RegistryOptions};
use crate::clock::Clock;

/// A clock that is set by hand, in seconds.
#[derive(Debug, Default)]
pub(crate) struct ByHand(pub(crate) AtomicU64);

impl Clock for ByHand {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn wait(&self, _: Duration, _: &AtomicBool) {}
}

/// The registry at a URL, with three tries and hardly any wait between them, and the runtime that it needs.
pub(crate) fn registry(url: &str) -> (Runtime, Arc<Registry>) {
    let (io, registry, _) = with_clock(RegistryOptions {
        tries: 3,
        first_wait: Duration::from_millis(1),
        ..RegistryOptions::new(url)
    });
    (io, registry)
}

/// A registry, the runtime that it needs, and its clock.
pub(crate) fn with_clock(options: RegistryOptions) -> (Runtime, Arc<Registry>, Arc<ByHand>) {
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let clock = Arc::new(ByHand::default());
    let registry = Registry::new(options, io.handle(), Arc::clone(&clock) as Arc<dyn Clock>);
    (io, Arc::new(registry.unwrap()), clock)
}
