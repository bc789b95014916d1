//! How far event time has come, split by split.

use std::collections::BTreeSet;

/// The progress of the splits that feed some lanes, and the watermark that follows from it.
///
/// A split's progress is the greatest event time that was seen of it; its watermark is that less
/// the allowed disorder; the watermark of all is the least of the live splits'. A split of which
/// nothing was seen yet holds it back entirely. It never falls.
#[derive(Debug, Clone)]
pub struct Watermark {
    disorder: i64,
    greatest: Vec<i64>,
    /// The live splits by their progress, least first.
    live: BTreeSet<(i64, usize)>,
}

impl Watermark {
    /// `splits` live splits of which nothing was seen; `disorder` in microseconds.
    pub fn new(splits: usize, disorder: i64) -> Self {
        Self {
            disorder,
            greatest: vec![i64::MIN; splits],
            live: (0..splits).map(|split| (i64::MIN, split)).collect(),
        }
    }

    /// An event time of a split was seen.
    pub fn see(&mut self, split: usize, event_time: i64) {
        let before = self.greatest[split];
        if event_time > before && self.live.remove(&(before, split)) {
            self.greatest[split] = event_time;
            self.live.insert((event_time, split));
        }
    }

    /// A split has been read to its end: it holds the watermark back no longer.
    pub fn end(&mut self, split: usize) {
        self.live.remove(&(self.greatest[split], split));
    }

    /// The greatest event time that was seen of a split; `i64::MIN` if none was.
    pub fn greatest(&self, split: usize) -> i64 {
        self.greatest[split]
    }

    /// The least progress of the live splits other than `split`; `i64::MAX` if there are none.
    pub fn others(&self, split: usize) -> i64 {
        let mut others = self.live.iter().filter(|(_, other)| *other != split);
        others.next().map_or(i64::MAX, |(progress, _)| *progress)
    }

    /// The watermark that a progress amounts to.
    pub fn of(&self, progress: i64) -> i64 {
        progress.saturating_sub(self.disorder)
    }
}
