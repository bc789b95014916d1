//! The `[map]` table: another component that maps rows before the pipeline's own sees them.
//!
//! ```toml
//! [map]
//! transform = "transforms/geohash.wasm"   # from this file's folder, or NAME@VERSION; exports `mapper`
//! config = { precision = 6 }              # handed to it as JSON
//! ```

use super::component::ComponentPlace;
use super::diagnostic::{ConfigFile, Located};
use super::pipeline_file::{ROOT_KEYS, read_transform};
use super::table::Node;
use super::transform_config;

/// A component that maps rows first.
#[derive(Debug, Clone)]
pub struct MapSpec {
    /// Where the component is, as in [`Pipeline::transform`](super::Pipeline::transform).
    pub transform: Located<ComponentPlace>,
    /// What it is opened with: JSON text of an object; `{}` by default.
    pub config: Located<String>,
}

pub(super) fn read_map(node: &Node<'_>, file: &ConfigFile) -> Option<MapSpec> {
    let mut table = node.table("a `[map]` table")?;
    let transform = table
        .required("transform", "transform = \"transforms/geohash.wasm\"")
        .and_then(|node| read_transform(&node, file));
    let config = match table.optional("config") {
        Some(node) => transform_config::to_json(&node),
        None => Some(Located::default_of("{}".to_owned())),
    };
    table.finish(&ROOT_KEYS, &[]);
    Some(MapSpec {
        transform: transform?,
        config: config?,
    })
}
