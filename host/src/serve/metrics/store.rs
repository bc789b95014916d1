//! What the databases of lanes ask of object storage, or of the disk.

use std::fmt;
use std::sync::Arc;

use super::{Seen, by_lane};
use crate::pipeline::telemetry::{CacheFigures, HistoryFigures, StoreFigures};
use crate::serve::families::{Families, Labels, bytes, plain, seconds};
use crate::store::declarations::ELSEWHERE;

pub(super) fn requests(families: &mut Families<'_>, seen: &[Seen]) -> fmt::Result {
    let requests = seen.iter().flat_map(|seen| {
        seen.lanes.iter().flat_map(move |(number, lane)| {
            let counts = lane.store_requests();
            let named = counts.map(|counts| counts.by_name());
            named.into_iter().flatten().map(move |(op, count)| {
                let mut labels = seen.lane_labels(*number);
                labels.push(("op", op.to_owned()));
                (labels, count)
            })
        })
    });
    families.counter(
        plain(
            "penstock_store_requests",
            "Requests of the lane's database to object storage, or to the disk",
        ),
        requests,
    )?;
    families.counter(
        bytes(
            "penstock_store_read",
            "What the lane's database read from object storage, or from the disk",
        ),
        by_lane(seen, |lane| Some(lane.store_requests()?.read_bytes)),
    )?;
    families.counter(
        bytes(
            "penstock_store_written",
            "What the lane's database wrote to object storage, or to the disk",
        ),
        by_lane(seen, |lane| Some(lane.store_requests()?.written_bytes)),
    )?;
    history(families, seen)
}

/// What the tables tell that features go to: those of pipelines, and what is put here.
pub(super) fn tables(
    families: &mut Families<'_>,
    seen: &[Seen],
    puts: Option<&Arc<StoreFigures>>,
) -> fmt::Result {
    let of_pipelines = seen
        .iter()
        .filter_map(|seen| Some((seen.labels(), seen.pipeline.store()?)));
    let of_puts = puts.map(|figures| (vec![("pipeline", ELSEWHERE.to_owned())], figures));
    let all: Vec<(Labels, &Arc<StoreFigures>)> = of_pipelines.chain(of_puts).collect();
    let of = |figure: fn(&StoreFigures) -> u64| {
        let all = all.iter();
        all.map(move |(labels, figures)| (labels.clone(), figure(figures)))
    };
    let lag = all
        .iter()
        .map(|(labels, figures)| (labels.clone(), figures.lag().as_secs_f64()));
    families.gauge(
        seconds(
            "penstock_store_lag",
            "For how long the oldest item has waited to be acknowledged by the table that features go to",
        ),
        lag,
    )?;
    families.gauge(
        plain(
            "penstock_store_pending",
            "Items that the table has not acknowledged yet",
        ),
        of(StoreFigures::pending),
    )?;
    families.counter(
        plain(
            "penstock_store_items_written",
            "Items that the table took, at least in part",
        ),
        of(|figures| figures.written.get()),
    )?;
    families.counter(
        plain(
            "penstock_store_items_superseded",
            "Items of which the table had everything as new or newer",
        ),
        of(|figures| figures.superseded.get()),
    )?;
    families.counter(
        plain(
            "penstock_store_throttled",
            "Requests that the table refused because there were too many; they are made again",
        ),
        of(|figures| figures.throttled.get()),
    )?;
    families.counter(
        plain(
            "penstock_store_retried",
            "Requests that the table failed to answer; they are made again",
        ),
        of(|figures| figures.retried.get()),
    )?;
    families.counter(
        plain(
            "penstock_store_oversized",
            "Values that were removed because the table takes no items so large",
        ),
        of(|figures| figures.oversized.get()),
    )
}

/// What is told of the history of features.
fn history(families: &mut Families<'_>, seen: &[Seen]) -> fmt::Result {
    let of = |figure: fn(&HistoryFigures) -> u64| {
        let seen = seen.iter();
        seen.filter_map(move |seen| Some((seen.labels(), figure(seen.pipeline.history()?))))
    };
    let lag = seen.iter().filter_map(|seen| {
        let figures = seen.pipeline.history()?;
        Some((seen.labels(), figures.lag().as_secs_f64()))
    });
    families.gauge(
        seconds(
            "penstock_history_lag",
            "For how long the oldest row of features has waited to be written to their history",
        ),
        lag,
    )?;
    families.counter(
        plain(
            "penstock_history_rows",
            "Rows of features that were written to their history",
        ),
        of(|figures| figures.rows.get()),
    )?;
    families.counter(
        plain(
            "penstock_history_failed",
            "Times that the history of features could not be written; it is tried again",
        ),
        of(|figures| figures.failed.get()),
    )?;
    families.counter(
        plain(
            "penstock_history_compacted_files",
            "Files of the history that compaction took away",
        ),
        of(|figures| figures.compacted.get()),
    )?;
    families.counter(
        plain(
            "penstock_history_made_files",
            "Files of the history that compaction made of others",
        ),
        of(|figures| figures.made.get()),
    )?;
    families.counter(
        plain(
            "penstock_history_compactions_failed",
            "Compactions of the history that failed; they are tried again",
        ),
        of(|figures| figures.uncompacted.get()),
    )
}

/// What the cache tells that readers are answered from.
pub(super) fn cache(
    families: &mut Families<'_>,
    figures: Option<&Arc<CacheFigures>>,
) -> fmt::Result {
    let Some(figures) = figures else {
        return Ok(());
    };
    let one = |value: u64| [(Labels::new(), value)];
    let (count, held) = figures.held();
    families.counter(
        plain(
            "penstock_store_cache_hits",
            "Items that were answered from memory",
        ),
        one(figures.hits.get()),
    )?;
    families.counter(
        plain(
            "penstock_store_cache_absent_hits",
            "Of those, items that were known not to be there",
        ),
        one(figures.absent_hits.get()),
    )?;
    families.counter(
        plain("penstock_store_cache_misses", "Items that were loaded"),
        one(figures.misses.get()),
    )?;
    families.counter(
        plain(
            "penstock_store_cache_joined",
            "Items that somebody else was loading already",
        ),
        one(figures.joined.get()),
    )?;
    families.counter(
        plain(
            "penstock_store_cache_expired",
            "Items that were held and older than `max_age`",
        ),
        one(figures.expired.get()),
    )?;
    families.counter(
        plain("penstock_store_cache_failed", "Loads that failed"),
        one(figures.failed.get()),
    )?;
    families.counter(
        seconds(
            "penstock_store_cache_age",
            "How old answers from memory were, together: divided by the hits, on the average",
        ),
        [(Labels::new(), figures.age.get() as f64 / 1e6)],
    )?;
    families.gauge(
        seconds(
            "penstock_store_cache_oldest",
            "How old the oldest answer from memory was",
        ),
        [(Labels::new(), figures.oldest().as_secs_f64())],
    )?;
    families.gauge(
        plain("penstock_store_cache_items", "Items that are held"),
        one(count),
    )?;
    families.gauge(
        bytes("penstock_store_cache_held", "Memory that they take, about"),
        one(held),
    )
}
