//! Messages between the two stages.
//!
//! ```text
//! value   = 0x01 (layout version)
//!           varint epoch, varint sequence    the place in the upstream lane's output
//!           body
//! body    = u8 kind (0 = marker, 1 = partial states)
//!           text pipeline                    varint length, UTF-8
//!           32 bytes digest                  of the layout of partial states
//!           varint lane, varint lanes        which upstream lane, and of how many
//!           i64 begun                        when it began, by its clock, in microseconds
//!           varint generation                which start of the pipeline it was
//!           i64 watermark, u8 flags          of a marker; flag 1: the lane's split is idle
//!           Arrow IPC stream                 of partial states
//! ```
//!
//! Integers are little-endian, a `varint` is LEB128. The epoch and the sequence stand in front because they
//! are known last: when the message is put into the outbox.

use crate::sink::kafka::Published;
use crate::store::item::bytes::{Cursor, put_text, put_varint};

const LAYOUT: u8 = 1;
const MARKER: u8 = 0;
const PARTIALS: u8 = 1;
const IDLE: u8 = 1;

/// What a message says, without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pipeline::live) struct Body<'a> {
    /// The pipeline.
    pub(in crate::pipeline::live) pipeline: &'a str,
    /// Of the layout of partial states.
    pub(in crate::pipeline::live) digest: [u8; 32],
    /// The upstream lane.
    pub(in crate::pipeline::live) lane: u32,
    /// How many upstream lanes there are; more than `lane`.
    pub(in crate::pipeline::live) lanes: u32,
    /// When it began; one that begins anew has another.
    pub(in crate::pipeline::live) begun: i64,
    /// The number of the pipeline's start that made it.
    pub(in crate::pipeline::live) generation: u64,
    pub(in crate::pipeline::live) what: What<'a>,
}

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline::live) enum What<'a> {
    /// Everything that the lane had before this watermark has been sent.
    Marker { watermark: i64, is_idle: bool },
    /// Partial states: an Arrow IPC stream.
    Partials(&'a [u8]),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pipeline::live) struct Message<'a> {
    /// Its place in the output of the lane.
    pub(in crate::pipeline::live) at: Published,
    pub(in crate::pipeline::live) body: Body<'a>,
}

/// Why a message cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline::live) enum Trouble {
    /// It is of another layout: a later build's, perhaps.
    Layout(u8),
    /// It is no such message at all.
    Malformed,
}

impl Body<'_> {
    pub(in crate::pipeline::live) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.push(match self.what {
            What::Marker { .. } => MARKER,
            What::Partials(_) => PARTIALS,
        });
        put_text(self.pipeline, &mut bytes);
        bytes.extend_from_slice(&self.digest);
        put_varint(u64::from(self.lane), &mut bytes);
        put_varint(u64::from(self.lanes), &mut bytes);
        bytes.extend_from_slice(&self.begun.to_le_bytes());
        put_varint(self.generation, &mut bytes);
        match self.what {
            What::Marker { watermark, is_idle } => {
                bytes.extend_from_slice(&watermark.to_le_bytes());
                bytes.push(if is_idle { IDLE } else { 0 });
            }
            What::Partials(stream) => bytes.extend_from_slice(stream),
        }
        bytes
    }
}

/// A message's value: a body that was given its place.
pub(in crate::pipeline::live) fn placed(at: Published, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 20);
    bytes.push(LAYOUT);
    put_varint(at.epoch, &mut bytes);
    put_varint(at.sequence, &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

impl<'a> Message<'a> {
    /// Reads a message's value, which anybody may have written.
    pub(in crate::pipeline::live) fn decode(value: &'a [u8]) -> Result<Self, Trouble> {
        let mut left = Cursor::new(value);
        match left.u8() {
            Some(LAYOUT) => Self::read(left).ok_or(Trouble::Malformed),
            Some(other) if other > LAYOUT && other < 16 => Err(Trouble::Layout(other)),
            _ => Err(Trouble::Malformed),
        }
    }

    fn read(mut left: Cursor<'a>) -> Option<Self> {
        let at = Published {
            epoch: left.varint()?,
            sequence: left.varint()?,
        };
        let kind = left.u8()?;
        let pipeline = left.text()?;
        let digest = left.take(32)?.try_into().ok()?;
        let lane = u32::try_from(left.varint()?).ok()?;
        let lanes = u32::try_from(left.varint()?).ok()?;
        let begun = left.i64()?;
        let generation = left.varint()?;
        let what = match kind {
            MARKER => What::Marker {
                watermark: left.i64()?,
                is_idle: match left.u8()? {
                    0 => false,
                    IDLE => true,
                    _ => return None,
                },
            },
            PARTIALS => What::Partials(left.take(left.remaining())?),
            _ => return None,
        };
        let is_whole = left.is_empty() && lane < lanes;
        is_whole.then_some(Self {
            at,
            body: Body {
                pipeline,
                digest,
                lane,
                lanes,
                begun,
                generation,
                what,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(what: What<'_>) -> Body<'_> {
        Body {
            pipeline: "rides",
            digest: [7; 32],
            lane: 3,
            lanes: 300,
            begun: -5,
            generation: 9,
            what,
        }
    }

    proptest! {
        #[test]
        fn messages_come_back_as_they_were(
            epoch in any::<u64>(), sequence in any::<u64>(), watermark in any::<i64>(), is_idle in any::<bool>(),
            stream in any::<Vec<u8>>(), cut in any::<prop::sample::Index>(),
        ) {
            let at = Published { epoch, sequence };
            for what in [What::Marker { watermark, is_idle }, What::Partials(&stream)] {
                let value = placed(at, &body(what).encode());
                prop_assert_eq!(Message::decode(&value), Ok(Message { at, body: body(what) }));
            }
            let marker = placed(at, &body(What::Marker { watermark, is_idle }).encode());
            let cut = cut.index(marker.len());
            prop_assert_eq!(Message::decode(&marker[..cut]), Err(Trouble::Malformed));
            let longer = [&marker[..], &[0]].concat();
            prop_assert_eq!(Message::decode(&longer), Err(Trouble::Malformed));
        }

        #[test]
        fn what_is_no_message_is_refused(bytes in any::<Vec<u8>>()) {
            let _ = Message::decode(&bytes);
        }
    }

    #[test]
    fn another_layout_and_a_lane_that_cannot_be_are_told() {
        let at = Published {
            epoch: 1,
            sequence: 2,
        };
        let marker = What::Marker {
            watermark: 0,
            is_idle: false,
        };
        let mut value = placed(at, &body(marker).encode());
        value[0] = 2;
        assert_eq!(Message::decode(&value), Err(Trouble::Layout(2)));
        let of_none = Body {
            lane: 300,
            ..body(marker)
        };
        let value = placed(at, &of_none.encode());
        assert_eq!(Message::decode(&value), Err(Trouble::Malformed));
        assert_eq!(
            Message::decode(b"{\"key\":1}"),
            Err(Trouble::Malformed),
            "somebody else's"
        );
    }
}
