//! Turns a component into code: from the cache, or compiled and put there.

use std::hash::BuildHasher;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::ComponentError;
use super::cache::Cache;
use super::compile::Compiler;
use super::limits::Limits;

/// Gives the code of the component `bytes`, whose digest is `digest`.
pub(super) fn load(
    engine: &Engine,
    cache: Option<&Cache>,
    compiler: &Compiler,
    digest: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Component, ComponentError> {
    let entry = entry(engine, digest);
    if let Some(code) = cache.and_then(|cache| cache.get(&entry)) {
        match deserialize(engine, &code) {
            Ok(component) => return Ok(component),
            Err(error) => {
                tracing::warn!(entry, %error, "a cached component does not load; it is compiled anew");
            }
        }
    }
    let code = compiler.compile(engine, bytes, limits)?;
    let component = deserialize(engine, &code)
        .map_err(|error| ComponentError::Compile(format!("{error:#}")))?;
    if let Some(cache) = cache {
        cache.put(&entry, &code);
    }
    Ok(component)
}

fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the code is what wasmtime's compiler gave in this program or its own child, handed
    // over by a pipe or through the cache, which authenticates it with a key of this host. Code
    // from anywhere else never gets here: `refuse_other_formats` turns it away.
    unsafe { Component::deserialize(engine, code) }
}

/// The name of the component's entry: another engine, another entry.
fn entry(engine: &Engine, digest: &str) -> String {
    let hasher = foldhash::fast::FixedState::with_seed(0);
    let compatibility = hasher.hash_one(engine.precompile_compatibility_hash());
    let digest = digest.replace(':', "-");
    format!("{digest}-{compatibility:016x}")
}
