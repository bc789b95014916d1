//! What calls gather: columns are put together once, not again and again until they are small
//! enough.

use std::cell::Cell;

use super::super::Calls;
use super::super::calls::Purpose;
use super::traced::Traced;

/// How many groups are gathered to hand over `groups` of so many bytes each, with budgets of so
/// many bytes and groups.
fn gathered(groups: usize, bytes: impl Fn(usize) -> usize, budget: (usize, usize)) -> usize {
    let mut calls = Calls::new(Box::new(Traced::new(false).0), budget.0, budget.1);
    let gathered = Cell::new(0);
    let mut first = 0;
    while first < groups {
        let (range, sum) = calls
            .fitting(Purpose::Merge, first..groups, |range| {
                gathered.set(gathered.get() + range.len());
                let sum: usize = range.map(&bytes).sum();
                Ok((sum, sum))
            })
            .unwrap();
        assert_eq!(range.start, first);
        assert!(sum <= budget.0 || range.len() == 1, "{range:?}: {sum}");
        first = range.end;
    }
    gathered.get()
}

#[test]
fn groups_that_are_too_many_for_a_call_are_gathered_once() {
    const BUDGET: (usize, usize) = (1_000_000, 65_536);
    // To find out how many fit takes the first call less than two times the most that it may.
    let most = 2 * BUDGET.1;
    let even = gathered(200_000, |_| 1_000, BUDGET);
    assert!(even <= 200_000 + most, "{even}");
    let growing = gathered(200_000, |group| 1_000 + group / 20, BUDGET);
    assert!(growing <= 200_000 + most, "{growing}");
    assert_eq!(gathered(200_000, |_| 1, BUDGET), 200_000);
}

#[test]
fn a_few_large_groups_do_not_hold_the_others_up() {
    let large = |group: usize| {
        if group.is_multiple_of(5_000) {
            400_000
        } else {
            100
        }
    };
    let all = gathered(200_000, large, (1_000_000, 65_536));
    assert!(all <= 5 * 200_000, "{all}");
}
