//! Opening the transform of a pipeline: once a lane, and again for tests of what it promises.

use std::sync::Arc;

use crate::sandbox::{Component, Instance, Limits};
use crate::transform::{CallError, Opening};

/// Opens instances of one transform, all of them alike.
#[derive(Debug, Clone)]
pub struct Opener {
    component: Arc<Component>,
    opening: Arc<Opening>,
    limits: Limits,
}

impl Opener {
    pub(super) fn new(component: Arc<Component>, opening: Opening, limits: Limits) -> Self {
        Self {
            component,
            opening: Arc::new(opening),
            limits,
        }
    }

    /// A fresh instance. `label` names it in the operator's log.
    ///
    /// # Errors
    ///
    /// As [`Component::open_windowed`].
    pub async fn open(&self, label: &str) -> Result<Instance, CallError> {
        self.component
            .open_windowed(&self.opening, &self.limits, label)
            .await
    }
}
