//! Windows that a version could not finish, tried again by the next one: what holds in the end is what that one would
//! have given from the start.

use std::collections::BTreeMap;

use futures::executor::block_on;
use proptest::prelude::*;

use super::super::{
    Calls, Codec, Emission, RowBatch, Sequences, Shape, Unfinished, UnfinishedCounts, Windows,
};
use super::failing::{Collected, Fails, Fragile, Row, column, hopping, others, rows, schema, spec};
use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType, UInt32Type};

/// What is kept, by its bytes.
type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

/// Windows at work, with what is kept of those that failed.
struct Lane {
    windows: Windows,
    calls: Calls,
    out: Collected,
    kept: Kept,
    watermark: i64,
    revises: bool,
}

impl Lane {
    fn new(shape: &Shape, fails: Fails, most: u64) -> Self {
        let mut calls = Calls::new(Box::new(Fragile(fails)), 1 << 20, 5);
        let codec = Codec::new(&schema("key"), &schema("sum")).unwrap();
        calls.keep_unfinished(Unfinished::new(codec, "first", most));
        Self {
            windows: Windows::new(shape, &schema("key"), &spec()).unwrap(),
            calls,
            out: Collected::default(),
            kept: Kept::new(),
            watermark: i64::MIN,
            revises: shape.revises(),
        }
    }

    /// Takes rows whose watermark is behind by 3.
    fn take(&mut self, rows: &[Row]) {
        let watermarks = rows.iter().map(|(_, time, _)| {
            self.watermark = self.watermark.max(time - 3);
            self.watermark
        });
        let batch = RowBatch {
            watermarks: Some(watermarks.collect()),
            input: column(rows.iter().map(|row| row.2)),
            keys: column(rows.iter().map(|row| row.0)),
            event_times: rows.iter().map(|row| row.1).collect(),
            sequences: Sequences::From(0),
            watermark: self.watermark,
            next_sequence: rows.len() as u64,
            partials: None,
        };
        block_on(self.windows.batch(&batch, &mut self.calls, &mut self.out)).unwrap();
        self.commit();
    }

    fn end(&mut self) {
        block_on(self.windows.end(&mut self.calls, &mut self.out)).unwrap();
        self.commit();
    }

    fn commit(&mut self) {
        for (key, value) in self.calls.unfinished().unwrap().changes() {
            match value {
                Some(value) => drop(self.kept.insert(key, value)),
                None => drop(self.kept.remove(&key)),
            }
        }
        let kept = self.counts().kept;
        assert_eq!(kept == 0, self.kept.is_empty());
    }

    /// Goes over to a transform that fails so.
    fn switch(&mut self, digest: &str, fails: Fails) {
        self.calls.replace(Box::new(Fragile(fails)));
        self.calls.unfinished().unwrap().set_transform(digest);
        block_on(self.windows.mend(&mut self.calls)).unwrap();
        let unfinished = self.calls.unfinished().unwrap();
        let encoded = self.kept.iter().map(|(key, value)| (&key[..], &value[..]));
        let found = unfinished.codec().decode_unfinished(encoded).unwrap();
        let again = found.only(&unfinished.found(&found).unwrap()).unwrap();
        let tried = (self.windows).try_again(&again, &mut self.calls, &mut self.out);
        block_on(tried).unwrap();
        self.commit();
    }

    fn counts(&self) -> UnfinishedCounts {
        self.calls.unfinished_counts()
    }

    /// What stands in the end: of each window its last row that is no failure, if that was not withdrawn.
    fn stands(&self) -> BTreeMap<Window, i64> {
        let mut stands = BTreeMap::new();
        for emission in &self.out.0 {
            for (window, told) in told_of(emission, self.revises) {
                match told {
                    Told::Sum(sum) => drop(stands.insert(window, sum)),
                    Told::Withdrawn => drop(stands.remove(&window)),
                    Told::Failed => {}
                }
            }
        }
        stands
    }
}

/// A length, a key, a start and an end.
type Window = (usize, i64, i64, i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Sum(i64),
    Withdrawn,
    Failed,
}

fn told_of(emission: &Emission, revises: bool) -> Vec<(Window, Told)> {
    let rows = &emission.rows;
    let instant = |at: usize| rows.column(at).as_primitive::<TimestampMicrosecondType>();
    let sums = rows
        .column(rows.num_columns() - 1)
        .as_primitive::<Int64Type>();
    let told = (0..rows.num_rows()).map(|row| {
        let key = rows.column(0).as_primitive::<Int64Type>().value(row);
        let window = (
            emission.length,
            key,
            instant(1).value(row),
            instant(2).value(row),
        );
        let is_failed = (emission.failed.as_ref()).is_some_and(|failed| failed.is_failed(row));
        let is_withdrawn = revises && rows.column(4).as_boolean().value(row);
        let told = match (is_failed, is_withdrawn) {
            (true, _) => Told::Failed,
            (_, true) => Told::Withdrawn,
            _ => Told::Sum(sums.value(row)),
        };
        (window, told)
    });
    told.collect()
}

/// Runs rows through one version up to a place, and through another one from there on.
fn swapped(shape: &Shape, rows: &[Row], at: usize, fails: Fails) -> Lane {
    let mut lane = Lane::new(shape, fails, 1 << 20);
    let (before, after) = rows.split_at(at.min(rows.len()));
    before.chunks(3).for_each(|rows| lane.take(rows));
    lane.switch("second", Fails::Nowhere);
    assert!(lane.kept.is_empty(), "nothing fails any more");
    after.chunks(3).for_each(|rows| lane.take(rows));
    lane.end();
    lane
}

fn sound(shape: &Shape, rows: &[Row]) -> Lane {
    let mut lane = Lane::new(shape, Fails::Nowhere, 1 << 20);
    rows.chunks(3).for_each(|rows| lane.take(rows));
    lane.end();
    lane
}

proptest! {
    #![proptest_config(super::cases(80))]

    #[test]
    fn in_the_end_windows_are_as_if_the_second_version_had_been_the_first(
        rows in rows(),
        at in 0..60_usize,
        lateness in prop_oneof![Just(0), Just(6)],
    ) {
        let shape = hopping(lateness);
        let expected = sound(&shape, &rows);
        for fails in [Fails::Merge, Fails::Finish] {
            let lane = swapped(&shape, &rows, at, fails);
            prop_assert_eq!(lane.stands(), expected.stands());
            prop_assert_eq!(lane.counts().tried, lane.counts().finished);
        }
    }

    #[test]
    fn in_the_end_sessions_are_as_if_the_second_version_had_been_the_first(
        rows in rows(),
        at in 0..60_usize,
    ) {
        let [plain, corrected, _] = others();
        for shape in [plain, corrected] {
            let lane = swapped(&shape, &rows, at, Fails::Finish);
            prop_assert_eq!(lane.stands(), sound(&shape, &rows).stands());
        }
    }

    /// Of values without end the last of each key holds.
    #[test]
    fn in_the_end_values_are_as_if_the_second_version_had_been_the_first(
        rows in rows(),
        at in 0..60_usize,
    ) {
        let [.., shape] = others();
        let lasts = |lane: &Lane| {
            let lasts = lane.stands().into_iter().map(|((_, key, _, end), sum)| ((key, end), sum));
            let lasts: BTreeMap<(i64, i64), i64> = lasts.collect();
            lasts.into_iter().map(|((key, end), sum)| (key, (end, sum))).collect::<BTreeMap<_, _>>()
        };
        let lane = swapped(&shape, &rows, at, Fails::Finish);
        prop_assert_eq!(lasts(&lane), lasts(&sound(&shape, &rows)));
    }
}

/// A row of each of some keys that cannot be finished, and one that closes their windows.
fn bad_rows(keys: i64) -> Vec<Row> {
    let mut rows: Vec<Row> = (0..keys).map(|key| (key, 100, 1_000)).collect();
    rows.push((keys, 200, 1));
    rows
}

#[test]
fn what_fails_again_waits_for_the_version_after() {
    let mut lane = Lane::new(&hopping(0), Fails::Finish, 1 << 20);
    lane.take(&bad_rows(3));
    let kept = lane.counts().kept;
    assert!(kept > 3, "each key has several windows");
    let emitted = lane.out.0.len();
    lane.switch("first", Fails::Finish);
    assert_eq!(
        lane.out.0.len(),
        emitted,
        "by the same version nothing is tried"
    );
    lane.switch("second", Fails::Finish);
    assert_eq!(
        (
            lane.counts().kept,
            lane.counts().tried,
            lane.counts().finished
        ),
        (kept, kept, 0)
    );
    assert!(lane.stands().keys().all(|(_, key, ..)| *key == 3));
    lane.switch("second", Fails::Nowhere);
    assert_eq!(lane.counts().kept, kept, "that is the version that failed");
    lane.switch("third", Fails::Nowhere);
    assert_eq!((lane.counts().kept, lane.counts().finished), (0, kept));
    lane.end();
    let expected = sound(&hopping(0), &bad_rows(3));
    assert_eq!(lane.stands(), expected.stands());
}

#[test]
fn no_more_is_kept_than_there_is_room_for() {
    let mut lane = Lane::new(&hopping(0), Fails::Finish, 1_000);
    lane.take(&bad_rows(50));
    let bytes: usize = lane
        .kept
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    assert!((500..=1_000).contains(&bytes), "{bytes}");
    let counts = lane.counts();
    assert!(counts.kept > 0 && counts.dropped > 0);
    lane.switch("second", Fails::Nowhere);
    // There is room again.
    lane.switch("third", Fails::Finish);
    lane.take(&[(7, 300, 1_000), (8, 400, 1)]);
    assert!(lane.counts().kept > 0);
}

#[test]
fn a_row_that_corrects_a_window_takes_the_place_of_what_is_kept() {
    let shape = hopping(50);
    let mut lane = Lane::new(&shape, Fails::Finish, 1 << 20);
    lane.take(&[(0, 100, 1_000), (1, 120, 1)]);
    let kept = lane.counts().kept;
    assert!(kept > 0);
    // It fails with this row, too, and what is kept has it.
    lane.take(&[(0, 101, 5)]);
    assert_eq!(lane.counts().kept, kept);
    // With this one it does not.
    lane.take(&[(0, 101, -900)]);
    assert_eq!(lane.counts().kept, 0);
    assert!(lane.kept.is_empty());
}

#[test]
fn a_session_that_goes_on_or_joins_another_leaves_nothing_of_what_it_was() {
    let [_, shape, _] = others();
    let mut lane = Lane::new(&shape, Fails::Finish, 1 << 20);
    lane.take(&[(0, 100, 1_000), (1, 108, 1)]);
    assert_eq!(lane.counts().kept, 1);
    // It goes on beyond the watermark.
    lane.take(&[(0, 103, 1)]);
    assert_eq!(lane.counts().kept, 0);
    lane.take(&[(1, 112, 1)]);
    assert_eq!(lane.counts().kept, 1);
    // Two become one.
    lane.take(&[(0, 109, 1), (0, 106, 1)]);
    lane.take(&[(1, 130, 1)]);
    let found = lane.calls.unfinished().unwrap().codec();
    let encoded = lane.kept.iter().map(|(key, value)| (&key[..], &value[..]));
    let found = found.decode_unfinished(encoded).unwrap();
    let bounds: Vec<(i64, i64)> = found.windows.iter().map(|window| window.bounds).collect();
    assert_eq!(bounds, [(100, 113)]);
}

#[test]
fn revisions_go_on_where_they_were() {
    let mut lane = Lane::new(&hopping(50), Fails::Finish, 1 << 20);
    lane.take(&[(0, 100, 1_000), (1, 120, 1)]);
    lane.switch("second", Fails::Nowhere);
    lane.take(&[(0, 101, 5)]);
    let mut revisions: BTreeMap<Window, Vec<u32>> = BTreeMap::new();
    for emission in &lane.out.0 {
        let numbers = emission.rows.column(3).as_primitive::<UInt32Type>();
        for ((window, _), number) in told_of(emission, true).into_iter().zip(numbers.values()) {
            revisions.entry(window).or_default().push(*number);
        }
    }
    let of_first = revisions.iter().filter(|((_, key, ..), _)| *key == 0);
    for (window, numbers) in of_first {
        assert_eq!(numbers, &[0, 1, 2], "{window:?}");
    }
}

#[test]
fn what_is_damaged_is_told() {
    let mut lane = Lane::new(&hopping(0), Fails::Finish, 1 << 20);
    lane.take(&bad_rows(1));
    let codec = lane.calls.unfinished().unwrap().codec();
    let pairs: Vec<_> = lane.kept.iter().collect();
    let decode = |pairs: &[(&[u8], &[u8])]| codec.decode_unfinished(pairs.iter().copied());
    let whole: Vec<(&[u8], &[u8])> = pairs.iter().map(|(k, v)| (&k[..], &v[..])).collect();
    assert!(decode(&whole).is_ok());
    let (key, value) = whole[0];
    // What it is, and the number of the state.
    for end in 0..18 {
        assert!(decode(&[(&key[..end], value)]).is_err(), "{end}");
    }
    for end in 0..50 {
        assert!(decode(&[(key, &value[..end])]).is_err(), "{end}");
    }
}
