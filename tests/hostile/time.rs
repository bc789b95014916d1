//! Attacks on the processor and the stack: guests that never come back.

use super::attack::{Attack, Attacker, Ends};
use super::guest::{Entry, Guest};

const SPIN: &str = "(loop $again (br $again)) (unreachable)";
/// Only once it has been opened.
const SPIN_LATER: &str =
    "(if (global.get $calls) (then (loop $again (br $again)))) (i32.const 65536)";
/// A large part of memory, over and over: one instruction does much between two looks at the clock.
const FILL: &str = "(drop (memory.grow (i32.const 1000)))
(loop $again (memory.fill (i32.const 65536) (i32.const 0) (i32.const 60000000)) (br $again)) (unreachable)";
const DEEP: &str =
    "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))";
const DEEP_BY_TABLE: &str = "(type $f (func (param i32) (result i32))) (table 1 funcref) (elem (i32.const 0) $deep)
(func $deep (type $f) (i32.add (i32.const 1) (call_indirect (type $f) (local.get 0) (i32.const 0))))";
const QUICK: &str = "cpu_per_call = \"40ms\"";

pub(super) fn attacks() -> Vec<Attack> {
    let spin = |name, entry, parts, guest: Guest| {
        Attack::windowed(name, entry, "cpu_per_call", parts, guest.body(entry, SPIN)).limits(QUICK)
    };
    let opening: &[&str] = &["cpu_per_call", "40ms", "open"];
    let mut attacks = vec![
        spin("spin_in_start", Entry::Start, opening, Guest::windowed()),
        spin("spin_in_open", Entry::Open, opening, Guest::windowed()),
        spin(
            "spin_in_realloc",
            Entry::Realloc,
            opening,
            Guest::windowed(),
        ),
        spin(
            "spin_in_accumulate",
            Entry::Accumulate,
            &["cpu_per_call", "accumulate", "lane 0", "sha256:"],
            Guest::windowed(),
        ),
        spin(
            "spin_in_merge",
            Entry::Merge,
            &["cpu_per_call", "merge"],
            Guest::windowed(),
        )
        .hopping(),
        spin(
            "spin_in_finish",
            Entry::Finish,
            &["cpu_per_call", "finish"],
            Guest::windowed(),
        ),
        spin(
            "spin_in_post_return",
            Entry::Post,
            &["cpu_per_call", "accumulate"],
            Guest::windowed(),
        ),
        spin(
            "spin_in_map",
            Entry::Map,
            &["cpu_per_call", "map"],
            Guest::mapper(),
        )
        .windows("kind = \"none\""),
        spin(
            "spin_in_open_mapper",
            Entry::Open,
            &["cpu_per_call", "open-mapper"],
            Guest::mapper(),
        )
        .windows("kind = \"none\""),
        spin(
            "spin_in_mappers_post_return",
            Entry::Post,
            &["cpu_per_call", "map"],
            Guest::mapper(),
        )
        .windows("kind = \"none\""),
    ];
    attacks.push(
        Attack::windowed(
            "spin_in_realloc_later",
            Entry::Realloc,
            "cpu_per_call",
            &["cpu_per_call", "accumulate"],
            Guest::windowed().body(Entry::Realloc, SPIN_LATER).body(
                Entry::Open,
                "(global.set $calls (i32.const 1)) (i32.const RESULT)",
            ),
        )
        .limits(QUICK),
    );
    let talks =
        "(import \"penstock:transform/log@0.1.0\" \"write\" (func $log (param i32 i32 i32)))";
    attacks.push(
        Attack::windowed(
            "spin_by_calling_the_host",
            Entry::Accumulate,
            "cpu_per_call",
            &["cpu_per_call", "accumulate"],
            Guest::windowed().imports(talks).body(
                Entry::Accumulate,
                "(loop $again (call $log (i32.const 0) (i32.const 0) (i32.const 1000)) (br $again)) (unreachable)",
            ),
        )
        .limits(QUICK),
    );
    attacks.push(
        Attack::windowed(
            "fill_memory_for_ever",
            Entry::Accumulate,
            "cpu_per_call",
            &["cpu_per_call", "accumulate"],
            Guest::windowed().body(Entry::Accumulate, FILL),
        )
        .limits(QUICK),
    );
    let recurse = |name, entry, parts, items: &str, windows: bool| {
        let guest = if windows {
            Guest::windowed()
        } else {
            Guest::mapper()
        };
        let guest = guest
            .items(items)
            .body(entry, "(drop (call $deep (i32.const 0))) (unreachable)");
        Attack::windowed(name, entry, "stack", parts, guest)
    };
    attacks.extend([
        recurse(
            "recurse_in_start",
            Entry::Start,
            &["`stack`", "open"],
            DEEP,
            true,
        ),
        recurse(
            "recurse_in_open",
            Entry::Open,
            &["`stack`", "open"],
            DEEP,
            true,
        ),
        recurse(
            "recurse_in_accumulate",
            Entry::Accumulate,
            &["`stack`", "accumulate"],
            DEEP,
            true,
        ),
        recurse(
            "recurse_in_finish_by_table",
            Entry::Finish,
            &["`stack`", "finish"],
            DEEP_BY_TABLE,
            true,
        ),
        recurse(
            "recurse_in_map",
            Entry::Map,
            &["`stack`", "map"],
            DEEP,
            false,
        )
        .windows("kind = \"none\""),
    ]);
    for (name, nap) in [
        ("wait_for_a_timer", "{ nap = \"second\" }"),
        ("wait_for_ever", "{ nap = \"forever\" }"),
    ] {
        attacks.push(Attack::new(
            name,
            Entry::Accumulate,
            "wall_without_progress",
            Attacker::Guest("clockwatcher", nap),
            Ends::Fails(&["wall_without_progress", "waits for a clock"]),
        ));
    }
    attacks
}
