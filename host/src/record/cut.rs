//! Where a recording that ends by itself ends.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Until;
use crate::source::kafka::PartitionStatus;
use crate::source::messages::Messages;

/// How far partitions have come, and which of them are done.
#[derive(Debug)]
pub(super) struct Cut {
    until: Until,
    partitions: BTreeMap<u32, Part>,
}

#[derive(Debug, Default)]
struct Part {
    /// What there was when it was begun: the offset after the last. None before that is known.
    goal: Option<i64>,
    next: i64,
    done: bool,
}

impl Cut {
    pub(super) fn new(until: Until) -> Self {
        Self {
            until,
            partitions: BTreeMap::new(),
        }
    }

    /// A partition is read from an offset on.
    pub(super) fn begin(&mut self, partition: u32, next: i64) {
        let part = Part {
            next,
            ..Part::default()
        };
        self.partitions.insert(partition, part);
    }

    /// It is read by somebody else.
    pub(super) fn forget(&mut self, partition: u32) {
        self.partitions.remove(&partition);
    }

    /// How many of these messages are wanted, from the first on.
    pub(super) fn admit(&mut self, messages: &Messages) -> usize {
        let Some(part) = self.partitions.get_mut(&messages.split) else {
            return 0;
        };
        if let Until::Time { time, .. } = self.until {
            if part.done {
                return 0;
            }
            // Where the stream does not say when a message came, it is no later than the one before.
            if let Some(first) = messages.timestamps.iter().position(|at| *at >= time) {
                part.done = true;
                return first;
            }
        }
        if let Some(last) = messages.offsets.last() {
            part.next = last + 1;
        }
        messages.len()
    }

    /// All of a partition was read, up to an offset. Gives whether all of that was admitted.
    pub(super) fn at_end(&mut self, partition: u32, next: i64) -> bool {
        let Some(part) = self.partitions.get_mut(&partition) else {
            return false;
        };
        if part.done && self.until != Until::End {
            return false;
        }
        part.next = part.next.max(next);
        part.done |= self.until == Until::End;
        true
    }

    /// Whether all that is wanted was read, so far as partitions are `ours`.
    pub(super) fn is_reached(&mut self, ours: usize, status: &[PartitionStatus]) -> bool {
        if self.until == Until::Stopped || ours == 0 || self.partitions.len() < ours {
            return false;
        }
        for status in status {
            let Some(part) = self.partitions.get_mut(&status.partition) else {
                continue;
            };
            match self.until {
                Until::End if status.next.is_some() => {
                    let goal = *part.goal.get_or_insert(status.high);
                    part.done |= part.next >= goal;
                }
                // What is known of the stream is ahead of what has come here.
                Until::Time { reached, .. } => {
                    let all_came = status.next.is_some_and(|next| part.next >= next);
                    part.done |= all_came && is_past(status.at_end, reached);
                }
                _ => {}
            }
        }
        self.partitions.values().all(|part| part.done)
    }
}

/// Whether a partition had nothing more at a time or later.
fn is_past(at_end: Option<Duration>, reached: Duration) -> bool {
    at_end.is_some_and(|at_end| at_end >= reached)
}

#[cfg(test)]
mod tests {
    use arrow::array::BinaryArray;

    use super::*;
    use crate::source::kafka::PartitionState;

    fn messages(offsets: &[i64], timestamps: &[i64]) -> Messages {
        let nothing = BinaryArray::from_iter(offsets.iter().map(|_| None::<&[u8]>));
        Messages {
            split: 0,
            offsets: offsets.to_vec().into(),
            timestamps: timestamps.to_vec().into(),
            keys: nothing.clone(),
            values: nothing,
            headers: None,
        }
    }

    fn status(next: Option<i64>, high: i64, at_end: Option<u64>) -> PartitionStatus {
        PartitionStatus {
            partition: 0,
            state: PartitionState::Reading,
            next,
            low: 0,
            high,
            held_bytes: 0,
            pauses: 0,
            at_end: at_end.map(Duration::from_secs),
        }
    }

    #[test]
    fn the_end_is_what_there_was_at_the_start() {
        let mut cut = Cut::new(Until::End);
        assert!(!cut.is_reached(0, &[]));
        cut.begin(0, 3);
        assert!(!cut.is_reached(1, &[status(None, 0, None)]));
        assert!(!cut.is_reached(1, &[status(Some(3), 7, None)]));
        assert_eq!(cut.admit(&messages(&[3, 5], &[0, 0])), 2);
        assert!(!cut.is_reached(1, &[status(Some(6), 9, None)]));
        assert_eq!(cut.admit(&messages(&[6, 7], &[0, 0])), 2);
        assert!(cut.is_reached(1, &[status(Some(8), 99, None)]));
        // The last offsets may hold no messages.
        let mut cut = Cut::new(Until::End);
        cut.begin(0, 0);
        assert!(!cut.is_reached(1, &[status(Some(0), 7, None)]));
        assert!(cut.at_end(0, 7));
        assert!(cut.is_reached(1, &[status(Some(7), 7, None)]));
        assert!(!cut.is_reached(2, &[]));
    }

    #[test]
    fn a_time_cuts_a_batch_and_is_waited_for() {
        let until = Until::Time {
            time: 100,
            reached: Duration::from_secs(5),
        };
        let mut cut = Cut::new(until);
        cut.begin(0, 0);
        assert_eq!(cut.admit(&messages(&[0, 1], &[98, 99])), 2);
        assert!(!cut.is_reached(1, &[status(Some(2), 2, Some(4))]));
        assert_eq!(cut.admit(&messages(&[2, 3, 4], &[i64::MIN, 100, 7])), 1);
        assert!(cut.is_reached(1, &[]));
        assert_eq!(cut.admit(&messages(&[5], &[7])), 0);
        assert!(!cut.at_end(0, 6));
        let mut behind = Cut::new(until);
        behind.begin(0, 0);
        assert!(!behind.is_reached(1, &[status(Some(2), 2, Some(9))]));
        let mut quiet = Cut::new(until);
        quiet.begin(0, 0);
        assert!(quiet.is_reached(1, &[status(Some(0), 0, Some(5))]));
    }
}
