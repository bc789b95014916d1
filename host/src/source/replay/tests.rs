//! The replay against a plain merge of the same lines: order, watermarks, what is left out and why.

use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::source::{ReadProgress, SourceBatch};
use crate::stage::Stage;

/// A recording in memory, which may break off.
#[derive(Debug)]
struct Memory {
    name: String,
    bytes: Bytes,
    breaks: bool,
}

impl Recording for Memory {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn stream(&self) -> io::Result<Box<dyn Read + Send>> {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let bytes = io::Cursor::new(self.bytes.clone());
        Ok(match self.breaks {
            true => Box::new(bytes.chain(Broken)),
            false => Box::new(bytes),
        })
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        Ok(self.bytes.slice(offset as usize..offset as usize + length))
    }
}

/// A line of a recording.
#[derive(Debug, Clone, Copy)]
enum Line {
    Row { time: i64, arrival: Option<i64> },
    NoTime,
    Malformed,
}

fn recordings(splits: &[Vec<Line>]) -> Vec<Arc<dyn Recording>> {
    let splits = splits.iter().enumerate();
    let recordings = splits.map(|(split, lines)| {
        let lines = lines.iter().map(|line| match line {
            Line::Row {
                time,
                arrival: None,
            } => format!("{{\"t\":{time}}}\n"),
            Line::Row {
                time,
                arrival: Some(arrival),
            } => {
                format!("{{\"t\":{time},\"a\":{arrival}}}\n")
            }
            Line::NoTime => "{\"a\":1}\n".to_owned(),
            Line::Malformed => "{oops\n".to_owned(),
        });
        Arc::new(Memory {
            name: format!("{split}.ndjson"),
            bytes: lines.collect::<String>().into(),
            breaks: false,
        }) as Arc<dyn Recording>
    });
    recordings.collect()
}

fn spec(recordings: Vec<Arc<dyn Recording>>, batch_rows: usize) -> ReplaySpec {
    let time = |name: &str| {
        Field::new(
            name,
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        )
    };
    ReplaySpec {
        recordings,
        format: Format::Ndjson,
        columns: Arc::new(Schema::new(vec![time("t"), time("a")])),
        event_time: 0,
        arrival_time: Some(1),
        max_future: None,
        range: TimeRange::ALL,
        pace: None,
        disorder: 0,
        batch_rows,
        every_watermark: false,
        stop_on_reject: false,
    }
}

/// What came out: rows as (split, position, time, watermark), rejects as (sequence, split, position, stage).
#[derive(Debug, Default, PartialEq)]
struct Seen {
    rows: Vec<(u32, u64, i64, i64)>,
    rejects: Vec<(u64, u32, u64, Stage)>,
    watermark: Option<i64>,
    summary: ReplaySummary,
}

impl Seen {
    fn take(&mut self, batch: &SourceBatch) {
        assert_eq!(batch.first_sequence, self.rows.len() as u64);
        let times = arrow::compute::cast(batch.rows.column(0), &DataType::Int64).unwrap();
        let times = times.as_primitive::<Int64Type>().values();
        assert_eq!(times, &batch.event_times);
        for (row, time) in times.iter().enumerate() {
            let origin = batch.origins.of(row as u32);
            // Where no row is behind the last watermark, nobody is told the one at each row.
            let at = batch.watermarks.as_ref().map_or(i64::MIN, |all| all[row]);
            self.rows.push((origin.split, origin.position, *time, at));
        }
        let rejects = batch.rejects.iter();
        self.rejects.extend(rejects.map(|reject| {
            let origin = reject.origin;
            (reject.sequence, origin.split, origin.position, reject.stage)
        }));
        self.watermark = Some(batch.watermark);
    }
}

fn replay(spec: ReplaySpec) -> Result<Seen, ReplayError> {
    let mut replay = Replay::open(spec, Arc::new(ReadProgress::default()))?;
    let mut seen = Seen::default();
    while let Some(batch) = replay.next_batch()? {
        seen.take(&batch);
    }
    seen.summary = replay.summary();
    Ok(seen)
}

/// The same, line by line.
fn plain(splits: &[Vec<Line>], spec: &ReplaySpec) -> Seen {
    let mut seen = Seen::default();
    let mut kept: Vec<Vec<(u64, i64)>> = vec![Vec::new(); splits.len()];
    let mut greatest = vec![i64::MIN; splits.len()];
    let mut next = vec![0; splits.len()];
    for (split, lines) in splits.iter().enumerate() {
        for (position, line) in (1..).zip(lines) {
            let stage = match *line {
                Line::Malformed => Stage::Decode,
                Line::NoTime => Stage::EventTime,
                Line::Row { time, .. } if !spec.range.holds(time) => {
                    seen.summary.skipped += 1;
                    continue;
                }
                Line::Row {
                    time,
                    arrival: Some(arrival),
                } if spec.max_future.is_some_and(|most| time > arrival + most) => Stage::Quarantine,
                Line::Row { time, .. } => {
                    kept[split].push((position, time));
                    continue;
                }
            };
            seen.rejects.push((0, split as u32, position, stage));
        }
    }
    let mut watermark = i64::MIN;
    loop {
        let live = |split: usize, next: &[usize]| kept[split].get(next[split]).copied();
        for (split, greatest) in greatest.iter_mut().enumerate() {
            if let Some((_, time)) = live(split, &next) {
                *greatest = (*greatest).max(time);
            }
        }
        let heads = (0..splits.len()).filter_map(|split| Some((live(split, &next)?.1, split)));
        let Some((time, split)) = heads.min() else {
            break;
        };
        let live = (0..splits.len()).filter(|split| live(*split, &next).is_some());
        let least = live.map(|split| greatest[split]).min().unwrap();
        watermark = watermark.max(least - spec.disorder);
        let position = kept[split][next[split]].0;
        seen.rows.push((split as u32, position, time, watermark));
        next[split] += 1;
    }
    seen.watermark = Some(watermark);
    seen
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let line = prop_oneof![
        12 => (0_i64..200, prop::option::of(0_i64..200))
            .prop_map(|(time, arrival)| Line::Row { time, arrival }),
        1 => Just(Line::NoTime),
        1 => Just(Line::Malformed),
    ];
    prop::collection::vec(line, 0..40)
}

proptest! {
    #[test]
    fn it_is_a_plain_merge_of_what_is_wanted(
        splits in prop::collection::vec(lines(), 1..5),
        batch_rows in 1_usize..50,
        disorder in 0_i64..30,
        range in prop::option::of((0_i64..200, 1_i64..100)),
        max_future in prop::option::of(0_i64..100),
    ) {
        let mut spec = spec(recordings(&splits), batch_rows);
        spec.disorder = disorder;
        spec.max_future = max_future;
        spec.every_watermark = true;
        spec.range = range.map_or(TimeRange::ALL, |(from, length)| TimeRange { from, to: from + length });
        let expected = plain(&splits, &spec);
        let mut found = replay(spec).unwrap();
        prop_assert_eq!(found.summary.skipped, expected.summary.skipped);
        if !expected.rows.is_empty() {
            prop_assert_eq!(found.watermark, expected.watermark);
        }
        prop_assert_eq!(&found.rows, &expected.rows);
        prop_assert!(found.rejects.is_sorted_by_key(|reject| reject.0));
        // Each stands between the rows of its split.
        for (sequence, split, position, _) in &mut found.rejects {
            let before = found.rows[..*sequence as usize].iter();
            prop_assert!(before.filter(|row| row.0 == *split).all(|row| row.1 < *position));
            let after = found.rows[*sequence as usize..].iter();
            prop_assert!(after.filter(|row| row.0 == *split).all(|row| row.1 > *position));
            *sequence = 0;
        }
        found.rejects.sort_unstable_by_key(|reject| (reject.1, reject.2));
        prop_assert_eq!(found.rejects, expected.rejects);
    }
}

fn rows(times: &[i64]) -> Vec<Line> {
    let rows = times.iter();
    rows.map(|time| Line::Row {
        time: *time,
        arrival: None,
    })
    .collect()
}

#[test]
fn a_row_of_the_future_does_not_move_the_watermark_and_says_both_times() {
    let line = |time, arrival| Line::Row { time, arrival };
    let lines = vec![
        line(1_000_000, Some(1_000_000)),
        line(9_000_000, Some(2_000_000)),
        line(3_000_000, Some(2_000_000)),
        line(8_000_000, None),
    ];
    let mut spec = spec(recordings(&[lines]), 10);
    spec.max_future = Some(1_000_000);
    spec.stop_on_reject = true;
    let mut replay = Replay::open(spec, Arc::default()).unwrap();
    let batch = replay.next_batch().unwrap().unwrap();
    assert_eq!(*batch.event_times, [1_000_000, 3_000_000, 8_000_000]);
    let [reject] = batch.rejects.as_slice() else {
        panic!("one row came too early");
    };
    assert_eq!(
        (reject.stage, reject.code.as_str()),
        (Stage::Quarantine, "too_far_in_future")
    );
    assert_eq!((reject.sequence, reject.origin.position), (1, 2));
    let both = ["1970-01-01T00:00:09Z", "1970-01-01T00:00:02Z"];
    assert!(
        both.iter().all(|time| reject.detail.contains(time)),
        "{}",
        reject.detail
    );
    assert!(
        reject.record.contains("1970-01-01T00:00:09"),
        "{}",
        reject.record
    );
}

#[test]
fn the_split_that_the_watermark_follows_from_is_named() {
    let splits = [rows(&[1, 200, 300]), rows(&[1, 3, 900, 70])];
    let mut replay = Replay::open(spec(recordings(&splits), 2), Arc::default()).unwrap();
    let mut followed = Vec::new();
    while replay.next_batch().unwrap().is_some() {
        let split = replay.summary().watermark_split.unwrap();
        followed.push((split.name, split.behind));
    }
    // The other file's next row counts as seen.
    assert_eq!(followed[0], ("1.ndjson".into(), 199));
    assert!(followed.contains(&("0.ndjson".into(), 700)), "{followed:?}");
    assert_eq!(followed.last().unwrap(), &("1.ndjson".into(), 0));
    let one = replay_one();
    assert_eq!(one.watermark_split, None, "there is nothing to tell apart");
}

fn replay_one() -> ReplaySummary {
    replay(spec(recordings(&[rows(&[1, 2])]), 10))
        .unwrap()
        .summary
}

#[test]
fn an_error_comes_after_the_rows_before_it() {
    let text = "{\"t\":1}\n{\"t\":2}\n";
    let broken = Memory {
        name: "broken.ndjson".into(),
        bytes: text.into(),
        breaks: true,
    };
    let mut all = recordings(&[rows(&[1, 2, 3, 4])]);
    all.push(Arc::new(broken));
    let mut replay = Replay::open(spec(all, 1), Arc::default()).unwrap();
    let mut seen = Seen::default();
    let error = loop {
        match replay.next_batch() {
            Ok(batch) => seen.take(&batch.expect("it breaks before the end")),
            Err(error) => break error.to_string(),
        }
    };
    let rows: Vec<_> = seen.rows.iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(rows, [(0, 1), (1, 1), (0, 2), (1, 2)]);
    assert!(
        error.contains("broken.ndjson") && error.contains("the disk is gone"),
        "{error}"
    );
}

#[test]
fn stopping_early_leaves_nothing_open() {
    let times: Vec<i64> = (0..100_000).collect();
    let all = recordings(&[rows(&times), rows(&times), rows(&times)]);
    let mut replay = Replay::open(spec(all.clone(), 100), Arc::default()).unwrap();
    replay.next_batch().unwrap().unwrap();
    drop(replay);
    for recording in all {
        assert_eq!(Arc::strong_count(&recording), 1, "only this test has it");
    }
}

/// A clock that stands still but for those who wait.
#[derive(Debug, Default)]
struct Waited {
    now: Mutex<Duration>,
    waits: Mutex<Vec<Duration>>,
    /// The wait at which a stop comes.
    stop_at: Option<usize>,
}

impl Clock for Waited {
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn wait(&self, until: Duration, stop: &AtomicBool) {
        let mut waits = self.waits.lock().unwrap();
        waits.push(until);
        if self.stop_at == Some(waits.len()) {
            stop.store(true, Ordering::Relaxed);
        } else {
            *self.now.lock().unwrap() = until;
        }
    }
}

#[test]
fn rows_go_when_they_are_due_and_batches_do_not_wait_to_fill() {
    let second = 1_000_000;
    let times = [
        0,
        second,
        second,
        second / 2,
        3 * second,
        3 * second + 4_000,
    ]
    .map(|time| time + 77);
    let clock = Arc::new(Waited::default());
    let mut spec = spec(recordings(&[rows(&times)]), 1000);
    spec.pace = Some(Pace {
        factor: 2.0,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
    });
    let mut replay = Replay::open(spec, Arc::default()).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = replay.next_batch().unwrap() {
        batches.push((clock.now().as_millis(), batch.event_times.len()));
    }
    // The last two are 2 ms apart at this speed, and go together with a grain of 5 ms or one after the other.
    assert_eq!(batches[..2], [(0, 1), (500, 3)]);
    let last: usize = batches[2..].iter().map(|(_, rows)| rows).sum();
    assert_eq!((batches[2].0, last), (1500, 2), "{batches:?}");
}

#[test]
fn a_pace_changes_nothing_but_when() {
    let splits = [rows(&[5, 1_000, 70_000, 20]), rows(&[9_000, 30_000_000, 2])];
    let plain = replay(spec(recordings(&splits), 1000)).unwrap();
    let mut paced = spec(recordings(&splits), 1000);
    paced.pace = Some(Pace {
        factor: 0.5,
        clock: Arc::new(Waited::default()),
    });
    let paced = replay(paced).unwrap();
    let rows = |seen: &Seen| -> Vec<_> { seen.rows.iter().map(|row| (row.0, row.1)).collect() };
    assert_eq!(rows(&paced), rows(&plain));
    assert_eq!(paced.watermark, plain.watermark);
}

#[test]
fn a_stop_ends_the_wait() {
    let clock = Arc::new(Waited {
        stop_at: Some(1),
        ..Waited::default()
    });
    let mut spec = spec(recordings(&[rows(&[0, i64::MAX / 100_000])]), 10);
    spec.pace = Some(Pace {
        factor: 1e-3,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
    });
    let stop = Arc::new(AtomicBool::new(false));
    let mut replay = Replay::open_until(spec, Arc::default(), &stop).unwrap();
    let first = replay.next_batch().unwrap().unwrap();
    assert_eq!(first.event_times.len(), 1);
    let none = replay.next_batch().unwrap().unwrap();
    assert_eq!(none.event_times.len(), 0);
    assert!(stop.load(Ordering::Relaxed));
    assert_eq!(clock.waits.lock().unwrap().len(), 1);
}

/// A recording that gives its first bytes, or not even those, and then nothing for ever.
#[derive(Debug)]
struct Hanging(Option<Bytes>);

impl Recording for Hanging {
    fn name(&self) -> String {
        "hanging.ndjson".into()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(1 << 20)
    }

    fn stream(&self) -> io::Result<Box<dyn Read + Send>> {
        struct Forever;
        impl Read for Forever {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                loop {
                    std::thread::park();
                }
            }
        }
        let first = io::Cursor::new(self.0.clone().unwrap_or_default());
        Ok(Box::new(first.chain(Forever)))
    }

    fn read_at(&self, _: u64, _: usize) -> io::Result<Bytes> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A stop that is asked for once somebody waits.
fn stop_soon() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(20));
        flag.store(true, Ordering::Relaxed);
    });
    stop
}

#[test]
fn a_stop_is_heard_while_a_file_hangs() {
    let all = |recording: Hanging| spec(vec![Arc::new(recording) as Arc<dyn Recording>], 10);
    let opening = all(Hanging(None));
    let stopped = Replay::open_until(opening, Arc::default(), &stop_soon()).err();
    assert!(matches!(stopped, Some(ReplayError::Stopped)), "{stopped:?}");
    let reading = all(Hanging(Some(Bytes::from("{\"t\":1}\n{\"t\":2}\n{\"t\":"))));
    let mut replay = Replay::open_until(reading, Arc::default(), &stop_soon()).unwrap();
    let stopped = loop {
        match replay.next_batch() {
            Ok(batch) => assert!(batch.is_some(), "it has no end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(stopped, ReplayError::Stopped), "{stopped}");
}

#[test]
fn a_stop_is_heard_while_all_rows_are_skipped() {
    let mut spec = spec(recordings(&[rows(&[1, 2, 3, 4, 5])]), 1);
    spec.range.from = 100;
    let stop = Arc::new(AtomicBool::new(false));
    let mut replay = Replay::open_until(spec, Arc::default(), &stop).unwrap();
    stop.store(true, Ordering::Relaxed);
    assert!(matches!(replay.next_batch(), Err(ReplayError::Stopped)));
    assert!(replay.summary().skipped < 5, "it went on to the end");
}

#[test]
fn long_rows_make_small_batches() {
    let line = format!("{{\"t\":1,\"text\":\"{}\"}}\n", "x".repeat(1 << 20));
    let recording: Arc<dyn Recording> = Arc::new(Memory {
        name: "long.ndjson".into(),
        bytes: line.repeat(150).into(),
        breaks: false,
    });
    let mut spec = spec(vec![recording], 10_000);
    let mut fields = spec.columns.fields().to_vec();
    fields.push(Arc::new(Field::new("text", DataType::Utf8, true)));
    spec.columns = Arc::new(Schema::new(fields));
    let mut replay = Replay::open(spec, Arc::default()).unwrap();
    let mut rows = 0;
    while let Some(batch) = replay.next_batch().unwrap() {
        assert!(batch.rows.num_rows() <= 130, "{}", batch.rows.num_rows());
        rows += batch.rows.num_rows();
    }
    assert_eq!(rows, 150);
}
