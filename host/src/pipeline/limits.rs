//! The limits of a pipeline as those who enforce them take them.

use std::time::Duration;

use crate::config::Limits;
use crate::sandbox;

/// The sandbox's limits as a pipeline declares them.
pub(super) fn of(declared: &Limits) -> sandbox::Limits {
    let bytes = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let time = |micros: i64| Duration::from_micros(micros.unsigned_abs());
    sandbox::Limits {
        memory: bytes(declared.memory).min(sandbox::MAX_MEMORY),
        cpu_per_call: time(declared.cpu_per_call),
        output_rows: bytes(declared.output_rows),
        output_bytes: bytes(declared.output_bytes),
        state_per_group: bytes(declared.state_per_group),
        log_lines_per_call: declared.log_lines_per_call as usize,
        log_line_bytes: bytes(declared.log_line_bytes),
        log_bytes_per_second: bytes(declared.log_bytes_per_second),
        metric_calls: declared.metric_calls as usize,
        metric_names: declared.metric_names as usize,
        reject_codes: declared.reject_codes as usize,
        table_elements: declared.table_elements as usize,
        columns: declared.columns as usize,
        name_bytes: bytes(declared.name_bytes),
        nesting: declared.nesting as usize,
        component_size: bytes(declared.component_size),
        compile_time: time(declared.compile_time),
        compile_memory: declared.compile_memory,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sandbox::{LIMITS, SetBy};

    #[test]
    fn a_pipeline_that_says_nothing_has_the_sandboxs_limits() {
        assert_eq!(of(&Limits::default()), sandbox::Limits::default());
    }

    /// The fields of the limits of pipelines, and what they are.
    fn defaults() -> BTreeMap<String, String> {
        let shown = format!("{:?}", Limits::default());
        let inner = shown.trim_start_matches("Limits { ").trim_end_matches(" }");
        let fields = inner.split(", ").map(|field| field.split_once(": "));
        fields
            .map(|field| field.expect("a name and a value"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn the_table_of_limits_has_what_pipelines_set_and_their_defaults() {
        let defaults = defaults();
        let set: Vec<_> = LIMITS
            .iter()
            .filter(|limit| limit.set_by == SetBy::Pipeline)
            .collect();
        for limit in &set {
            let default = &defaults[limit.name];
            let written = match limit.default {
                bytes if bytes.ends_with('B') => crate::config::parse_bytes(bytes)
                    .map_or_else(|error| panic!("{error:?}"), |bytes| bytes.to_string()),
                time if time.ends_with(['s', 'm']) => crate::config::parse_duration(time)
                    .map_or_else(|error| panic!("{error:?}"), |micros| micros.to_string()),
                number => number.to_owned(),
            };
            assert_eq!(*default, written, "{}", limit.name);
        }
        assert_eq!(set.len(), defaults.len(), "each is in the table");
        let is_set = |name: &&str| set.iter().any(|limit| limit.name == *name);
        assert!(crate::transform::SETTINGS.iter().all(is_set));
    }
}
