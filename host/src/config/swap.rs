//! The `[swap]` table: how a running pipeline comes from one version of its transform to another.
//!
//! ```toml
//! [swap]
//! look_every = "1s"                        # how often a host looks which version is wanted
//! probation = "10m"                        # for so long a new version that fails is taken back by itself; "0s" for never
//! failures = 0                             # rows that it may fail on in that time, on each host
//! ```

use std::time::Duration;

use super::pipeline_file::ROOT_KEYS;
use super::table::Node;

/// How a running pipeline comes from one version of its transform to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwapSpec {
    /// How often a host looks which version is wanted.
    pub look_every: Duration,
    /// For so long after it was asked for, a version that fails is taken back by itself.
    pub probation: Duration,
    /// Failures of it that are forgiven in that time, on each host.
    pub failures: u64,
}

impl Default for SwapSpec {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(1),
            probation: Duration::from_secs(600),
            failures: 0,
        }
    }
}

pub(super) fn read_swap(node: &Node<'_>) -> Option<SwapSpec> {
    let mut table = node.table("a `[swap]` table")?;
    let default = SwapSpec::default();
    let duration = |node: Node<'_>, micros: Option<i64>| {
        let micros = micros?;
        let read = u64::try_from(micros).ok().map(Duration::from_micros);
        if read.is_none() {
            node.report("is no time that can pass", "write a time such as \"10m\"");
        }
        read
    };
    let look_every = table
        .optional("look_every")
        .map_or(Some(default.look_every), |node| {
            let micros = node.positive_duration("\"1s\"").map(|it| it.value);
            duration(node, micros)
        });
    let probation = table
        .optional("probation")
        .map_or(Some(default.probation), |node| {
            let micros = node.duration("\"10m\"").map(|it| it.value);
            duration(node, micros)
        });
    let failures = table
        .optional("failures")
        .map_or(Some(default.failures), |node| {
            let number = node.integer(0..=1_000_000)?;
            u64::try_from(number.value).ok()
        });
    table.finish(&ROOT_KEYS, &[]);
    Some(SwapSpec {
        look_every: look_every?,
        probation: probation?,
        failures: failures?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ComponentPlace, Pipeline};

    fn load(transform: &str, swap: &str) -> Result<Pipeline, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("driver.toml");
        let text = format!(
            "event = \"e\"\ntransform = \"{transform}\"\nkey = \"k\"\ngroup = \"g\"\n{swap}\n[window]\nkind = \"tumbling\"\nsize = \"1m\"\n[[feature]]\nname = \"n\"\ntype = \"int64\"\n"
        );
        std::fs::write(&file, text).unwrap();
        Pipeline::load(&file).map_err(|error| error.to_string())
    }

    #[test]
    fn a_transform_is_a_file_or_a_version() {
        let pipeline = load("driver@1.2.0", "").unwrap();
        let ComponentPlace::Registered(name) = &pipeline.transform.value else {
            panic!("{:?}", pipeline.transform);
        };
        assert_eq!((name.name(), name.version()), ("driver", "1.2.0"));
        assert_eq!(pipeline.swap, SwapSpec::default());
        let error = load("Driver@1", "").unwrap_err();
        assert!(error.contains("is no version of a transform"), "{error}");
        let error = load("driver@1.wasm", "").unwrap_err();
        assert!(error.contains("which is not there"), "{error}");
    }

    #[test]
    fn times_of_swaps_are_read_and_those_that_cannot_be_are_refused() {
        let swap = "swap = { look_every = \"50ms\", probation = \"0s\", failures = 3 }";
        let expected = SwapSpec {
            look_every: Duration::from_millis(50),
            probation: Duration::ZERO,
            failures: 3,
        };
        assert_eq!(load("driver@1", swap).unwrap().swap, expected);
        for wrong in [
            "swap = { look_every = \"0s\" }",
            "swap = { probation = 5 }",
            "swap = { failures = -1 }",
            "swap = { probaton = \"1m\" }",
        ] {
            assert!(load("driver@1", wrong).is_err(), "{wrong}");
        }
    }
}
