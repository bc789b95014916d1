//! Reads the files of a partition, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use super::file::{Files, OpenFile};
use super::{RecordedError, RecordedMessages, RecordedPartition};
use crate::source::live::LiveSpec;

/// What comes next of a recording.
#[derive(Debug)]
pub enum Piece {
    /// Messages; at least one.
    Messages(Box<RecordedMessages>),
    /// The recording has none of the offsets from `from` on and before `to`: they were not in the stream any more
    /// when they were to be recorded.
    Gap {
        /// The first offset that is missing.
        from: i64,
        /// The first one that is there.
        to: i64,
    },
}

/// A partition of a recording that is read.
pub struct RecordedReader {
    spec: Arc<LiveSpec>,
    partition: u32,
    files: VecDeque<(i64, Files)>,
    open: Option<OpenFile>,
    /// Everything before this offset was given out, or is not wanted.
    position: i64,
    /// Offsets at which a piece must end.
    cuts: VecDeque<i64>,
    /// A gap that was found.
    gap: Option<i64>,
}

impl RecordedReader {
    /// Reads what is recorded of a partition from an offset on. No piece goes over one of the offsets `cuts`, which
    /// rise. Nothing is read before the first piece is asked for.
    pub fn new(
        spec: &Arc<LiveSpec>,
        partition: u32,
        recorded: &RecordedPartition,
        from: i64,
        cuts: &[i64],
    ) -> Self {
        let mut files: VecDeque<(i64, Files)> = recorded.whole().collect();
        // Files follow each other, so one that is followed by one that begins at `from` or before is not wanted.
        while files.get(1).is_some_and(|(first, _)| *first <= from) {
            files.pop_front();
        }
        Self {
            spec: Arc::clone(spec),
            partition,
            files,
            open: None,
            position: from,
            cuts: cuts.iter().copied().collect(),
            gap: None,
        }
    }

    /// The offset behind everything that was given out; at the end, behind everything that is recorded.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// What comes next; none at the end. After a gap, what comes behind it.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or does not have what is wanted.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, RecordedError> {
        loop {
            let Some(file) = &mut self.open else {
                match self.open_next()? {
                    true if self.gap.is_some() => {}
                    true => continue,
                    false => return Ok(None),
                }
                let to = self.gap.take().expect("it was just seen");
                let from = std::mem::replace(&mut self.position, to);
                return Ok(Some(Piece::Gap { from, to }));
            };
            while self.cuts.front().is_some_and(|cut| *cut <= self.position) {
                self.cuts.pop_front();
            }
            let Some(taken) = file.take(self.position, self.cuts.front().copied())? else {
                self.position = self.position.max(file.next());
                self.open = None;
                continue;
            };
            self.position = taken.until;
            if taken.rows.num_rows() > 0 || !taken.rejects.is_empty() {
                let messages = RecordedMessages::of(&self.spec, self.partition, file, taken)?;
                return Ok(Some(Piece::Messages(Box::new(messages))));
            }
        }
    }

    /// Opens the next file; false if there is none.
    fn open_next(&mut self) -> Result<bool, RecordedError> {
        let Some((first, files)) = self.files.pop_front() else {
            return Ok(false);
        };
        self.gap = (first > self.position).then_some(first);
        self.open = Some(OpenFile::open(&self.spec, self.partition, first, &files)?);
        Ok(true)
    }
}
