//! The component of a pipeline, wherever it is: in a file, in the registry, or in memory.

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
    let bytes = bytes_at(host, environment, place, limits)?;
    let loaded = host.sandbox.load_within(&bytes, limits);
    loaded.map_err(|error| refused(place, error))
}

/// The bytes of a component, wherever it is. What is too large is not read.
pub(super) fn bytes_at(
    host: &Host,
    environment: &Environment,
    place: &ComponentPlace,
    limits: &sandbox::Limits,
) -> Result<Vec<u8>, WiringError> {
    match place {
        ComponentPlace::File(path) => {
            let bytes = sandbox::read_component(path, limits);
            bytes.map_err(|error| refused(place, error))
        }
        ComponentPlace::Held(held) => Ok(held.bytes.to_vec()),
        ComponentPlace::Registered(name) => {
            let registry = Registry::open(&environment.registry)?;
            let version = host.io.block_on(registry.resolve(name))?;
            let size = sandbox::refuse_large(version.size, limits);
            size.map_err(|error| refused(place, error))?;
            Ok(host.io.block_on(registry.fetch(&version))?.to_vec())
        }
    }
}

fn refused(place: &ComponentPlace, error: ComponentError) -> WiringError {
    WiringError::Component {
        component: place.to_string(),
        error,
    }
}
