//! How far a split of a live stream has been read.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::source::kinesis::{Place, Places, ShardCursor};

/// A position in a split: everything before it was read. Positions of one split are ordered.
///
/// Kept as a number for a partition, and as a [cursor's](ShardCursor) text for a shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub enum Position {
    /// Of a partition of Kafka: the offset of the next message.
    Offset(i64),
    /// Of a shard of Kinesis.
    Shard(ShardCursor),
}

/// A position as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Kept {
    Number(i64),
    Text(String),
}

/// Where one message lies in its split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// Of a partition of Kafka: its offset.
    Offset(i64),
    /// Of a shard of Kinesis.
    Place(Place),
}

/// The places of messages of a shard, found by their offsets.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The places.
    pub places: Places,
    /// The offset of the first of the messages. Offsets rise by one.
    pub first: i64,
}

impl Position {
    /// Whether a message is before it.
    pub fn covers(&self, spot: &Spot) -> bool {
        match (self, spot) {
            (Self::Offset(next), Spot::Offset(offset)) => offset < next,
            (Self::Shard(ShardCursor::After { place, .. }), Spot::Place(spot)) => spot <= place,
            (Self::Shard(ShardCursor::Finished), _) => true,
            _ => false,
        }
    }

    /// The offset of the next message, if it is of a partition.
    pub fn offset(&self) -> Option<i64> {
        match self {
            Self::Offset(offset) => Some(*offset),
            Self::Shard(_) => None,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => offset.fmt(f),
            Self::Shard(cursor) => cursor.fmt(f),
        }
    }
}

impl Placed {
    /// The position behind the message with an offset: in a shard if there are places of it, in a
    /// partition if there are none.
    pub fn behind(places: Option<&Self>, offset: i64) -> Position {
        match places {
            None => Position::Offset(offset + 1),
            Some(placed) => Position::Shard(ShardCursor::After {
                place: placed.of(offset),
                offset,
            }),
        }
    }

    /// Where the message with an offset lies.
    pub fn spot(places: Option<&Self>, offset: i64) -> Spot {
        match places {
            None => Spot::Offset(offset),
            Some(placed) => Spot::Place(placed.of(offset)),
        }
    }

    fn of(&self, offset: i64) -> Place {
        self.places.of((offset - self.first) as usize)
    }
}

impl TryFrom<Kept> for Position {
    type Error = crate::source::kinesis::UnknownCursor;

    fn try_from(kept: Kept) -> Result<Self, Self::Error> {
        Ok(match kept {
            Kept::Number(offset) => Self::Offset(offset),
            Kept::Text(text) => Self::Shard(text.parse()?),
        })
    }
}

impl From<Position> for Kept {
    fn from(position: Position) -> Self {
        match position {
            Position::Offset(offset) => Self::Number(offset),
            Position::Shard(cursor) => Self::Text(cursor.to_string()),
        }
    }
}

/// A position in a split, and what has to be known of everything before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCursor {
    /// The position of the next message.
    pub position: Position,
    /// The sequence of the next row, counted over all rows of the splits that are read together.
    pub sequence: u64,
    /// The greatest event time so far, in microseconds; `i64::MIN` if there was none.
    pub greatest: i64,
    /// The watermark is at least this, because the split was idle; `i64::MIN` if it never was.
    #[serde(default = "none")]
    pub floor: i64,
    /// Up to this event time there was history before the stream: what the stream has of that time is passed over.
    /// `i64::MIN` if there was none, or it ended at an offset.
    #[serde(default = "none")]
    pub history: i64,
    /// Where reading the split began, once and for all. A lane that has no cursor begins there if
    /// another one has, or what lies between would be lost to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Position>,
}

/// Positions in history that has no offsets begin here, before all of those in a stream.
const HISTORY: i64 = -(1 << 62);

fn none() -> i64 {
    i64::MIN
}

impl SplitCursor {
    /// The cursor of a split of which nothing is known before `position`.
    pub fn start(position: Position) -> Self {
        Self {
            position,
            sequence: 0,
            greatest: i64::MIN,
            floor: i64::MIN,
            history: i64::MIN,
            began: None,
        }
    }

    /// The cursor of a split whose reading begins at `position`, for all who will read it.
    pub fn beginning(position: Position) -> Self {
        Self {
            began: Some(position.clone()),
            ..Self::start(position)
        }
    }

    /// The position of a row of history that has no offsets, by its number.
    pub fn in_history(row: u64) -> Position {
        Position::Offset(HISTORY.saturating_add_unsigned(row))
    }

    /// Whether the next row is one of history that has no offsets.
    pub fn is_in_history(&self) -> bool {
        self.position.offset().is_some_and(|offset| offset < 0)
    }

    /// The number of that row; 0 if it is none.
    pub fn row_in_history(&self) -> u64 {
        let row = self.position.offset();
        row.map_or(0, |offset| {
            offset.saturating_sub(HISTORY).max(0).unsigned_abs()
        })
    }

    /// The number of a row of such history, by the position of its origin; none if that is one of a stream.
    pub fn row_of_history(position: u64) -> Option<u64> {
        let position = position as i64;
        (position < 0).then(|| position.abs_diff(HISTORY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_kept_as_they_were() {
        let kept = r#"{"position":12,"sequence":3,"greatest":5}"#;
        let cursor: SplitCursor = serde_json::from_str(kept).unwrap();
        assert_eq!(cursor.position, Position::Offset(12));
        assert_eq!((cursor.floor, &cursor.began), (i64::MIN, &None));
        let place = Place::new("4961", 2).unwrap();
        let after = ShardCursor::After { place, offset: 7 };
        let cursor = SplitCursor {
            position: Position::Shard(after),
            ..SplitCursor::beginning(Position::Shard(ShardCursor::Since(9)))
        };
        let kept = serde_json::to_string(&cursor).unwrap();
        assert!(kept.contains(r#""position":"1:after:4961:2:7""#), "{kept}");
        assert_eq!(serde_json::from_str::<SplitCursor>(&kept).unwrap(), cursor);
        let error = serde_json::from_str::<Position>("\"2:after\"").unwrap_err();
        assert!(error.to_string().contains("`2:after` is no cursor"));
    }

    #[test]
    fn a_position_has_what_lies_before_it() {
        let offset = Position::Offset(5);
        assert!(offset.covers(&Spot::Offset(4)) && !offset.covers(&Spot::Offset(5)));
        let place = |part| Place::new("100", part).unwrap();
        let after = |part| {
            Position::Shard(ShardCursor::After {
                place: place(part),
                offset: 0,
            })
        };
        assert!(after(1).covers(&Spot::Place(place(1))));
        assert!(!after(1).covers(&Spot::Place(place(2))));
        let finished = Position::Shard(ShardCursor::Finished);
        assert!(finished.covers(&Spot::Place(place(9))) && finished > after(9));
        let since = Position::Shard(ShardCursor::Since(1));
        assert!(!since.covers(&Spot::Place(place(0))) && since < after(0));
    }
}
