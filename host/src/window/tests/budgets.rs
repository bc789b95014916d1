//! What calls gather: columns are put together once, not again and again until they are small
//! enough.

use std::cell::Cell;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::super::Calls;
use super::super::calls::Purpose;
use super::super::states::States;
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

#[test]
fn new_groups_are_not_gathered_where_their_first_states_alone_are_too_much() {
    let schema = |name, data_type| Arc::new(Schema::new(vec![Field::new(name, data_type, false)]));
    let initial: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1_000)]));
    let initial = RecordBatch::try_new(schema("state", DataType::Utf8), vec![initial]).unwrap();
    let mut states = States::new(&schema("key", DataType::Int64), &initial).unwrap();
    let keys: [ArrayRef; 1] = [Arc::new(Int64Array::from_iter_values(0..100))];
    let numbers = states.keys.assign(&keys).unwrap();
    let slots: Vec<u32> = numbers.into_iter().map(|key| states.add(key)).collect();
    let part = |rows| [keys[0].slice(0, rows)];
    assert!(states.touch(&slots, &keys, 20_000).is_err());
    assert_eq!(
        states.touch(&slots[..10], &part(10), 20_000).unwrap().len(),
        10
    );
    // One has to be possible, or nothing would be.
    assert_eq!(states.touch(&slots[..1], &part(1), 10).unwrap().len(), 1);
    // Those that have begun are there anyway, whatever they take.
    let begun: ArrayRef = Arc::new(StringArray::from(vec!["y".repeat(1_000); 100]));
    states.put(slots.clone(), vec![begun]).unwrap();
    assert_eq!(states.touch(&slots, &keys, 20_000).unwrap().len(), 100);
}
