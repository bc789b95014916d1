//! Attacks by what `open` says of itself.

use super::attack::Attack;
use super::guest::{Entry, Guest};
use super::image::{Cols, Field, Spec, cols, field};

pub(super) fn attacks() -> Vec<Attack> {
    let says = |name, limit, parts, change: fn(&mut Spec)| {
        Attack::windowed(
            name,
            Entry::Open,
            limit,
            parts,
            Guest::windowed().pages(200).spec(change),
        )
    };
    vec![
        says(
            "a_gigantic_name",
            "name_bytes",
            &["`name_bytes`: 256"],
            |spec| {
                spec.state[0].0 = "n".repeat(100_000);
            },
        ),
        says(
            "a_gigantic_format",
            "name_bytes",
            &["`name_bytes`: 256"],
            |spec| {
                spec.output
                    .push(field("at", &format!("tsu:{}", "Z".repeat(1000)), 0));
            },
        ),
        says(
            "thousands_of_columns",
            "columns",
            &["`columns`: 1024 allowed", "5001 more"],
            |spec| {
                spec.output
                    .extend((0..5000).map(|at| field(&format!("c{at}"), "l", 0)));
            },
        ),
        says(
            "deep_nesting",
            "nesting",
            &["`nesting`: 16 allowed"],
            |spec| {
                let lists = (0..500).map(|at| field(&format!("l{at}"), "+l", 1));
                spec.output.extend(lists.chain([field("item", "l", 0)]));
            },
        ),
        says(
            "children_without_end",
            "checks",
            &["breaks the contract", "children"],
            |spec| {
                spec.state.push(field("many", "+s", u32::MAX));
            },
        ),
        says(
            "lists_of_nothing",
            "checks",
            &["breaks the contract", "take no bytes"],
            |spec| {
                spec.output
                    .extend([field("many", "+l", 1), field("item", "+s", 0)]);
            },
        ),
        says(
            "a_format_of_nobody",
            "checks",
            &["breaks the contract", "format"],
            |spec| {
                spec.output.push(field("more", "vu", 0));
            },
        ),
        says(
            "a_width_below_zero",
            "checks",
            &["breaks the contract", "format"],
            |spec| {
                spec.output.push(field("more", "w:-1", 0));
            },
        ),
        says(
            "two_of_one_name",
            "checks",
            &["breaks the contract", "two columns"],
            |spec| {
                spec.output.push(field("rows", "l", 0));
            },
        ),
        says(
            "a_name_for_terminals",
            "checks",
            &["breaks the contract", "control characters"],
            |spec| {
                spec.output
                    .push(Field("\u{1b}[2J".into(), "l".into(), true, 0));
            },
        ),
        says(
            "the_hosts_own_columns",
            "checks",
            &["breaks the contract", "window_start"],
            |spec| {
                spec.output.push(field("window_start", "l", 0));
            },
        ),
        says(
            "no_output_at_all",
            "checks",
            &["breaks the contract", "no columns"],
            |spec| {
                spec.output.clear();
            },
        ),
        says(
            "metadata_as_long_as_a_book",
            "name_bytes",
            &["`name_bytes`: 256"],
            |spec| {
                spec.metadata = vec![("about".into(), "b".repeat(100_000))];
            },
        ),
        says(
            "metadata_without_end",
            "checks",
            &["breaks the contract", "100000 entries of metadata"],
            |spec| {
                let entry = |at: u32| (at.to_string(), String::new());
                spec.metadata = (0..100_000).map(entry).collect();
            },
        ),
        says(
            "metadata_for_terminals",
            "checks",
            &["breaks the contract", "control characters"],
            |spec| {
                spec.metadata = vec![("about".into(), "\u{1b}[2J".into())];
            },
        ),
        says(
            "begin_with_a_large_state",
            "state_per_group",
            &["`state_per_group`", "open"],
            |spec| {
                spec.state.push(field("much", "w:2000000", 0));
                spec.initial = cols(1, [&[], &[0; 8], &[], &[0; 2_000_000]]);
            },
        ),
        says(
            "columns_of_nobody",
            "checks",
            &["breaks the contract", "ghost"],
            |spec| {
                spec.needs.push("ghost".into());
            },
        ),
        says(
            "the_events_of_others",
            "checks",
            &["breaks the contract", "payments"],
            |spec| {
                spec.event = "payments".into();
            },
        ),
        says(
            "a_thousand_beginnings",
            "checks",
            &["breaks the contract", "initial state"],
            |spec| {
                spec.initial = cols(1000, [&[], &[0; 8000]]);
            },
        ),
        says(
            "a_beginning_of_lies",
            "checks",
            &["breaks the contract", "initial state"],
            |spec| {
                spec.state.push(field("text", "u", 0));
                spec.initial = cols(
                    1,
                    [&[], &[0; 8], &[], &[0, 0, 0, 0, 255, 255, 255, 127], b""],
                );
            },
        ),
        Attack::windowed(
            "a_name_that_is_a_path",
            Entry::Open,
            "nothing: names are never paths",
            &[],
            Guest::windowed()
                .spec(|spec| {
                    spec.output.push(field("../../../../tmp/penstock", "l", 0));
                    spec.output.push(field("s3://bucket/penstock", "l", 0));
                })
                .finishes(Cols::empty(3), &[]),
        )
        .ending(super::attack::Ends::Nothing),
        Attack::mapper(
            "a_mappers_gigantic_name",
            Entry::Open,
            "name_bytes",
            &["`name_bytes`", "open-mapper"],
            Guest::mapper().spec(|spec| spec.output[1].0 = "n".repeat(1000)),
        ),
    ]
}
