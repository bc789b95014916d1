//! Where on its way a row was turned away.

use serde::{Deserialize, Serialize};

/// A station of a row's way through a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The source's bytes could not be read as a row.
    Decode,
    /// The row, or what it was mapped to, has no usable event time.
    EventTime,
    /// The row's event time is too far after its arrival.
    Quarantine,
    /// The mapper refused the row.
    Map,
    /// The row has no usable key.
    Key,
    /// The transform refused the row.
    Transform,
    /// The transform or the mapper failed on the row.
    Poison,
    /// The row came after its windows had closed for good.
    Late,
}

impl Stage {
    /// Its name, as in files and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::EventTime => "event_time",
            Self::Quarantine => "quarantine",
            Self::Map => "map",
            Self::Key => "key",
            Self::Transform => "transform",
            Self::Poison => "poison",
            Self::Late => "late",
        }
    }
}
