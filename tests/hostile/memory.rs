//! Attacks on memory: of the instance, of its tables, of the host.

use super::attack::{Attack, Attacker, Ends};
use super::guest::{Entry, Guest};

const GROW: &str = "(drop (memory.grow (i32.const 5000))) (unreachable)";
const GROW_SLOWLY: &str = "(loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) (unreachable)";
const TABLE: &str = "(table $t 10 funcref)";
const TABLE_AT_ONCE: &str =
    "(drop (table.grow $t (ref.null func) (i32.const 1000000))) (unreachable)";
const TABLE_SLOWLY: &str = "(loop $again (br_if $again (i32.ge_s (table.grow $t (ref.null func) (i32.const 100)) (i32.const 0)))) (unreachable)";

pub(super) fn attacks() -> Vec<Attack> {
    let grow = |name, entry, parts, body| {
        let guest = Guest::windowed().body(entry, body);
        Attack::windowed(name, entry, "memory", parts, guest)
    };
    let mut attacks = vec![
        grow("grow_in_start", Entry::Start, &["`memory`", "open"], GROW),
        grow(
            "grow_in_realloc",
            Entry::Realloc,
            &["`memory`", "open"],
            GROW,
        ),
        grow("grow_in_open", Entry::Open, &["`memory`", "open"], GROW),
        grow(
            "grow_at_once",
            Entry::Accumulate,
            &[
                "`memory`",
                "accumulate",
                "268435456 bytes allowed",
                "327680000 bytes more",
            ],
            GROW,
        ),
        grow(
            "grow_slowly",
            Entry::Accumulate,
            &["`memory`", "accumulate"],
            GROW_SLOWLY,
        ),
        grow(
            "grow_in_merge",
            Entry::Merge,
            &["`memory`", "merge"],
            GROW_SLOWLY,
        )
        .hopping(),
        grow(
            "grow_in_finish",
            Entry::Finish,
            &["`memory`", "finish"],
            GROW_SLOWLY,
        ),
        grow(
            "grow_in_post_return",
            Entry::Post,
            &["`memory`", "accumulate"],
            GROW,
        ),
        Attack::mapper(
            "grow_in_map",
            Entry::Map,
            "memory",
            &["`memory`", "map"],
            Guest::mapper().body(Entry::Map, GROW_SLOWLY),
        ),
        Attack::windowed(
            "begin_with_much_memory",
            Entry::Start,
            "memory",
            &["`memory`", "open"],
            Guest::windowed().pages(5000),
        ),
        Attack::windowed(
            "begin_with_huge_data",
            Entry::Start,
            "memory",
            &["`memory`", "open"],
            Guest::windowed().pages(5000).items(&format!(
                "(data (i32.const 300000000) \"{}\")",
                "x".repeat(1 << 20)
            )),
        ),
        Attack::windowed(
            "many_memories",
            Entry::Start,
            "modules",
            &["`modules`: one memory of a module allowed", "21"],
            Guest::windowed().items(&"(memory 1)".repeat(20)),
        ),
        Attack::windowed(
            "grow_a_table_at_once",
            Entry::Accumulate,
            "table_elements",
            &["`table_elements`", "accumulate", "100000 allowed"],
            Guest::windowed()
                .items(TABLE)
                .body(Entry::Accumulate, TABLE_AT_ONCE),
        ),
        Attack::windowed(
            "grow_a_table_slowly",
            Entry::Finish,
            "table_elements",
            &["`table_elements`", "finish"],
            Guest::windowed()
                .items(TABLE)
                .body(Entry::Finish, TABLE_SLOWLY),
        ),
        Attack::windowed(
            "begin_with_a_large_table",
            Entry::Load,
            "table_elements",
            &["`table_elements`: 100000", "200000"],
            Guest::windowed().items("(table 200000 funcref)"),
        ),
    ];
    let mut of_all = grow(
        "take_the_hosts_memory",
        Entry::Accumulate,
        &["no memory left for transforms", "PENSTOCK_GUEST_MEMORY"],
        GROW_SLOWLY,
    );
    of_all.stopped_by = "guest_memory";
    of_all.host = Some(64 << 20);
    attacks.push(of_all);
    let lanes = Attack::windowed(
        "take_all_instances",
        Entry::Load,
        "instances",
        &[],
        Guest::windowed(),
    )
    .ending(Ends::Nothing);
    // A mapper has one more than there is room for, so lanes that wait make room.
    let mapper = crate::support::transform("unruly_mapper");
    let window = format!("kind = \"tumbling\"\nsize = \"10s\"\n[map]\ntransform = {mapper:?}");
    let mut lanes = lanes.windows(window.leak());
    lanes.lanes = 1024;
    lanes.host = Some(4 << 30);
    attacks.push(lanes);
    let hoard = |name, limit, parts, limits| {
        Attack::new(
            name,
            Entry::Accumulate,
            limit,
            Attacker::Guest("unruly", "{ misdeed = \"hoard\" }"),
            Ends::Fails(parts),
        )
        .limits(limits)
    };
    attacks.extend([
        hoard(
            "a_state_that_grows",
            "state_per_group",
            &["`state_per_group`", "accumulate"],
            "",
        ),
        hoard(
            "states_that_grow",
            "state_bytes",
            &["`state_bytes`", "1048576 bytes allowed"],
            "state_per_group = \"4MiB\"\nstate_bytes = \"1MiB\"",
        ),
        Attack::windowed(
            "too_many_keys",
            Entry::Accumulate,
            "keys",
            &["`keys`: 2 allowed"],
            Guest::windowed(),
        )
        .limits("keys = 2"),
    ]);
    attacks
}
