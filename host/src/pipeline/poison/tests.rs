//! Which rows and groups are poison does not depend on where batches are cut, and the others count as if those were not
//! there.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use proptest::prelude::*;

use super::*;

/// Sums amounts. It fails on those below zero, on 1,000 when its group has nothing yet, and refuses 7. Sums of 13 can be
/// neither merged nor finished, and of 5 nothing comes.
struct Summing {
    /// Fails once more, whatever comes.
    stumbles: Arc<AtomicU64>,
}

impl Windowed for Summing {
    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        Box::pin(async move {
            let amounts = rows.columns[0].as_primitive::<Float64Type>();
            let mut sums = groups.states[0]
                .as_primitive::<Float64Type>()
                .values()
                .to_vec();
            let mut rejects = Vec::new();
            let trap = |reason: &str| CallError::Trap {
                call: "accumulate",
                reason: reason.into(),
            };
            let stumbles = self.stumbles.load(Ordering::Relaxed);
            if stumbles > 0 {
                self.stumbles.store(stumbles - 1, Ordering::Relaxed);
                return Err(trap("it stumbles"));
            }
            for (row, (amount, group)) in
                (0..).zip(amounts.values().iter().zip(rows.group_of_row.iter()))
            {
                let sum = &mut sums[*group as usize];
                if *amount == 7.0 {
                    rejects.push(Reject {
                        row,
                        code: "seven".into(),
                        detail: String::new(),
                    });
                } else if *amount < 0.0 || (*amount == 1000.0 && *sum == 0.0) {
                    return Err(trap("it fails"));
                } else {
                    *sum += amount;
                }
            }
            Ok(Updated {
                states: vec![Arc::new(Float64Array::from(sums))],
                changed: None,
                rejects,
            })
        })
    }

    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Merged, CallError>> {
        let sums = |columns: &[ArrayRef]| columns[0].as_primitive::<Float64Type>().clone();
        let (earlier, later) = (sums(earlier.states), sums(later));
        let merged: Vec<f64> = earlier
            .values()
            .iter()
            .zip(later.values())
            .map(|(a, b)| a + b)
            .collect();
        Box::pin(async move {
            refuse_thirteen("merge", &merged)?;
            Ok(vec![Arc::new(Float64Array::from(merged)) as ArrayRef].into())
        })
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        _bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        let sums = groups.states[0]
            .as_primitive::<Float64Type>()
            .values()
            .to_vec();
        Box::pin(async move {
            refuse_thirteen("finish", &sums)?;
            let (source_group, sums): (Vec<u32>, Vec<f64>) =
                (0..).zip(sums).filter(|(_, sum)| *sum != 5.0).unzip();
            let column: ArrayRef = Arc::new(Float64Array::from(sums));
            Ok(Finished {
                output: RecordBatch::try_from_iter([("sum", column)]).unwrap(),
                source_group,
                failed: Vec::new(),
            })
        })
    }
}

fn refuse_thirteen(call: &'static str, sums: &[f64]) -> Result<(), CallError> {
    match sums.contains(&13.0) {
        true => Err(CallError::Trap {
            call,
            reason: "it fails".into(),
        }),
        false => Ok(()),
    }
}

fn recovering(failures: u32, stumbles: &Arc<AtomicU64>) -> Recovering {
    let limits = Limits {
        failures,
        ..Limits::default()
    };
    let summing = {
        let stumbles = Arc::clone(stumbles);
        move || {
            Box::new(Summing {
                stumbles: Arc::clone(&stumbles),
            }) as Box<dyn Windowed>
        }
    };
    let first = summing();
    let open: Open = Arc::new(move || {
        let fresh = summing();
        Box::pin(async move { Ok(fresh) })
    });
    Recovering::around(first, open, "sha256:0", Recovery::new(&limits))
}

/// Rejected rows by their numbers and codes, and the sums of five groups.
type Outcome = (Vec<(u32, String)>, Vec<f64>);

/// Adds rows, an amount and a group each, in batches that end after these numbers of rows.
fn fold(rows: &[(f64, u32)], cuts: &[usize], failures: u32) -> Result<Outcome, CallError> {
    let mut transform = recovering(failures, &Arc::default());
    let mut sums = vec![0.0; 5];
    let (mut rejected, mut first) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([rows.len()]) {
        let end = end.clamp(first, rows.len());
        if first == end {
            continue;
        }
        let amounts: Vec<f64> = rows[first..end].iter().map(|row| row.0).collect();
        let group_of_row: Vec<u32> = rows[first..end].iter().map(|row| row.1).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(amounts))];
        let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(0..5))];
        assert_eq!(keys[0].as_primitive::<Int64Type>().len(), 5);
        let states: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(sums.clone()))];
        let group_of_row = group_of_row.into();
        let updated = futures::executor::block_on(transform.accumulate(
            Rows {
                columns: &columns,
                group_of_row: &group_of_row,
            },
            Groups {
                keys: &keys,
                states: &states,
                len: 5,
            },
        ))?;
        let new = updated.states[0].as_primitive::<Float64Type>();
        let changed = updated.changed.unwrap_or_else(|| (0..5).collect());
        for (at, group) in changed.into_iter().enumerate() {
            sums[group as usize] = new.value(at);
        }
        for reject in updated.rejects {
            rejected.push((reject.row + first as u32, reject.code));
        }
        first = end;
    }
    Ok((rejected, sums))
}

/// The same, row by row.
fn oracle(rows: &[(f64, u32)]) -> Outcome {
    let (mut rejected, mut sums) = (Vec::new(), vec![0.0; 5]);
    for (row, (amount, group)) in (0..).zip(rows) {
        let sum: &mut f64 = &mut sums[*group as usize];
        if *amount == 7.0 {
            rejected.push((row, "seven".to_owned()));
        } else if *amount < 0.0 || (*amount == 1000.0 && *sum == 0.0) {
            rejected.push((row, "poison:trap".to_owned()));
        } else {
            *sum += amount;
        }
    }
    (rejected, sums)
}

fn amount() -> impl Strategy<Value = f64> {
    prop_oneof![
        20 => (1..6_i32).prop_map(f64::from),
        2 => Just(-1.0),
        2 => Just(1000.0),
        2 => Just(7.0),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn which_rows_are_poison_does_not_depend_on_cuts(
        rows in prop::collection::vec((amount(), 0..5_u32), 1..120),
        mut cuts in prop::collection::vec(0..120_usize, 0..6),
    ) {
        cuts.sort_unstable();
        let expected = oracle(&rows);
        prop_assert_eq!(&fold(&rows, &cuts, 1000).unwrap(), &expected);
        prop_assert_eq!(&fold(&rows, &[], 1000).unwrap(), &expected);
    }

    #[test]
    fn whether_a_transform_is_given_up_does_not_depend_on_cuts(
        rows in prop::collection::vec((amount(), 0..5_u32), 1..120),
        mut cuts in prop::collection::vec(0..120_usize, 0..6),
    ) {
        cuts.sort_unstable();
        let poisoned = oracle(&rows).0.iter().filter(|(_, code)| code != "seven").count();
        prop_assert_eq!(fold(&rows, &cuts, 3).is_ok(), poisoned <= 3);
        prop_assert_eq!(fold(&rows, &[], 3).is_ok(), poisoned <= 3);
    }
}

/// Rows of output by their group, and the groups that failed.
type Ended = (Vec<(u32, f64)>, Vec<(u32, String)>);

/// Finishes groups in calls that end after these numbers of them.
fn finish(sums: &[f64], cuts: &[usize], failures: u32) -> Result<Ended, CallError> {
    let mut transform = recovering(failures, &Arc::default());
    let (mut rows, mut failed, mut first) = (Vec::new(), Vec::new(), 0);
    for end in cuts.iter().copied().chain([sums.len()]) {
        let end = end.clamp(first, sums.len());
        if first == end {
            continue;
        }
        let states: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(sums[first..end].to_vec()))];
        let groups = Groups {
            keys: &states,
            states: &states,
            len: end - first,
        };
        let finished = futures::executor::block_on(transform.finish(groups, &[]))?;
        let of = |group: u32| group + first as u32;
        if finished.output.num_rows() > 0 {
            let sums = finished.output.column(0).as_primitive::<Float64Type>();
            let groups = finished.source_group.iter().map(|group| of(*group));
            rows.extend(groups.zip(sums.values().iter().copied()));
        }
        failed.extend(
            finished
                .failed
                .into_iter()
                .map(|it| (of(it.row), it.detail)),
        );
        first = end;
    }
    Ok((rows, failed))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn which_windows_fail_does_not_depend_on_calls(
        sums in prop::collection::vec((10..15_i32).prop_map(f64::from), 1..60),
        mut cuts in prop::collection::vec(0..60_usize, 0..6),
    ) {
        cuts.sort_unstable();
        let sums: Vec<f64> = sums.into_iter().map(|sum| if sum == 14.0 { 5.0 } else { sum }).collect();
        let ended = finish(&sums, &cuts, 1000).unwrap();
        let numbered = || (0..).zip(sums.iter().copied());
        let good: Vec<_> = numbered().filter(|(_, sum)| *sum != 13.0 && *sum != 5.0).collect();
        let bad: Vec<u32> = numbered().filter(|(_, sum)| *sum == 13.0).map(|(at, _)| at).collect();
        prop_assert_eq!(&ended.0, &good);
        prop_assert_eq!(ended.1.iter().map(|(at, _)| *at).collect::<Vec<_>>(), bad.clone());
        prop_assert_eq!(&finish(&sums, &[], 1000).unwrap(), &ended);
        prop_assert_eq!(finish(&sums, &cuts, 3).is_ok(), bad.len() <= 3);
        prop_assert_eq!(finish(&sums, &[], 3).is_ok(), bad.len() <= 3);
    }

    #[test]
    fn pairs_that_cannot_be_merged_are_found_and_keep_their_earlier_states(
        pairs in prop::collection::vec((5..8_i32, 5..8_i32), 1..60),
    ) {
        let mut transform = recovering(0, &Arc::default());
        transform.recovery.failures = 1;
        let column = |sums: Vec<f64>| -> Vec<ArrayRef> { vec![Arc::new(Float64Array::from(sums))] };
        let earlier = column(pairs.iter().map(|(earlier, _)| f64::from(*earlier)).collect());
        let later = column(pairs.iter().map(|(_, later)| f64::from(*later)).collect());
        let groups = Groups { keys: &earlier, states: &earlier, len: pairs.len() };
        let merged = futures::executor::block_on(transform.merge(groups, &later)).unwrap();
        let is_bad = |(earlier, later): &(i32, i32)| earlier + later == 13;
        let bad: Vec<u32> = (0..).zip(&pairs).filter(|(_, pair)| is_bad(pair)).map(|(at, _)| at).collect();
        prop_assert_eq!(merged.failed.iter().map(|it| it.row).collect::<Vec<_>>(), bad);
        let expected = pairs.iter().map(|pair| f64::from(if is_bad(pair) { pair.0 } else { pair.0 + pair.1 }));
        let states = merged.states[0].as_primitive::<Float64Type>().values().to_vec();
        prop_assert_eq!(states, expected.collect::<Vec<_>>());
    }
}

#[test]
fn windows_for_which_there_is_no_state_are_counted_too() {
    let mut transform = recovering(2, &Arc::default());
    let lost = poison(0, &CallError::Waits { call: "merge" }, "sha256:0");
    transform.lose(&lost).unwrap();
    transform.lose(&lost).unwrap();
    let error = transform.lose(&lost).unwrap_err().to_string();
    assert!(
        error.contains("`failures`: 2 windows") && error.contains("merge"),
        "{error}"
    );
}

#[test]
fn who_fails_for_no_row_of_its_own_is_given_up_in_the_end() {
    let stumbles = Arc::new(AtomicU64::new(0));
    let mut transform = recovering(2, &stumbles);
    let columns: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![1.0; 4]))];
    let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1]))];
    let states: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![0.0]))];
    let group_of_row = vec![0; 4].into();
    let mut call = || {
        stumbles.store(1, Ordering::Relaxed);
        let rows = Rows {
            columns: &columns,
            group_of_row: &group_of_row,
        };
        let groups = Groups {
            keys: &keys,
            states: &states,
            len: 1,
        };
        futures::executor::block_on(transform.accumulate(rows, groups))
    };
    for _ in 0..2 {
        let updated = call().unwrap();
        assert_eq!(
            updated.states[0].as_primitive::<Float64Type>().value(0),
            4.0
        );
        assert!(updated.rejects.is_empty());
    }
    let error = call().unwrap_err().to_string();
    assert!(
        error.contains("`failures`: 2 rows") && error.contains("it stumbles"),
        "{error}"
    );
}

#[test]
fn with_no_failures_allowed_the_first_is_the_end() {
    let rows = [(1.0, 0), (-1.0, 1)];
    let error = fold(&rows, &[], 0).unwrap_err();
    assert!(matches!(error, CallError::Trap { .. }), "{error}");
}

#[test]
fn who_takes_too_long_to_be_understood_is_given_up() {
    let mut transform = recovering(64, &Arc::default());
    transform.recovery.cpu = Duration::ZERO;
    let columns: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![-1.0; 64]))];
    let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1]))];
    let states: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![0.0]))];
    let group_of_row = vec![0; 64].into();
    let rows = Rows {
        columns: &columns,
        group_of_row: &group_of_row,
    };
    let groups = Groups {
        keys: &keys,
        states: &states,
        len: 1,
    };
    let called = futures::executor::block_on(transform.accumulate(rows, groups));
    let error = called.unwrap_err().to_string();
    assert!(
        error.contains("`recovery_cpu`") && error.contains("it fails"),
        "{error}"
    );
    let again = futures::executor::block_on(transform.accumulate(rows, groups));
    assert!(again.unwrap_err().to_string().contains("given up"));
}

/// Finishes groups with these sums, and says which failed.
fn failed(transform: &mut Recovering, sums: Vec<f64>) -> Result<Vec<u32>, CallError> {
    let len = sums.len();
    let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(0..len as i64))];
    let states: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(sums))];
    let groups = Groups {
        keys: &keys,
        states: &states,
        len,
    };
    let finished = futures::executor::block_on(transform.finish(groups, &[]))?;
    Ok(finished.failed.iter().map(|it| it.row).collect())
}

#[test]
fn what_it_is_forgiven_is_not_held_against_it() {
    let mut transform = recovering(1, &Arc::default());
    // On probation, where the first failed call is the end.
    let probation = Arc::new(Probation::new(10, 0));
    transform.windows = Circuit::of_windows(1).on_probation(Some(Arc::clone(&probation)));
    transform.forgive(true);
    for _ in 0..5 {
        let sums = vec![13.0, 1.0, 13.0, 2.0];
        assert_eq!(failed(&mut transform, sums).unwrap(), [0, 2]);
    }
    let lost = Reject {
        row: 0,
        code: "poison:trap".into(),
        detail: "it fails".into(),
    };
    assert!(transform.lose(&lost).is_ok());
    assert!(!probation.leads_back(11));
    transform.forgive(false);
    assert!(failed(&mut transform, vec![13.0, 1.0]).is_err());
    assert!(probation.leads_back(11));
}

#[test]
fn what_is_not_found_out_in_time_of_what_it_is_forgiven_fails() {
    let mut transform = recovering(64, &Arc::default());
    transform.recovery.cpu = Duration::ZERO;
    transform.forgive(true);
    let found = failed(&mut transform, vec![1.0, 13.0, 2.0]).unwrap();
    assert_eq!(found, [0, 1, 2]);
    transform.forgive(false);
    assert_eq!(failed(&mut transform, vec![1.0, 2.0]).unwrap(), [0_u32; 0]);
}
