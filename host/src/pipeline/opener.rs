//! Opening the transforms of a pipeline: once a lane and once a reader, and again for tests of what
//! they promise.

use std::sync::Arc;

use super::poison::Recovery;
use super::swap::Probation;
use crate::sandbox::{Component, Instance, Limits, MapperInstance, Resting};
use crate::transform::{CallError, Opening};

/// Opens instances of one transform, all of them alike.
#[derive(Debug, Clone)]
pub struct Opener {
    component: Arc<Component>,
    opening: Arc<Opening>,
    limits: Limits,
    recovery: Recovery,
}

impl Opener {
    pub(super) fn new(
        component: Arc<Component>,
        opening: Opening,
        limits: Limits,
        recovery: Recovery,
    ) -> Self {
        Self {
            component,
            opening: Arc::new(opening),
            limits,
            recovery,
        }
    }

    /// The digest of the component.
    pub(super) fn digest(&self) -> &str {
        self.component.digest()
    }

    /// How much it may fail.
    pub(super) fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Has what it opens be on probation, if there is one.
    pub(super) fn put_on_probation(&mut self, probation: Option<Arc<Probation>>) {
        self.recovery = self.recovery.clone().on_probation(probation);
    }

    /// A fresh instance of a windowed transform that stays what it is, for those who look for what it remembers.
    ///
    /// # Errors
    ///
    /// As [`Component::open_windowed`].
    pub async fn instance(&self, label: &str) -> Result<Instance, CallError> {
        self.component
            .open_windowed(&self.opening, &self.limits, label)
            .await
    }

    /// A windowed transform that nobody has called. `label` names it in the operator's log.
    ///
    /// # Errors
    ///
    /// As [`Component::open_windowed`].
    pub async fn open(&self, label: &str) -> Result<Resting, CallError> {
        Resting::open(&self.component, &self.opening, &self.limits, label).await
    }

    /// How many names of metrics a transform may have.
    pub(super) fn metric_names(&self) -> usize {
        self.limits.metric_names
    }

    /// A fresh instance of a mapper.
    ///
    /// # Errors
    ///
    /// As [`Component::open_mapper`].
    pub async fn open_mapper(&self, label: &str) -> Result<MapperInstance, CallError> {
        self.component
            .open_mapper(&self.opening, &self.limits, label)
            .await
    }
}
