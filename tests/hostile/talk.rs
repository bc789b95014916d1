//! Attacks by what guests tell, and by what they ask of a world that is not there.

use super::attack::{Attack, Attacker, Ends};
use super::guest::{Entry, Guest};

const LOG: &str =
    "(import \"penstock:transform/log@0.1.0\" \"write\" (func $log (param i32 i32 i32)))";
const COUNT: &str =
    "(import \"penstock:transform/metrics@0.1.0\" \"count\" (func $count (param i32 i32 i64)))";
const OBSERVE: &str =
    "(import \"penstock:transform/metrics@0.1.0\" \"observe\" (func $observe (param i32 i32 f64)))";
const RANDOM: &str =
    "(import \"wasi:random/random@0.2.0\" \"get-random-bytes\" (func $random (param i64 i32)))";
const TIMER: &str = "(import \"wasi:clocks/monotonic-clock@0.2.0\" \"subscribe-duration\" (func $timer (param i64) (result i32)))";

/// Something, two thousand times.
fn often(what: &str) -> String {
    format!(
        "(loop $again {what}
           (local.set $at (i32.add (local.get $at) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $at) (i32.const 2000))))
         (i32.const RESULT)"
    )
}

pub(super) fn attacks() -> Vec<Attack> {
    let talks = |name, limit, import: &str, body: &str| {
        let guest = Guest::windowed().imports(import).pages(40);
        let guest = guest.body(Entry::Accumulate, body);
        Attack::windowed(name, Entry::Accumulate, limit, &[], guest).ending(Ends::Drops)
    };
    let once = |what: &str| format!("{what} (i32.const RESULT)");
    let fails = |attack: Attack, parts| attack.ending(Ends::Fails(parts));
    let a_line = "(call $log (i32.const 1) (i32.const 65536) (i32.const 4000))";
    let a_book = "(call $log (i32.const 1) (i32.const 65536) (i32.const 2000000))";
    // Two letters that say how often it was called.
    let a_name = "(i32.store8 (i32.const 40) (i32.add (i32.const 97) (i32.rem_u (local.get $at) (i32.const 25))))
                  (i32.store8 (i32.const 41) (i32.add (i32.const 97) (i32.div_u (local.get $at) (i32.const 100))))
                  (call $count (i32.const 40) (i32.const 2) (i64.const 1))";
    vec![
        talks("flood_the_log", "log_lines_per_call", LOG, &often(a_line)),
        talks(
            "flood_the_log_for_long",
            "log_bytes_per_second",
            LOG,
            &often(a_line),
        )
        .limits("log_bytes_per_second = \"1KiB\"\nlog_lines_per_call = 10_000"),
        talks("log_a_book", "log_line_bytes", LOG, &once(a_book)).ending(Ends::Nothing),
        fails(
            talks("log_a_library", "output_bytes", LOG, &once(a_book))
                .limits("output_bytes = \"1MiB\""),
            &["`output_bytes`", "accumulate"],
        ),
        fails(
            talks(
                "log_what_is_not_there",
                "checks",
                LOG,
                &once("(call $log (i32.const 1) (i32.const -8) (i32.const 100))"),
            ),
            &["trapped"],
        ),
        fails(
            talks(
                "log_at_no_level",
                "checks",
                LOG,
                &once("(call $log (i32.const 9) (i32.const 0) (i32.const 1))"),
            ),
            &["trapped"],
        ),
        fails(
            talks(
                "log_no_text",
                "checks",
                LOG,
                &once(
                    "(i32.store8 (i32.const 40) (i32.const 255)) (call $log (i32.const 1) (i32.const 40) (i32.const 1))",
                ),
            ),
            &["trapped"],
        ),
        talks(
            "flood_the_metrics",
            "metric_calls",
            COUNT,
            &often(
                "(i32.store8 (i32.const 40) (i32.const 97)) (call $count (i32.const 40) (i32.const 1) (i64.const -1))",
            ),
        ),
        talks("invent_metrics", "metric_names", COUNT, &often(a_name))
            .limits("metric_calls = 100_000"),
        talks(
            "a_metric_as_long_as_a_book",
            "name_bytes",
            COUNT,
            &once("(call $count (i32.const 65536) (i32.const 100000) (i64.const 1))"),
        ),
        talks(
            "observe_what_is_no_number",
            "metric_calls",
            OBSERVE,
            &often(
                "(i32.store8 (i32.const 40) (i32.const 97)) (call $observe (i32.const 40) (i32.const 1) (f64.const nan))",
            ),
        ),
        fails(
            talks(
                "ask_for_random_bytes_without_end",
                "checks",
                RANDOM,
                &once("(call $random (i64.const 0x100000000000) (i32.const 48))"),
            ),
            &["accumulate", "trapped"],
        ),
        fails(
            Attack::windowed(
                "ask_for_random_bytes_again_and_again",
                Entry::Accumulate,
                "cpu_per_call",
                &[],
                Guest::windowed()
                    .imports(RANDOM)
                    .pages(40)
                    .body(Entry::Realloc, "(i32.const 131072)")
                    .body(
                        Entry::Accumulate,
                        "(loop $again (call $random (i64.const 1000000) (i32.const 48)) (br $again)) (unreachable)",
                    ),
            )
            .limits("cpu_per_call = \"40ms\"\noutput_bytes = \"1GiB\""),
            &["cpu_per_call", "accumulate"],
        ),
        fails(
            talks(
                "hold_timers_without_end",
                "wasi_resources",
                TIMER,
                "(loop $again (drop (call $timer (i64.const 1))) (br $again)) (unreachable)",
            ),
            &["`wasi_resources`", "accumulate"],
        ),
        Attack::new(
            "look_for_files_clocks_and_randomness",
            Entry::Accumulate,
            "imports",
            Attacker::Guest("clockwatcher", "{}"),
            Ends::Nothing,
        ),
        Attack::new(
            "remember_between_calls",
            Entry::Accumulate,
            "nothing: `penstock test` finds it",
            Attacker::Guest("hidden_state", "{}"),
            Ends::Nothing,
        ),
    ]
}
