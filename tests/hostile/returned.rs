//! Attacks by what calls return: counts, offsets, bits, bytes and pointers that lie.

use super::attack::Attack;
use super::guest::{Entry, Guest};
use super::image::{Cols, Reject, cols, field};

const BREAKS: &str = "breaks the contract";

/// A guest whose output has a column `rows` and one of this format, behind its nested ones.
fn finishing(format: &str, nullable: bool, output: Cols) -> Guest {
    let format = format.to_owned();
    Guest::windowed()
        .spec(move |spec| {
            let mut more = field("more", &format, u32::from(format == "+l"));
            more.2 = nullable;
            spec.output.push(more);
            if format == "+l" {
                spec.output.push(field("item", "l", 0));
            }
        })
        .finishes(output, &[0; 4])
}

const ROWS: &[u8] = &[7; 8];

/// Numbers of 32 bits as bytes.
fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn reject(row: u32, code: &str) -> Reject {
    (row, code.into(), "a detail".into())
}

fn checked(
    name: &'static str,
    entry: Entry,
    parts: &'static [&'static str],
    guest: Guest,
) -> Attack {
    Attack::windowed(name, entry, "checks", parts, guest)
}

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = columns();
    attacks.extend(counts());
    attacks.extend(rejects());
    attacks.extend(pointers());
    attacks
}

fn columns() -> Vec<Attack> {
    let finish = |name, parts, guest| checked(name, Entry::Finish, parts, guest);
    let text = |offsets: &[u8], bytes: &[u8]| {
        finishing("u", false, cols(1, [&[], ROWS, &[], offsets, bytes]))
    };
    vec![
        finish("offsets_that_go_back", &[BREAKS, "offset 2"], {
            let output = cols(2, [&[], &[7; 16], &[], &words([0, 4, 2]), b"text"]);
            let guest = finishing("u", false, output.clone());
            // Offset 2 goes back from 4.
            guest.finishes(output, &[0; 8])
        }),
        finish("offsets_past_the_end", &[BREAKS, "bytes buffer"], text(&words([0, 1000]), b"text")),
        finish("offsets_that_begin_late", &[BREAKS, "offset 0"], text(&words([1, 4]), b"text")),
        finish("negative_offsets", &[BREAKS, "offset 1"], text(&words([0, u32::MAX]), b"text")),
        finish("too_few_offsets", &[BREAKS, "offsets buffer"], text(&words([0]), b"")),
        finish("invalid_utf_8", &[BREAKS, "column `more`"], text(&words([0, 2]), &[0xc3, 0x28])),
        finish(
            "utf_8_cut_by_an_offset",
            &[BREAKS, "column `more`"],
            finishing("u", false, cols(2, [&[], &[7; 16], &[], &words([0, 1, 2]), "é".as_bytes()]))
                .finishes(cols(2, [&[], &[7; 16], &[], &words([0, 1, 2]), "é".as_bytes()]), &[0; 8]),
        ),
        finish(
            "a_short_bitmap",
            &[BREAKS, "values buffer"],
            finishing("b", false, cols(1, [&[], ROWS, &[], &[]])),
        ),
        finish(
            "a_long_validity",
            &[BREAKS, "validity buffer"],
            finishing("l", true, cols(1, [&[], ROWS, &[255, 255], ROWS])),
        ),
        finish(
            "nulls_where_none_belong",
            &[BREAKS, "without nulls"],
            finishing("l", false, cols(1, [&[], ROWS, &[0], ROWS])),
        ),
        finish("a_missing_buffer", &[BREAKS, "is missing"], finishing("l", false, cols(1, [&[], ROWS, &[]]))),
        finish(
            "a_buffer_too_many",
            &[BREAKS, "more buffers"],
            finishing("l", false, cols(1, [&[], ROWS, &[], ROWS, &[]])),
        ),
        finish("values_cut_short", &[BREAKS, "8 belong"], finishing("l", false, cols(1, [&[], ROWS, &[], &[1; 7]]))),
        finish(
            "list_items_cut_short",
            &[BREAKS, "column `item`"],
            finishing("+l", false, cols(1, [&[], ROWS, &[], &words([0, 1 << 30]), &[], ROWS])),
        ),
        finish(
            "a_decimal_too_long",
            &[BREAKS, "digits"],
            finishing("d:5,2", false, cols(1, [&[], ROWS, &[], &[255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])),
        ),
        finish(
            "another_type_than_declared",
            &[BREAKS],
            finishing("u", false, cols(1, [&[], ROWS, &[], ROWS])),
        ),
        // The first calls are right, and those after them have a column of another type.
        finish(
            "another_schema_later",
            &[BREAKS],
            finishing("l", false, cols(1, [&[], ROWS, &[], ROWS])).body(
                Entry::Finish,
                "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                 (if (i32.ge_u (global.get $calls) (i32.const 2))
                   (then (i32.store (i32.const 40) (i32.const 0)) (i32.store (i32.const RESULT) (i32.const 0))
                         (i32.store offset=4 (i32.const RESULT) (i32.const 3))))
                 (i32.const RESULT)",
            ),
        ),
    ]
}

fn counts() -> Vec<Attack> {
    let of = |name, entry, parts, guest| checked(name, entry, parts, guest);
    let accumulate = |name, parts, changed: Option<&[u8]>, states: Cols| {
        of(
            name,
            Entry::Accumulate,
            parts,
            Guest::windowed().updates(states, changed, &[]),
        )
    };
    let limited =
        |name, entry, limit, parts, guest| Attack::windowed(name, entry, limit, parts, guest);
    vec![
        accumulate("too_few_states", &[BREAKS, "0 rows where"], None, Cols::empty(1)),
        accumulate("too_many_states", &[BREAKS, "2 rows where 1"], Some(&words([0])), cols(2, [&[], &[0; 16]])),
        accumulate("a_group_that_is_not_there", &[BREAKS, "`changed`"], Some(&words([99])), cols(1, [&[], &[0; 8]])),
        accumulate("groups_that_fall", &[BREAKS, "`changed`"], Some(&words([1, 0])), cols(2, [&[], &[0; 16]])),
        accumulate("part_of_a_group", &[BREAKS, "whole number"], Some(&[0, 0]), Cols::empty(1)),
        of("merged_into_nothing", Entry::Merge, &[BREAKS, "0 rows where"], Guest::windowed().merges(Cols::empty(1)))
            .hopping(),
        of(
            "merged_into_many",
            Entry::Merge,
            &[BREAKS, "rows where"],
            Guest::windowed().merges(cols(4096, [&[], &[0; 8]])),
        )
        .hopping(),
        of(
            "output_of_nobody",
            Entry::Finish,
            &[BREAKS, "`source-group`"],
            Guest::windowed().finishes(cols(1, [&[], ROWS]), &words([99])),
        ),
        of(
            "output_out_of_order",
            Entry::Finish,
            &[BREAKS, "`source-group`"],
            Guest::windowed().finishes(cols(2, [&[], &[0; 16]]), &words([1, 0])),
        ),
        of(
            "output_uncounted",
            Entry::Finish,
            &[BREAKS, "`source-group` names"],
            Guest::windowed().finishes(cols(2, [&[], &[0; 16]]), &words([0])),
        ),
        Attack::mapper(
            "rows_of_nobody",
            Entry::Map,
            "checks",
            &[BREAKS, "`source-row`"],
            Guest::mapper().maps(cols(1, [&[], ROWS, &[], ROWS]), &words([1000]), &[]),
        ),
        limited(
            "too_many_rows",
            Entry::Finish,
            "output_rows",
            &["`output_rows`", "4294967295 rows"],
            Guest::windowed().finishes(cols(u32::MAX, [&[], ROWS]), &[0; 4]),
        ),
        Attack::mapper(
            "too_many_mapped_rows",
            Entry::Map,
            "output_rows",
            &["`output_rows`", "map"],
            Guest::mapper().maps(cols(5 << 20, [&[], ROWS, &[], ROWS]), &[0; 4], &[]),
        ),
        limited(
            "too_many_bytes",
            Entry::Accumulate,
            "output_bytes",
            &["`output_bytes`", "accumulate"],
            Guest::windowed()
                .updates(cols(1, [&[], &[0; 8]]), Some(&[]), &[])
                .pages(100)
                // The first buffer is said to have four million bytes.
                .body(
                    Entry::Accumulate,
                    "(i32.store offset=4 (i32.load offset=8 (i32.const RESULT)) (i32.const 4000000)) (i32.const RESULT)",
                ),
        )
        .limits("output_bytes = \"1MiB\""),
        limited(
            "a_million_tiny_lists",
            Entry::Finish,
            "output_bytes",
            &["`output_bytes`", "finish"],
            Guest::windowed().pages(200).body(
                Entry::Finish,
                // All of memory from there on is zero: lists without bytes.
                "(i32.store offset=8 (i32.const RESULT) (i32.const 1000000))
                 (i32.store offset=12 (i32.const RESULT) (i32.const 1000000)) (i32.const RESULT)",
            ),
        )
        .limits("output_bytes = \"1MiB\""),
    ]
}

fn rejects() -> Vec<Attack> {
    let refuse = |name, limit, parts, rejects: &[Reject]| {
        let guest = Guest::windowed().updates(Cols::empty(1), Some(&[]), rejects);
        Attack::windowed(name, Entry::Accumulate, limit, parts, guest)
    };
    let codes: Vec<Reject> = (0..7)
        .map(|row| reject(row, &format!("code-{row}")))
        .collect();
    vec![
        refuse(
            "refuse_a_row_of_nobody",
            "checks",
            &[BREAKS, "rejects must rise"],
            &[reject(1000, "c")],
        ),
        refuse(
            "refuse_a_row_twice",
            "checks",
            &[BREAKS, "rejects must rise"],
            &[reject(1, "c"), reject(1, "c")],
        ),
        refuse(
            "a_code_for_terminals",
            "checks",
            &[BREAKS, "a reject's code"],
            &[reject(0, "\u{1b}[2J")],
        ),
        refuse(
            "a_code_as_long_as_a_book",
            "reject_code_bytes",
            &["`reject_code_bytes`", "65 bytes"],
            &[reject(
                0,
                "a23456789012345678901234567890123456789012345678901234567890abcde",
            )],
        ),
        refuse(
            "a_code_for_each_row",
            "reject_codes",
            &["`reject_codes`", "5 different"],
            &codes,
        )
        .limits("reject_codes = 5"),
        refuse(
            "a_detail_as_long_as_a_book",
            "reject_detail_bytes",
            &[],
            &[(0, "c".into(), "x".repeat(100_000))],
        )
        .ending(super::attack::Ends::Nothing),
        Attack::windowed(
            "own_up_with_control_characters",
            Entry::Accumulate,
            "checks",
            &["internal failure", "\\u{1b}[2J"],
            Guest::windowed().fails(Entry::Accumulate, "\u{1b}[2Jall is well"),
        ),
    ]
}

fn pointers() -> Vec<Attack> {
    let of =
        |name, entry, guest: Guest| Attack::windowed(name, entry, "checks", &["trapped"], guest);
    vec![
        of(
            "realloc_gives_what_is_not_there",
            Entry::Realloc,
            Guest::windowed().body(Entry::Realloc, "(i32.const -16)"),
        ),
        of(
            "realloc_gives_odd_addresses",
            Entry::Realloc,
            Guest::windowed().body(Entry::Realloc, "(i32.const 65537)"),
        ),
        of(
            "a_result_that_is_not_there",
            Entry::Accumulate,
            Guest::windowed().body(Entry::Accumulate, "(i32.const -64)"),
        ),
        of(
            "a_result_at_an_odd_address",
            Entry::Accumulate,
            Guest::windowed().body(Entry::Accumulate, "(i32.const 1025)"),
        ),
        of(
            "a_result_that_is_neither",
            Entry::Accumulate,
            Guest::windowed().body(
                Entry::Accumulate,
                "(i32.store8 (i32.const RESULT) (i32.const 2)) (i32.const RESULT)",
            ),
        ),
        of(
            "a_list_that_is_not_there",
            Entry::Finish,
            Guest::windowed().body(
                Entry::Finish,
                "(i32.store offset=8 (i32.const RESULT) (i32.const -8)) (i32.const RESULT)",
            ),
        ),
        of(
            "a_list_longer_than_memory",
            Entry::Finish,
            Guest::windowed().body(
                Entry::Finish,
                "(i32.store offset=12 (i32.const RESULT) (i32.const -1)) (i32.const RESULT)",
            ),
        ),
        of(
            "trap_at_once",
            Entry::Accumulate,
            Guest::windowed().body(Entry::Accumulate, "(unreachable)"),
        ),
        of(
            "trap_at_random",
            Entry::Accumulate,
            Guest::windowed().body(
                Entry::Accumulate,
                // A generator of random numbers that it keeps between calls.
                "(global.set $calls (i32.add (i32.mul (global.get $calls) (i32.const 1664525)) (i32.const 1013904223)))
                 (if (i32.lt_u (i32.shr_u (global.get $calls) (i32.const 24)) (i32.const 128)) (then (unreachable)))
                 (i32.const RESULT)",
            ),
        ),
        of(
            "divide_by_zero",
            Entry::Finish,
            Guest::windowed().body(Entry::Finish, "(i32.div_u (i32.const 1) (i32.const 0))"),
        ),
        of(
            "call_what_is_not_there",
            Entry::Finish,
            Guest::windowed()
                .items("(type $f (func (result i32))) (table 1 funcref)")
                .body(Entry::Finish, "(call_indirect (type $f) (i32.const 0))"),
        ),
        of(
            "read_what_is_not_there",
            Entry::Start,
            Guest::windowed().body(Entry::Start, "(drop (i32.load (i32.const -4)))"),
        ),
    ]
}
