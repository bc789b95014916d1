//! The sketch against the sets that it stands for.

use penstock_sdk::testing::Native;

use super::*;
use sketch::{REGISTERS, STANDARD_ERROR, estimate, hash};

fn sketch_of(values: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let mut registers = Vec::new();
    for value in values {
        Sketch::of(&mut registers).add(value);
    }
    registers
}

#[test]
fn the_hash_is_splitmix64() {
    // The first outputs of the generator for these seeds, as published.
    assert_eq!(hash(0), 0xe220_a839_7b1d_cdaf);
    assert_eq!(hash(1_234_567), 6_457_827_717_110_365_317);
}

#[test]
fn estimates_are_within_three_standard_errors() {
    for size in [10, 100, 1_000, 2_500, 3_000, 10_000, 100_000, 1_000_000] {
        for series in 0..4_i64 {
            let values = (0..size).map(|value| value + (series << 40));
            let found = estimate(&sketch_of(values));
            let error = (found / size as f64 - 1.0).abs();
            assert!(error <= 3.0 * STANDARD_ERROR, "{found} for {size}");
        }
    }
}

#[test]
fn few_values_are_nearly_exact() {
    assert_eq!(estimate(&[]), 0.0);
    for size in 0..20 {
        let found = estimate(&sketch_of(0..size)).round() as i64;
        assert!((found - size).abs() <= 1, "{found} for {size}");
    }
}

#[test]
fn a_value_that_comes_again_changes_nothing() {
    let once = sketch_of(0..500);
    let again = sketch_of((0..500).chain((0..500).rev()));
    assert_eq!(once, again);
    assert_eq!(once.len(), REGISTERS);
}

#[test]
fn merging_is_the_union_bit_for_bit() {
    let merge = |one: &[u8], other: &[u8]| {
        let [earlier, later] = [one, other].map(|registers| Riders {
            registers: registers.into(),
        });
        DistinctRiders.merge(earlier, later).registers.0
    };
    for (one, other) in [
        (0..4_000, 3_000..9_000),
        (0..1, 1..2),
        (0..50, 0..50),
        (0..10, 100_000..150_000),
        (0..700, 0..0),
        (0..0, 0..700),
        (0..0, 0..0),
    ] {
        let union = sketch_of(one.clone().chain(other.clone()));
        let (one, other) = (sketch_of(one), sketch_of(other));
        assert_eq!(merge(&one, &other), union);
        assert_eq!(merge(&other, &one), union);
        let third = sketch_of(5_000..5_500);
        assert_eq!(
            merge(&merge(&one, &other), &third),
            merge(&one, &merge(&other, &third))
        );
    }
}

#[test]
fn requests_of_the_same_rider_are_one() {
    let mut window = Native::<DistinctRiders>::open("{}").unwrap();
    window.accumulate([7, 8, 7, -1, 7, i64::MIN].map(|rider_id| Request { rider_id }));
    assert_eq!(window.finish(), [Distinct { distinct_riders: 4 }]);
}
