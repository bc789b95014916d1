//! What is told of where events come from: splits of live streams, and recorded input.

use std::fmt;

use super::{Seen, by_split};
use crate::pipeline::telemetry::Recorded;
use crate::serve::families::{Families, bytes, plain, seconds};

pub(super) fn source(families: &mut Families<'_>, seen: &[Seen]) -> fmt::Result {
    let recorded = |value: fn(Recorded) -> u64| {
        seen.iter().filter_map(move |seen| {
            let recorded = seen.pipeline.recorded()?;
            Some((seen.labels(), value(recorded)))
        })
    };
    families.gauge(
        bytes("penstock_source_size", "Recorded input in all"),
        recorded(|read| read.bytes),
    )?;
    families.counter(
        bytes("penstock_source_read", "Recorded input that was read"),
        recorded(|read| read.bytes_read),
    )?;
    families.gauge(
        plain(
            "penstock_split_position",
            "Position of the next record to be read",
        ),
        by_split(seen, |split| split.position),
    )?;
    families.gauge(
        plain(
            "penstock_split_end_position",
            "Position after the last record that there is",
        ),
        by_split(seen, |split| split.end),
    )?;
    families.gauge(
        plain(
            "penstock_split_lag_records",
            "Records that are there and were not read",
        ),
        by_split(seen, |split| split.lag),
    )?;
    families.gauge(
        seconds(
            "penstock_split_behind",
            "How far reading is behind the newest record, as the stream says",
        ),
        by_split(seen, |split| Some(split.behind?.as_secs_f64())),
    )?;
    families.counter(
        plain(
            "penstock_split_throttled",
            "How often the stream asked to be asked less often",
        ),
        by_split(seen, |split| split.throttled),
    )?;
    families.gauge(
        plain(
            "penstock_split_paused",
            "Whether reading rests because the lane has enough to do",
        ),
        by_split(seen, |split| Some(u64::from(split.paused))),
    )?;
    families.counter(
        plain(
            "penstock_split_pauses",
            "How often reading rested because the lane had enough to do",
        ),
        by_split(seen, |split| Some(split.pauses)),
    )?;
    families.gauge(
        bytes(
            "penstock_split_held",
            "What of the split is under way: read, and not worked on",
        ),
        by_split(seen, |split| Some(split.held_bytes)),
    )?;
    let freshness = seen.iter().flat_map(|seen| {
        let readers = seen.readers.iter();
        readers.map(|(split, reader)| (seen.split_labels(split), reader.freshness.snapshot()))
    });
    families.histogram(
        seconds("penstock_freshness", "Time from an event's arrival at the source until what it led to is durable and can be read"),
        freshness,
    )
}
