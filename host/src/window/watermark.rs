//! How far event time has come, split by split.

/// The progress of the splits that feed some lanes, and the watermark that follows from it.
///
/// A split's progress is the greatest event time that was seen of it; its watermark is that less
/// the allowed disorder; the watermark of all is the least of the live splits'. A split of which
/// nothing was seen yet holds it back entirely. It never falls.
#[derive(Debug, Clone)]
pub struct Watermark {
    disorder: i64,
    splits: Vec<Split>,
}

#[derive(Debug, Clone, Copy)]
struct Split {
    greatest: i64,
    live: bool,
}

impl Watermark {
    /// `splits` live splits of which nothing was seen; `disorder` in microseconds.
    pub fn new(splits: usize, disorder: i64) -> Self {
        let unseen = Split {
            greatest: i64::MIN,
            live: true,
        };
        Self {
            disorder,
            splits: vec![unseen; splits],
        }
    }

    /// An event time of a split was seen.
    pub fn see(&mut self, split: usize, event_time: i64) {
        let split = &mut self.splits[split];
        split.greatest = split.greatest.max(event_time);
    }

    /// A split has been read to its end: it holds the watermark back no longer.
    pub fn end(&mut self, split: usize) {
        self.splits[split].live = false;
    }

    /// The greatest event time that was seen of a split; `i64::MIN` if none was.
    pub fn greatest(&self, split: usize) -> i64 {
        self.splits[split].greatest
    }

    /// The least progress of the live splits other than `split`; `i64::MAX` if there are none.
    pub fn others(&self, split: usize) -> i64 {
        self.splits
            .iter()
            .enumerate()
            .filter(|(at, other)| *at != split && other.live)
            .map(|(_, other)| other.greatest)
            .min()
            .unwrap_or(i64::MAX)
    }

    /// The watermark that a progress amounts to.
    pub fn of(&self, progress: i64) -> i64 {
        progress.saturating_sub(self.disorder)
    }

    /// The watermark of all live splits; `None` when none is left.
    pub fn now(&self) -> Option<i64> {
        let live = self.splits.iter().filter(|split| split.live);
        Some(self.of(live.map(|split| split.greatest).min()?))
    }
}
