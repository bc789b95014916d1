//! The order of places, cursors as text, and places of batches against a naive count.

use proptest::prelude::*;

use super::*;

fn place(number: &str, part: u64) -> Place {
    Place::new(number, part).unwrap()
}

#[test]
fn places_are_ordered_as_numbers() {
    let rising = [
        place("0", 0),
        place("9", 0),
        place("9", 1),
        place("10", 0),
        place(
            "49590338271490256608559692538361571095921575989136588898",
            0,
        ),
        place(
            "49590338271490256608559692538361571095921575989136588899",
            0,
        ),
        place(
            "149590338271490256608559692538361571095921575989136588898",
            0,
        ),
    ];
    assert!(rising.is_sorted_by(|one, other| one < other));
    for wrong in ["", "01", "-1", "1e3", "1:2", &"9".repeat(130)] {
        assert_eq!(Place::new(wrong, 0), None, "{wrong}");
    }
}

#[test]
fn cursors_are_kept_as_text() {
    let after = |number: &str, offset| ShardCursor::After {
        place: place(number, 7),
        offset,
    };
    let rising = [
        ShardCursor::Beginning,
        ShardCursor::Since(-5),
        after("9", 3),
        after("10", 4),
        ShardCursor::Finished,
    ];
    assert!(rising.is_sorted_by(|one, other| one < other));
    assert_eq!(rising[2].to_string(), "1:after:9:7:3");
    for cursor in &rising {
        assert_eq!(cursor.to_string().parse().as_ref(), Ok(cursor));
    }
    for wrong in [
        "",
        "1",
        "2:beginning",
        "1:since:soon",
        "1:after:09:0:0",
        "1:after:9:0",
        "1:finished:",
    ] {
        let error = wrong.parse::<ShardCursor>().unwrap_err();
        assert!(error.to_string().contains("is no cursor"), "{error}");
    }
}

proptest! {
    #[test]
    fn a_cursor_covers_what_is_not_behind_it(
        records in prop::collection::vec((1_u64..4, prop::collection::btree_set(0_u64..5, 0..4)), 0..12),
        number in 0_u64..40,
        part in 0_u64..5,
    ) {
        let mut builder = PlacesBuilder::default();
        let (mut last, mut all) = (0, Vec::new());
        for (step, parts) in records {
            last += step;
            builder.record(&last.to_string());
            for part in parts {
                builder.part(part);
                all.push(place(&last.to_string(), part));
            }
        }
        let places = builder.finish();
        prop_assert_eq!((0..places.len()).map(|row| places.of(row)).collect::<Vec<_>>(), all.clone());
        let at = place(&number.to_string(), part);
        let expected = all.iter().filter(|it| **it <= at).count();
        let cursor = ShardCursor::After { place: at, offset: 0 };
        prop_assert_eq!(places.covered(&cursor), expected);
        prop_assert_eq!(places.covered(&ShardCursor::Beginning), 0);
        prop_assert_eq!(places.covered(&ShardCursor::Finished), all.len());
    }
}
