//! Opening the transforms of a pipeline: once a lane and once a reader, and again for tests of what
//! they promise.

use std::sync::Arc;

use crate::sandbox::{Component, Instance, Limits, MapperInstance};
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

    /// A fresh instance of a windowed transform. `label` names it in the operator's log.
    ///
    /// # Errors
    ///
    /// As [`Component::open_windowed`].
    pub async fn open(&self, label: &str) -> Result<Instance, CallError> {
        self.component
            .open_windowed(&self.opening, &self.limits, label)
            .await
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
