//! What a transform tells the operator: figures and lines.

use std::sync::{Arc, Mutex};

use arrow::array::{Float64Array, StringArray};
use penstock::sandbox::Component;
use penstock::transform::{Mapper, Windowed};

use super::super::oracle::States;
use super::super::values::Batch;
use super::super::{mapper, window};
use super::accumulate;
use crate::support::HOST;
use crate::support::random::Columns;

pub(in super::super) fn figures_are_counted_once(guest: &Component) {
    // A reject after them makes an SDK that computes states anew do so: what it counts then counts once all the same.
    let commands = [(0, "count"), (1, "log"), (2, "count"), (4, "reject")];
    let batch = Batch::random(&mut Columns::new(16), 5, 0)
        .with(
            "float64",
            Arc::new(Float64Array::from(vec![1.5, 0.0, 2.5, 0.0, 0.0])),
        )
        .commanded(&commands);
    let mut transform = window(guest);
    accumulate(&mut transform, &batch, &[0; 5], &States::initial(1).columns).unwrap();
    counted(&transform.figures());
    let mut mapper = mapper(guest);
    HOST.lanes.block_on(mapper.map(&batch.columns, 5)).unwrap();
    counted(&mapper.figures());
}

pub(in super::super) fn lines_are_written_once(guest: &Component) {
    let commands = [(0, "log"), (1, "reject"), (2, "log"), (3, "reject")];
    let texts = StringArray::from(vec![Some("first \u{1f980}"), None, None, None]);
    let batch = Batch::random(&mut Columns::new(22), 4, 0)
        .with("utf8", Arc::new(texts))
        .commanded(&commands);
    let mut transform = window(guest);
    let states = States::initial(1).columns;
    let lines = lines(|| drop(accumulate(&mut transform, &batch, &[0; 4], &states).unwrap()));
    assert_eq!(lines, ["INFO hello first \u{1f980}", "INFO hello nothing"]);
    let mut mapper = mapper(guest);
    let mapping = || drop(HOST.lanes.block_on(mapper.map(&batch.columns, 4)).unwrap());
    assert_eq!(self::lines(mapping), lines);
}

/// What transforms log meanwhile, each line with its level.
fn lines(work: impl FnOnce()) -> Vec<String> {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let written = written.0.lock().unwrap();
    let text = String::from_utf8(written.clone()).unwrap();
    let of_transforms = text
        .lines()
        .filter_map(|line| line.split_once(" transform: "));
    of_transforms
        .map(|(level, line)| {
            // The name of the transform stands behind the line.
            let line = line.split(" transform=").next().unwrap();
            format!("{} {line}", level.trim())
        })
        .collect()
}

/// Where lines go.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[track_caller]
fn counted(figures: &penstock::transform::Figures) {
    assert_eq!(figures.counts.get("rows_counted"), Some(&2));
    let seen = &figures.observations["float64_seen"];
    assert_eq!((seen.count, seen.sum), (2, 4.0));
    assert_eq!((figures.clock_reads, figures.random_reads), (0, 0));
}
