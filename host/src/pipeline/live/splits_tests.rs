//! How far several splits are together, and where each goes on.

use arrow::array::BinaryArray;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use proptest::prelude::*;

use super::*;
use crate::pipeline::commit::{LaneCommits, Resume};
use crate::pipeline::lane::{LaneBatch, Place, Start};
use crate::source::decode::message::MessageFormat;

const DISORDER: i64 = 10;
const NOW: Duration = Duration::ZERO;

fn spec() -> Arc<LiveSpec> {
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = Schema::new(vec![Field::new("at", at, true)]);
    Arc::new(LiveSpec {
        format: MessageFormat::Json,
        columns: Arc::new(columns),
        message_columns: Vec::new(),
        event_time: 0,
        arrival_time: None,
        max_future: None,
        disorder: DISORDER,
        every_watermark: true,
        stop_on_reject: false,
    })
}

fn messages(split: u32, first: i64, times: &[i64]) -> Messages {
    let values: Vec<String> = times.iter().map(|at| format!("{{\"at\": {at}}}")).collect();
    let count = times.len() as i64;
    Messages {
        split,
        offsets: (first..first + count).collect(),
        timestamps: vec![0; times.len()].into(),
        keys: BinaryArray::from_iter_values(&values),
        values: BinaryArray::from_iter_values(&values),
        headers: None,
    }
}

fn appeared(number: u32, parents: &[u32]) -> Appeared {
    Appeared {
        number,
        name: format!("shard-{number}").into(),
        parents: parents.to_vec(),
        is_closed: false,
    }
}

/// Splits that nobody has read of, all of which are read.
fn begun(count: u32) -> Splits {
    let mut splits = Splits::new(&spec(), vec![SplitCursors::new()], 0);
    for number in 0..count {
        add(&mut splits, number, &[]);
    }
    for number in 0..count {
        start(&mut splits, number);
    }
    splits
}

fn add(splits: &mut Splits, number: u32, parents: &[u32]) {
    let appeared = appeared(number, parents);
    let position = splits.appear(&appeared, Position::Offset(0), NOW).unwrap();
    assert_eq!(position, None);
}

fn start(splits: &mut Splits, number: u32) {
    let told = splits.started(number, Some(Position::Offset(0)));
    assert!(told.is_some());
}

fn read(splits: &mut Splits, number: u32, times: &[i64]) -> LiveBatch {
    let first = splits.at(number).1.position.offset().unwrap();
    let messages = messages(number, first, times);
    assert_eq!(splits.pieces(&messages, None, NOW).len(), 1);
    splits.read(&messages, 0, None).unwrap()
}

proptest! {
    /// At each row it is the least of what each split has seen less the disorder, and rows are counted
    /// over all of them.
    #[test]
    fn the_watermark_is_that_of_the_slowest(
        batches in prop::collection::vec((0_u32..3, prop::collection::vec(0_i64..1_000, 1..6)), 0..30),
    ) {
        let mut splits = begun(3);
        let mut greatest = [i64::MIN; 3];
        let mut count = 0;
        for (number, times) in batches {
            let read = read(&mut splits, number, &times);
            prop_assert_eq!(read.batch.first_sequence, count);
            count += times.len() as u64;
            let watermarks = read.batch.watermarks.unwrap();
            for (time, watermark) in times.iter().zip(watermarks.iter()) {
                let of_split = &mut greatest[number as usize];
                *of_split = (*of_split).max(*time);
                let least = *greatest.iter().min().unwrap();
                let expected = if least == i64::MIN { least } else { least - DISORDER };
                prop_assert_eq!(*watermark, expected);
            }
            prop_assert_eq!(splits.watermark(), read.batch.watermark);
            prop_assert_eq!(Some(&read.batch.watermark), watermarks.last());
        }
    }
}

#[test]
fn children_go_on_where_their_parents_ended() {
    let mut splits = begun(2);
    read(&mut splits, 0, &[100]);
    read(&mut splits, 1, &[500]);
    assert_eq!(splits.watermark(), 90);
    let last = splits.finished(0);
    assert_eq!(last.position, Position::Shard(ShardCursor::Finished));
    // Nobody knows yet what comes behind it.
    splits.ended(1, None);
    assert!(!splits.have_caught_up());
    read(&mut splits, 1, &[600]);
    assert_eq!(splits.watermark(), 90);
    add(&mut splits, 2, &[0]);
    add(&mut splits, 3, &[0]);
    start(&mut splits, 2);
    let told = splits.started(3, Some(Position::Offset(0))).unwrap();
    assert_eq!(
        (told.greatest, told.began),
        (100, Some(Position::Offset(0)))
    );
    read(&mut splits, 2, &[300]);
    assert_eq!(
        splits.watermark(),
        90,
        "the other child has still got nothing"
    );
    read(&mut splits, 3, &[200]);
    assert_eq!(splits.watermark(), 190);
    splits.ended(2, None);
    assert!(!splits.have_caught_up());
    splits.ended(3, None);
    assert!(splits.have_caught_up());
    // Two that are merged: the child goes on from the slower one.
    add(&mut splits, 4, &[2, 1]);
    splits.finished(1);
    assert_eq!(splits.watermark(), 190);
    splits.finished(2);
    let told = splits.started(4, Some(Position::Offset(0))).unwrap();
    assert_eq!(told.greatest, 300);
    read(&mut splits, 3, &[700]);
    assert_eq!(splits.watermark(), 290);
}

#[test]
fn those_that_are_idle_hold_nobody_up() {
    let after = Duration::from_secs(5);
    let seconds = Duration::from_secs;
    let mut splits = begun(3);
    read(&mut splits, 0, &[100]);
    read(&mut splits, 1, &[200]);
    assert_eq!(splits.watermark(), i64::MIN, "one has given nothing at all");
    assert!(
        !splits.idle(&[(2, seconds(4))], after, true),
        "not for long enough"
    );
    assert!(splits.idle(&[(2, seconds(5))], after, true));
    assert_eq!(splits.watermark(), 90);
    // What comes late of it comes late; time does not go back for it.
    let late = read(&mut splits, 2, &[20, 95]);
    assert_eq!(late.batch.watermarks.unwrap()[..], [90, 90]);
    read(&mut splits, 2, &[300]);
    assert_eq!(splits.watermark(), 90);
    let all: Vec<_> = (0..3).map(|number| (number, seconds(9))).collect();
    assert!(splits.idle(&all, after, true));
    assert_eq!(splits.watermark(), 300);
    assert!(!splits.idle(&all, after, true), "it is there already");
    // Where the pipeline does not say so, it stays when all are idle.
    let mut splits = begun(1);
    read(&mut splits, 0, &[100]);
    assert!(!splits.idle(&[(0, seconds(9))], after, false));
    assert_eq!(splits.watermark(), 90);
    // They may all be seen to be so at once: it goes to where the last of them was.
    let mut splits = begun(3);
    read(&mut splits, 0, &[100]);
    read(&mut splits, 2, &[300]);
    let messages = messages(0, 1, &[200]);
    splits.pieces(&messages, None, seconds(1));
    splits.read(&messages, 0, None).unwrap();
    assert!(splits.idle(&all, after, false));
    assert_eq!(splits.watermark(), 190);
}

fn lane(cursors: &[(u32, i64)]) -> SplitCursors {
    let cursors = cursors.iter().map(|(number, next)| {
        let cursor = SplitCursor {
            position: Position::Offset(*next),
            ..SplitCursor::beginning(Position::Offset(2))
        };
        (format!("shard-{number}").into(), cursor)
    });
    cursors.collect()
}

#[test]
fn what_one_lane_had_counted_is_cut_from_what_others_had() {
    let lanes = vec![
        lane(&[(0, 5), (1, 3), (7, 1)]),
        lane(&[(0, 9), (7, 1)]),
        lane(&[(0, 7), (1, 4)]),
    ];
    let mut splits = Splits::new(&spec(), lanes, 40);
    let mut appear = |number, parents: &[u32]| {
        let split = appeared(number, parents);
        splits.appear(&split, Position::Offset(0), NOW).unwrap()
    };
    assert_eq!(appear(0, &[]), Some(Position::Offset(5)));
    // One lane does not know of it, and begins where the others had begun.
    assert_eq!(appear(1, &[]), Some(Position::Offset(2)));
    assert_eq!(appear(2, &[]), None);
    assert_eq!(splits.gone(), ["shard-7".into()]);
    assert!(splits.started(0, Some(Position::Offset(5))).is_none());
    let told = splits.started(1, Some(Position::Offset(2))).unwrap();
    assert_eq!(told.position, Position::Offset(2));
    let mut pieces = |split, first, count| {
        let messages = messages(split, first, &vec![1; count]);
        splits.pieces(&messages, None, NOW)
    };
    assert_eq!(pieces(0, 5, 3), [0..2, 2..3]);
    assert_eq!(pieces(0, 8, 3), [0..1, 1..3]);
    assert_eq!(pieces(0, 11, 3).len(), 1);
    assert_eq!(pieces(1, 2, 4), [0..1, 1..2, 2..4]);
    let read = splits.read(&messages(0, 5, &[1, 2]), 0, None).unwrap();
    assert_eq!(read.batch.first_sequence, 40);
}

/// A lane as far as it matters here: what it has judged by its last commit, and by now.
#[derive(Clone, Default)]
struct Judging {
    /// Rows by their numbers, in the order in which they were judged.
    rows: Vec<i64>,
    watermark: Option<i64>,
    splits: SplitCursors,
}

impl Judging {
    fn watermark(&self) -> i64 {
        self.watermark.unwrap_or(i64::MIN)
    }

    fn take(&mut self, commits: &mut LaneCommits, batch: &LiveBatch, place: &Place) {
        let source = batch.batch.clone();
        let first = source.first_sequence;
        let batch = LaneBatch {
            sequences: first..first + source.rows.num_rows() as u64,
            rows: source.rows,
            event_times: source.event_times,
            watermarks: source.watermarks,
            picked: None,
            source_row: None,
            origins: Arc::new(source.origins),
            watermark: source.watermark,
            place: Some(place.clone()),
            unreached: None,
        };
        let Some(mut batch) = commits.left(batch, self.watermark()) else {
            return;
        };
        batch.not_before(self.watermark());
        for watermark in batch.watermarks.iter().flatten() {
            assert!(*watermark >= self.watermark());
        }
        self.rows.extend(batch.event_times.iter());
        self.watermark = Some(batch.watermark);
        if let Some(place) = &batch.place {
            let after = place.after.clone().unwrap();
            self.splits.insert(Arc::clone(&place.split), after);
        }
        commits.judged(batch.sequences.end, batch.place);
    }
}

/// Of each split the rows are its number, times a thousand, and what follows.
fn row(split: u32, offset: i64) -> i64 {
    i64::from(split) * 1_000 + offset
}

proptest! {
    /// Lanes commit when they like, and all of them are killed at times: each has judged every row once, in
    /// the order of its split.
    #[test]
    fn whatever_lanes_had_committed_each_row_counts_once(
        runs in prop::collection::vec(
            prop::collection::vec((0_u32..3, 1_usize..5, prop::collection::vec(any::<bool>(), 3)), 0..12),
            1..6,
        ),
        lengths in prop::collection::vec(1_i64..20, 3),
    ) {
        let mut committed = vec![Judging::default(); 3];
        let everything = |split: u32| (0..20).map(move |_| (split, 4, vec![true; 3]));
        let everything: Vec<_> = (0..3).flat_map(everything).collect();
        for steps in runs.into_iter().chain([everything]) {
            let kept = committed.iter().map(|lane| lane.splits.clone()).collect();
            let mut splits = Splits::new(&spec(), kept, 0);
            let mut lanes: Vec<_> = committed.iter().map(|lane| {
                let resume = Resume { splits: lane.splits.clone(), ..Resume::default() };
                (lane.clone(), LaneCommits::new(None, resume, None))
            }).collect();
            let mut next = BTreeMap::new();
            for split in 0..3 {
                let position = splits.appear(&appeared(split, &[]), Position::Offset(0), NOW);
                let position = position.unwrap().and_then(|position| position.offset());
                next.insert(split, position.unwrap_or(0));
            }
            for split in 0..3 {
                splits.started(split, Some(Position::Offset(next[&split])));
            }
            for (split, count, commits) in steps {
                let first = next[&split];
                let end = (first + count as i64).min(lengths[split as usize]);
                let times: Vec<i64> = (first..end).map(|offset| row(split, offset)).collect();
                next.insert(split, end.max(first));
                let all = messages(split, first, &times);
                for piece in splits.pieces(&all, None, NOW) {
                    let piece = all.slice(piece.start, piece.len());
                    let read = splits.read(&piece, 0, None).unwrap();
                    let place = Place {
                        split: Arc::clone(splits.at(split).0),
                        start: Start::At(Placed::spot(None, piece.offsets[0])),
                        after: Some(read.cursor.clone()),
                        greatest: i64::MIN,
                        placed: None,
                    };
                    for (lane, commits) in &mut lanes {
                        lane.take(commits, &read, &place);
                    }
                }
                for (number, commits) in commits.into_iter().enumerate() {
                    if commits {
                        committed[number] = lanes[number].0.clone();
                    }
                }
            }
        }
        for lane in &committed {
            for split in 0..3 {
                let of_split = lane.rows.iter().copied().filter(|row| row / 1_000 == i64::from(split));
                let expected = (0..lengths[split as usize]).map(|offset| row(split, offset));
                prop_assert!(of_split.eq(expected), "{:?}", lane.rows);
            }
            // A lane that had judged a split before it was read again may be behind, until progress is told.
            prop_assert!(lane.watermark() <= row(0, lengths[0] - 1) - 10, "{:?}", lane.watermark);
        }
    }
}
