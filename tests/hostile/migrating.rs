//! Attacks on those who go over to another version: guests that say they take over states, and do something else.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema};
use penstock::pipeline::Host;
use penstock::transform::{CallError, Windowed};

use super::attack::{Attack, Ends, opened};
use super::guest::{Entry, Guest};
use super::image::{Cols, cols, field};
use crate::support::Folder;

const BREAKS: &str = "breaks the contract";
const SPIN: &str = "(loop $again (br $again)) (unreachable)";
const GROW: &str = "(drop (memory.grow (i32.const 5000))) (unreachable)";
const GROW_SLOWLY: &str = "(loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) (unreachable)";
const DEEP: &str =
    "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))";
const TABLE: &str = "(table $t 10 funcref)";
const TABLE_SLOWLY: &str = "(loop $again (br_if $again (i32.ge_s (table.grow $t (ref.null func) (i32.const 100)) (i32.const 0)))) (unreachable)";
const LOG: &str =
    "(import \"penstock:transform/log@0.1.0\" \"write\" (func $log (param i32 i32 i32)))";
const LOG_OFTEN: &str = "(loop $again (call $log (i32.const 1) (i32.const 0) (i32.const 9))
  (local.set $at (i32.add (local.get $at) (i32.const 1)))
  (br_if $again (i32.lt_u (local.get $at) (i32.const 2000))))
(i32.const RESULT)";

/// How many states are to be taken over.
const STATES: usize = 3;

/// As many of its own, of one number each.
const NUMBERS: &[u8] = &[7; 8 * STATES];

/// Opens an attacker as its pipeline does, and has it take over states as a host does that goes over to it. Gives how
/// much of what it said was dropped.
///
/// # Errors
///
/// What is said of it before anything switches, and of which pipeline.
pub(super) fn take_over(name: &str, host: &Host, folder: &Folder) -> Result<u64, String> {
    let opened = opened(host, folder)?;
    let opener = opened.opener().expect("it has windows");
    let before = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
    let states: ArrayRef = Arc::new(Int64Array::from_iter_values(0..STATES as i64));
    let taken_over = host.lanes.block_on(async {
        let mut instance = opener.instance(&format!("{name}/migration")).await?;
        let migrated = instance.migrate(0, &before, &[states], STATES).await?;
        assert!(migrated.iter().all(|column| column.len() == STATES));
        Ok(instance.figures().dropped)
    });
    taken_over.map_err(|error: CallError| format!("{name}: {error}"))
}

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = wasters();
    attacks.extend(liars());
    attacks
}

/// Those that never come back, or want more than there is.
fn wasters() -> Vec<Attack> {
    let of = |name, limit, parts, body: &str| {
        let guest = Guest::migrating().items(TABLE).items(DEEP).imports(LOG);
        let guest = guest.migrates(cols(STATES as u32, [&[], NUMBERS]));
        let guest = guest.body(Entry::Migrate, body);
        Attack::migrating(name, Entry::Migrate, limit, parts, guest)
    };
    let quick = "cpu_per_call = \"40ms\"";
    let spin_after = Guest::migrating().body(Entry::Post, SPIN);
    let mut of_all = of(
        "take_the_hosts_memory_in_migrate",
        "guest_memory",
        &["no memory left for transforms", "PENSTOCK_GUEST_MEMORY"],
        GROW_SLOWLY,
    );
    of_all.host = Some(64 << 20);
    vec![
        of(
            "spin_in_migrate",
            "cpu_per_call",
            &["cpu_per_call", "migrate", "40ms"],
            SPIN,
        )
        .limits(quick),
        Attack::migrating(
            "spin_in_migrates_post_return",
            Entry::Post,
            "cpu_per_call",
            &["cpu_per_call", "migrate"],
            spin_after,
        )
        .limits(quick),
        of(
            "recurse_in_migrate",
            "stack",
            &["`stack`", "migrate"],
            "(drop (call $deep (i32.const 0))) (unreachable)",
        ),
        of(
            "grow_in_migrate",
            "memory",
            &["`memory`", "migrate", "327680000 bytes more"],
            GROW,
        ),
        of(
            "grow_slowly_in_migrate",
            "memory",
            &["`memory`", "migrate"],
            GROW_SLOWLY,
        ),
        of_all,
        of(
            "grow_a_table_in_migrate",
            "table_elements",
            &["`table_elements`", "migrate"],
            TABLE_SLOWLY,
        ),
        of(
            "flood_the_log_in_migrate",
            "log_lines_per_call",
            &[],
            LOG_OFTEN,
        )
        .ending(Ends::Drops),
        of(
            "trap_in_migrate",
            "checks",
            &["trapped", "migrate"],
            "(unreachable)",
        ),
        Attack::migrating(
            "own_up_in_migrate",
            Entry::Migrate,
            "checks",
            &["migrate", "internal failure", "\\u{1b}[2J"],
            Guest::migrating().fails(Entry::Migrate, "\u{1b}[2Jall is well"),
        ),
    ]
}

/// Those whose states are other than they say.
fn liars() -> Vec<Attack> {
    let of =
        |name, limit, parts, guest| Attack::migrating(name, Entry::Migrate, limit, parts, guest);
    let gives =
        |name, parts, states| of(name, "checks", parts, Guest::migrating().migrates(states));
    // States with a second column, behind its nested ones.
    let with = |format: &'static str, more: &[&[u8]]| {
        let mut states = cols(STATES as u32, [&[], NUMBERS]);
        states
            .buffers
            .extend(more.iter().map(|buffer| buffer.to_vec()));
        let initial = match format {
            "u" => cols(1, [&[], &[0; 8], &[], &[0; 8], &[]]),
            _ => cols(1, [&[], &[0; 8], &[], &[0; 8]]),
        };
        let guest = Guest::migrating().spec(move |spec| {
            spec.state.push(field("more", format, 0));
            spec.initial = initial;
        });
        guest.migrates(states)
    };
    let words = |words: [u32; STATES + 1]| words.map(u32::to_le_bytes).concat();
    let long = [&words([0, 4096, 4096, 4096])[..], &[b'x'; 4096]];
    vec![
        gives("states_lost", &[BREAKS, "migrate", "0 rows where 3 belong"], Cols::empty(1)),
        gives("one_state_lost", &[BREAKS, "2 rows where 3 belong"], cols(2, [&[], &[0; 16]])),
        gives("states_made_up", &[BREAKS, "4 rows where 3 belong"], cols(4, [&[], &[0; 32]])),
        gives("states_without_number", &[BREAKS, "4294967295 rows where"], cols(u32::MAX, [&[], NUMBERS])),
        gives("states_of_another_schema", &[BREAKS, "migrate"], cols(3, [&[], NUMBERS, &[], NUMBERS])),
        gives("states_without_columns", &[BREAKS, "is missing"], cols(3, [])),
        gives("states_of_a_smaller_type", &[BREAKS, "values buffer"], cols(3, [&[], &[0; 4 * STATES]])),
        gives("states_of_a_larger_type", &[BREAKS, "values buffer"], cols(3, [&[], &[0; 16 * STATES]])),
        gives("states_that_are_null", &[BREAKS, "without nulls"], cols(3, [&[0], NUMBERS])),
        of(
            "states_that_are_no_text",
            "checks",
            &[BREAKS, "column `more`"],
            with("u", &[&[], &words([0, 2, 2, 2]), &[0xc3, 0x28]]),
        ),
        of(
            "states_that_go_back",
            "checks",
            &[BREAKS, "offset 2"],
            with("u", &[&[], &words([0, 4, 2, 4]), b"text"]),
        ),
        of(
            "states_that_are_other_columns",
            "checks",
            &[BREAKS, "migrate"],
            // Numbers where texts were promised.
            with("u", &[&[], NUMBERS]),
        ),
        of(
            "a_state_as_long_as_a_book",
            "state_per_group",
            &["`state_per_group`", "migrate", "1024 bytes allowed"],
            with("u", &[&[], long[0], long[1]]),
        )
        .limits("state_per_group = \"1KiB\""),
        of(
            "states_beyond_measure",
            "output_bytes",
            &["`output_bytes`", "migrate"],
            Guest::migrating()
                .migrates(cols(3, [&[], NUMBERS]))
                .pages(100)
                // The first buffer is said to have four million bytes.
                .body(
                    Entry::Migrate,
                    "(i32.store offset=4 (i32.load offset=8 (i32.const RESULT)) (i32.const 4000000)) (i32.const RESULT)",
                ),
        )
        .limits("output_bytes = \"1MiB\""),
        of(
            "states_that_are_not_there",
            "checks",
            &["trapped", "migrate"],
            Guest::migrating().body(Entry::Migrate, "(i32.const -64)"),
        ),
        of(
            "take_over_without_a_way",
            "checks",
            &["migrate", "and not `migration`"],
            Guest::windowed().spec(|spec| spec.takes = vec![0]),
        ),
        Attack::windowed(
            "take_over_from_everybody",
            Entry::Open,
            "checks",
            &[BREAKS, "versions"],
            Guest::migrating()
                .pages(200)
                .spec(|spec| spec.takes = (0..1_000_000).collect()),
        ),
    ]
}
