//! The component of a pipeline, wherever it is: in a file, in the registry, or in memory.

use std::path::Path;

use super::limits;
use super::wiring::{Host, WiringError};
use crate::config::{ComponentPlace, Environment, Pipeline};
use crate::registry::Registry;
use crate::sandbox::{self, Component, ComponentError};

/// Loads the component of a pipeline.
///
/// # Errors
///
/// As [`Sandbox::load_within`](crate::sandbox::Sandbox::load_within), with the component's place; and when the registry
/// does not give what it is asked for.
pub fn load(
    host: &Host,
    pipeline: &Pipeline,
    environment: &Environment,
) -> Result<Component, WiringError> {
    let limits = limits::of(&pipeline.limits);
    load_at(host, environment, &pipeline.transform, &limits)
}

pub(super) fn load_at(
    host: &Host,
    environment: &Environment,
    place: &ComponentPlace,
    limits: &sandbox::Limits,
) -> Result<Component, WiringError> {
    let loaded = match place {
        ComponentPlace::File(path) => host.sandbox.load_file_within(path, limits),
        _ => {
            let bytes = bytes_at(host, environment, place)?;
            host.sandbox.load_within(&bytes, limits)
        }
    };
    loaded.map_err(|error| refused(place, error))
}

/// The bytes of a component, wherever it is.
pub(super) fn bytes_at(
    host: &Host,
    environment: &Environment,
    place: &ComponentPlace,
) -> Result<Vec<u8>, WiringError> {
    match place {
        ComponentPlace::File(path) => read(path).map_err(|error| refused(place, error)),
        ComponentPlace::Held(held) => Ok(held.bytes.to_vec()),
        ComponentPlace::Registered(name) => {
            let registry = Registry::open(&environment.registry)?;
            let bytes = host.io.block_on(async {
                let version = registry.resolve(name).await?;
                registry.fetch(&version).await
            })?;
            Ok(bytes.to_vec())
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ComponentError> {
    std::fs::read(path).map_err(|error| ComponentError::Unreadable {
        path: path.display().to_string(),
        error: error.to_string(),
    })
}

fn refused(place: &ComponentPlace, error: ComponentError) -> WiringError {
    WiringError::Component {
        component: place.to_string(),
        error,
    }
}
