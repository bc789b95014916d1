//! What is known of the lanes of the first stage: how far each has sent, and its watermark.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::ReceivedError;
use crate::pipeline::live::partial::{Message, What};
use crate::sink::kafka::Published;

/// All upstream lanes, as far as the messages of one partition tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upstreams {
    /// How many there are; zero before the first message.
    lanes: u32,
    /// Those from which something came.
    known: BTreeMap<u32, Upstream>,
    /// The watermark: the greatest that there was.
    watermark: i64,
    /// Messages that had come before.
    repeats: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Upstream {
    begun: i64,
    /// The place of its last message.
    epoch: u64,
    sequence: u64,
    watermark: i64,
    is_idle: bool,
}

impl Default for Upstreams {
    fn default() -> Self {
        Self {
            lanes: 0,
            known: BTreeMap::new(),
            watermark: i64::MIN,
            repeats: 0,
        }
    }
}

impl Upstreams {
    /// Takes note of a message. False if it has come before, and is to be left alone.
    pub(super) fn take(
        &mut self,
        message: &Message<'_>,
        position: u64,
        advances: bool,
    ) -> Result<bool, ReceivedError> {
        let Message { at, body } = message;
        if self.lanes != 0 && self.lanes != body.lanes {
            return Err(ReceivedError::Lanes {
                position,
                before: self.lanes,
                found: body.lanes,
            });
        }
        let known = self.known.get(&body.lane);
        if known.is_some_and(|known| known.begun != body.begun) {
            return Err(ReceivedError::BegunAnew {
                lane: body.lane,
                position,
            });
        }
        let last = known.map(|known| Published {
            epoch: known.epoch,
            sequence: known.sequence,
        });
        if last.is_some_and(|last| *at <= last) {
            self.repeats += 1;
            return Ok(false);
        }
        self.lanes = body.lanes;
        let upstream = self.known.entry(body.lane).or_insert(Upstream {
            begun: body.begun,
            epoch: 0,
            sequence: 0,
            watermark: i64::MIN,
            is_idle: false,
        });
        (upstream.epoch, upstream.sequence) = (at.epoch, at.sequence);
        match body.what {
            What::Marker { watermark, is_idle } => {
                upstream.watermark = upstream.watermark.max(watermark);
                upstream.is_idle = is_idle;
                self.rise(advances);
            }
            // It has rows, so it is idle no longer.
            What::Partials(_) => upstream.is_idle = false,
        }
        Ok(true)
    }

    /// Everything before this was sent, by all lanes that are not idle; `i64::MIN` before there is such a
    /// time. It never falls.
    pub(super) fn watermark(&self) -> i64 {
        self.watermark
    }

    /// How many messages had come before.
    pub(super) fn repeats(&self) -> u64 {
        self.repeats
    }

    /// A lane from which nothing came holds the watermark back entirely. While all are idle it stays, unless
    /// time goes on then (`advances`): to the greatest that any has told.
    fn rise(&mut self, advances: bool) {
        if (self.known.len() as u64) < u64::from(self.lanes) {
            return;
        }
        let live = self.known.values().filter(|upstream| !upstream.is_idle);
        let least = live.map(|upstream| upstream.watermark).min();
        let all = self.known.values().map(|upstream| upstream.watermark).max();
        let now = least.or(all.filter(|_| advances));
        self.watermark = self.watermark.max(now.unwrap_or(i64::MIN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::live::partial::Body;

    fn message(lane: u32, at: (u64, u64), what: What<'_>) -> Message<'_> {
        Message {
            at: Published {
                epoch: at.0,
                sequence: at.1,
            },
            body: Body {
                pipeline: "rides",
                digest: [0; 32],
                lane,
                lanes: 2,
                begun: 7,
                generation: 1,
                what,
            },
        }
    }

    fn marker(lane: u32, at: (u64, u64), watermark: i64, is_idle: bool) -> Message<'static> {
        message(lane, at, What::Marker { watermark, is_idle })
    }

    #[test]
    fn the_watermark_is_the_least_of_those_that_are_not_idle() {
        let mut all = Upstreams::default();
        let mut take = |message: Message<'_>, advances| {
            let taken = all.take(&message, 0, advances);
            assert_eq!(taken, Ok(true));
            all.watermark()
        };
        assert_eq!(take(marker(0, (1, 0), 50, false), false), i64::MIN);
        assert_eq!(take(marker(1, (1, 0), 20, false), false), 20);
        assert_eq!(take(marker(1, (1, 1), 20, true), false), 50);
        assert_eq!(take(message(1, (1, 2), What::Partials(&[])), false), 50);
        assert_eq!(take(marker(0, (1, 3), 80, false), false), 50, "it is back");
        assert_eq!(take(marker(1, (1, 4), 70, true), false), 80);
        assert_eq!(take(marker(0, (2, 4), 90, true), false), 80);
        assert_eq!(take(marker(0, (2, 5), 90, true), true), 90);
    }

    #[test]
    fn what_has_come_before_is_left_alone() {
        let mut all = Upstreams::default();
        for (at, is_new) in [
            ((1, 5), true),
            ((1, 5), false),
            ((1, 4), false),
            ((2, 0), true),
            ((1, 9), false),
        ] {
            let partials = message(0, at, What::Partials(&[]));
            assert_eq!(all.take(&partials, 0, false), Ok(is_new), "{at:?}");
        }
        assert_eq!(all.repeats(), 3);
    }

    #[test]
    fn a_lane_that_began_anew_and_another_number_of_lanes_are_refused() {
        let mut all = Upstreams::default();
        assert_eq!(all.take(&marker(0, (1, 0), 0, false), 3, false), Ok(true));
        let mut anew = marker(0, (9, 0), 0, false);
        anew.body.begun = 8;
        let refused = all.take(&anew, 4, false);
        let (lane, position) = (0, 4);
        assert_eq!(refused, Err(ReceivedError::BegunAnew { lane, position }));
        let mut more = marker(1, (1, 0), 0, false);
        more.body.lanes = 3;
        let refused = all.take(&more, 5, false);
        assert!(matches!(refused, Err(ReceivedError::Lanes { .. })));
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let mut all = Upstreams::default();
        let partials = message(0, (1, 5), What::Partials(&[]));
        assert_eq!(all.take(&partials, 0, false), Ok(true));
        let kept = serde_json::to_value(&all).unwrap();
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Upstreams>(&text).unwrap(), all);
    }
}
