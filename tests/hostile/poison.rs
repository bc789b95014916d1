//! Guests that fail again and again where a transform may fail now and then.

use super::attack::Attack;
use super::guest::{Entry, Guest};

pub(super) fn attacks() -> Vec<Attack> {
    let of = |name, entry, limit, parts, body: &str, tolerance| {
        let guest = Guest::windowed().body(entry, body);
        Attack::windowed(name, entry, limit, parts, guest).tolerating(tolerance)
    };
    let inside = Guest::windowed()
        .items("(func $inner (unreachable)) (func $outer (call $inner))")
        .body(Entry::Accumulate, "(call $outer) (unreachable)");
    vec![
        // It has names, so it is told where it was.
        Attack::windowed(
            "trap_deep_inside",
            Entry::Accumulate,
            "checks",
            &["trapped", "in inner, called by outer", "lane 0", "sha256:"],
            inside,
        ),
        of(
            "fail_on_every_row",
            Entry::Accumulate,
            "failures",
            &["`failures`: 3 rows", "accumulate", "lane 0", "sha256:"],
            "(unreachable)",
            "failures = 3",
        ),
        of(
            "fail_on_every_window",
            Entry::Finish,
            "failures",
            &["`failures`: 3 windows", "finish"],
            "(unreachable)",
            "failures = 3",
        ),
        of(
            "fail_at_every_merge",
            Entry::Merge,
            "failures",
            &["`failures`: 3 windows", "merge"],
            "(unreachable)",
            "failures = 3",
        )
        .hopping(),
        of(
            "spin_on_every_row",
            Entry::Accumulate,
            "recovery_cpu",
            &["`recovery_cpu`", "cpu_per_call"],
            "(loop $again (br $again)) (unreachable)",
            "failures = 64\nrecovery_cpu = \"20ms\"\ncpu_per_call = \"20ms\"",
        ),
        Attack::mapper(
            "spin_on_every_row_of_a_mapper",
            Entry::Map,
            "recovery_cpu",
            &["`recovery_cpu`", "cpu_per_call", "map"],
            Guest::mapper().body(Entry::Map, "(loop $again (br $again)) (unreachable)"),
        )
        .tolerating("failures = 64\nrecovery_cpu = \"40ms\"\ncpu_per_call = \"20ms\""),
    ]
}
