//! What hopping windows cost: merges for each row that is emitted.

use proptest::prelude::*;

use super::super::{Kind, Length, Panes, Shape};
use super::drive::{Plan, plans, run};
use super::resting::Rest;
use super::stream::{Cut, Stream};

/// The groups merged, the rows emitted and the panes with rows, for windows of `panes` panes that
/// start at every pane, over `rows` panes with a row of each key.
fn cost(panes: i64, keys: i64, rows: i64, plan: &Plan) -> (u64, u64, u64) {
    let kind = Kind::Aligned {
        panes: Panes::new(10, 0).unwrap(),
        lengths: vec![Length {
            panes,
            step: 1,
            growing: false,
        }],
    };
    let shape = Shape {
        kind,
        lateness: 0,
        per_batch: false,
    };
    let stream = Stream::dense(keys, rows, 10);
    let ran = run(&shape, &stream, plan, false);
    (
        ran.merged,
        ran.told.emitted.len() as u64,
        (keys * rows) as u64,
    )
}

proptest! {
    #![proptest_config(super::cases(10))]

    /// Each pane is merged once into a fold to the right of its chunk's start and once into one to
    /// the left of its end, at most, and each window is one merge of two folds at most. With a row
    /// of each key in each pane there are no more panes than windows, so that is three merges for
    /// each row that is emitted, whatever the length.
    #[test]
    fn a_hopping_window_costs_three_merges_at_most(
        panes in 1..70_i64, keys in 1..4_i64, rows in 1..150_i64, plan in plans(),
    ) {
        let plan = Plan { rest: Rest::None, ..plan };
        let (merged, emitted, states) = cost(panes, keys, rows, &plan);
        prop_assert_eq!(emitted, (keys * (rows + panes - 1)) as u64);
        prop_assert!(merged <= 2 * states + emitted, "{merged} merges, {emitted} rows");
    }
}

#[test]
fn the_cost_does_not_grow_with_the_length() {
    let plan = Plan {
        cut: Cut::Sizes(vec![7]),
        ..Plan::plain()
    };
    for panes in [2, 6, 60, 120] {
        let (merged, emitted, _) = cost(panes, 2, 600, &plan);
        assert!(
            merged <= 3 * emitted,
            "{panes} panes: {merged} for {emitted}"
        );
    }
}
