//! The metrics of the process and of its pipelines, read from what they tell when somebody asks.
//!
//! How many series there are follows from pipelines, lanes and splits, and from the codes of rejects, of which the
//! first [`MOST_CODES`] of a stage have a series of their own. No label holds anything of an event.

mod source;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::families::{Families, Labels, bytes, plain, seconds};
use super::process::ProcessFigures;
use crate::pipeline::Accounting;
use crate::pipeline::telemetry::{
    DeliveryTelemetry, Doing, LaneTelemetry, PipelineState, PipelineTelemetry, ReaderTelemetry,
    SplitStatus, Telemetry, Totals,
};

/// Codes of rejects with a series of their own, of each stage of a pipeline; the others are one, `other`.
pub(super) const MOST_CODES: usize = 64;

/// The metrics of this process.
#[derive(Debug)]
pub(super) struct ProcessMetrics {
    /// When it started, in seconds since 1970.
    pub(super) started_s: f64,
}

impl Collector for ProcessMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        let now = ProcessFigures::look();
        let one = |value: f64| [(Labels::new(), value)];
        let some = |value: Option<u64>| value.map(|value| (Labels::new(), value));
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        families.gauge(
            plain(
                "penstock_build_info",
                "Always 1; the version of Penstock that runs",
            ),
            [(version, 1_u64)],
        )?;
        families.counter(
            seconds("process_cpu", "Time of processors that the process has had"),
            one(now.cpu_s),
        )?;
        families.gauge(
            bytes("process_resident_memory", "Memory that the process holds"),
            some(now.resident_bytes),
        )?;
        families.gauge(
            plain("process_threads", "Threads of the process"),
            some(now.threads),
        )?;
        families.gauge(
            plain("process_open_fds", "Files and connections that are open"),
            some(now.open_files),
        )?;
        families.gauge(
            plain(
                "process_max_fds",
                "Files and connections that may be open at once",
            ),
            some(now.open_files_limit),
        )?;
        families.gauge(
            seconds("process_start_time", "When the process started, since 1970"),
            one(self.started_s),
        )
    }
}

/// The metrics of pipelines.
#[derive(Debug)]
pub(super) struct PipelineMetrics(pub(super) Arc<Telemetry>);

impl Collector for PipelineMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pipelines = self.0.pipelines();
        let seen: Vec<Seen> = pipelines
            .into_iter()
            .map(|(name, pipeline)| Seen::of(name, &pipeline))
            .collect();
        let mut families = Families(encoder);
        pipelines_at_large(&mut families, &seen)?;
        rows(&mut families, &seen)?;
        source::source(&mut families, &seen)?;
        lanes(&mut families, &seen)?;
        times(&mut families, &seen)?;
        store::tables(&mut families, &seen, self.0.puts())?;
        store::cache(&mut families, self.0.cache())?;
        queues_and_parts(&mut families, &seen)
    }
}

/// What there was of a pipeline when it was asked: every family is written from the same lanes.
struct Seen {
    name: String,
    pipeline: Arc<PipelineTelemetry>,
    totals: Totals,
    lanes: Vec<(u32, Arc<LaneTelemetry>)>,
    readers: Vec<(String, Arc<ReaderTelemetry>)>,
    splits: Vec<SplitStatus>,
    deliveries: Vec<(String, Arc<DeliveryTelemetry>)>,
}

impl Seen {
    fn of(name: String, pipeline: &Arc<PipelineTelemetry>) -> Self {
        Self {
            name,
            pipeline: Arc::clone(pipeline),
            totals: pipeline.totals(),
            lanes: pipeline.lanes(),
            readers: pipeline.readers(),
            splits: pipeline.splits(),
            deliveries: pipeline.deliveries(),
        }
    }

    fn labels(&self) -> Labels {
        vec![("pipeline", self.name.clone())]
    }

    fn lane_labels(&self, lane: u32) -> Labels {
        vec![("pipeline", self.name.clone()), ("lane", lane.to_string())]
    }

    /// Without the split if there is but one reader for all of them.
    fn split_labels(&self, split: &str) -> Labels {
        let mut labels = self.labels();
        if !split.is_empty() {
            labels.push(("split", split.to_owned()));
        }
        labels
    }
}

/// A series for each lane of which `value` gives a number.
fn by_lane<'a, N: 'a>(
    seen: &'a [Seen],
    value: impl Fn(&LaneTelemetry) -> Option<N> + Copy + 'a,
) -> impl Iterator<Item = (Labels, N)> + 'a {
    seen.iter().flat_map(move |seen| {
        let lanes = seen.lanes.iter();
        lanes.filter_map(move |(number, lane)| Some((seen.lane_labels(*number), value(lane)?)))
    })
}

/// A series for each split of which `value` gives a number.
fn by_split<'a, N: 'a>(
    seen: &'a [Seen],
    value: impl Fn(&SplitStatus) -> Option<N> + Copy + 'a,
) -> impl Iterator<Item = (Labels, N)> + 'a {
    seen.iter().flat_map(move |seen| {
        let splits = seen.splits.iter();
        splits.filter_map(move |split| Some((seen.split_labels(&split.split), value(split)?)))
    })
}

fn load(count: &AtomicU64) -> Option<u64> {
    Some(count.load(Ordering::Relaxed))
}

fn pipelines_at_large(families: &mut Families<'_>, seen: &[Seen]) -> fmt::Result {
    let states = seen.iter().flat_map(|seen| {
        let state = seen.pipeline.state().name();
        PipelineState::NAMES.iter().map(move |name| {
            let mut labels = seen.labels();
            labels.push(("state", (*name).to_owned()));
            (labels, u64::from(*name == state))
        })
    });
    families.gauge(
        plain(
            "penstock_pipeline_state",
            "1 for the state that the pipeline is in, 0 for the others",
        ),
        states,
    )?;
    let generations = seen.iter().map(|seen| {
        let generation = seen.pipeline.generation();
        let mut labels = seen.labels();
        labels.push(("transform", generation.transform));
        labels.push(("mapper", generation.mapper.unwrap_or_default()));
        (labels, 1_u64)
    });
    families.gauge(
        plain(
            "penstock_pipeline_info",
            "Always 1; the digests of the components that run",
        ),
        generations,
    )?;
    let numbers = seen.iter().filter_map(|seen| {
        let number = seen.pipeline.generation().number?;
        Some((seen.labels(), number))
    });
    families.gauge(
        plain(
            "penstock_pipeline_generation",
            "Number of the generation that runs",
        ),
        numbers,
    )?;
    let bootstrapped = seen.iter();
    let bootstrapped = bootstrapped.filter_map(|seen| {
        let rows = seen.pipeline.bootstrap_rows();
        (rows > 0).then(|| (seen.labels(), rows))
    });
    families.counter(
        plain(
            "penstock_bootstrap_rows",
            "Records of recorded history that came before the stream",
        ),
        bootstrapped,
    )?;
    let lanes = seen.iter();
    let lanes = lanes.map(|seen| (seen.labels(), seen.lanes.len() as u64));
    families.gauge(
        plain(
            "penstock_pipeline_lanes",
            "Lanes of the pipeline in this process",
        ),
        lanes,
    )
}

/// Takes a number out of some sums, if it is there.
type Count<S> = fn(&S) -> Option<u64>;
/// What a family is called, what it is, and how it is counted.
type Counted<S> = (&'static str, &'static str, Count<S>);

/// Where rows end.
const OUTCOMES: [(&str, Count<Accounting>); 6] = [
    ("applied", |accounting| Some(accounting.applied)),
    ("filtered", |accounting| Some(accounting.filtered)),
    ("rejected", |accounting| Some(accounting.rejected_in_all())),
    ("late", |accounting| Some(accounting.late)),
    ("quarantined", |accounting| Some(accounting.quarantined)),
    ("poisoned", |accounting| Some(accounting.poisoned)),
];

/// What else is counted of rows; a mapper's counts only where there is one.
const ROWS: [Counted<Accounting>; 5] = [
    (
        "penstock_records_read",
        "Records read from the source",
        |accounting| Some(accounting.read),
    ),
    (
        "penstock_rows_partly_late",
        "Rows that were applied and came too late for some of their windows",
        |accounting| Some(accounting.partly_late),
    ),
    (
        "penstock_mapper_rows_in",
        "Rows that the mapper was handed",
        |accounting| Some(accounting.mapped?.rows_in),
    ),
    (
        "penstock_mapper_rows_mapped",
        "Rows that the mapper made one row or several of",
        |accounting| Some(accounting.mapped?.mapped),
    ),
    (
        "penstock_mapper_rows_out",
        "Rows that the mapper made",
        |accounting| Some(accounting.mapped?.rows_out),
    ),
];

/// What comes out.
const OUTPUT: [Counted<Totals>; 4] = [
    (
        "penstock_windows_closed",
        "Windows that closed, one for each key",
        |totals| Some(totals.windows),
    ),
    (
        "penstock_output_rows",
        "Rows that transforms gave and that were delivered",
        |totals| Some(totals.output_rows),
    ),
    (
        "penstock_feature_values",
        "Feature values written",
        |totals| Some(totals.values),
    ),
    (
        "penstock_feature_values_invalid",
        "Feature values that broke their validation and were removed",
        |totals| Some(totals.invalid),
    ),
];

fn rows(families: &mut Families<'_>, seen: &[Seen]) -> fmt::Result {
    for (name, help, count) in ROWS {
        let series = seen.iter().filter_map(|seen| {
            let count = count(&seen.totals.accounting)?;
            Some((seen.labels(), count))
        });
        families.counter(plain(name, help), series)?;
    }
    let ended = seen.iter().flat_map(|seen| {
        OUTCOMES.iter().filter_map(|(outcome, count)| {
            let mut labels = seen.labels();
            labels.push(("outcome", (*outcome).to_owned()));
            Some((labels, count(&seen.totals.accounting)?))
        })
    });
    families.counter(
        plain(
            "penstock_rows",
            "Rows by where they ended; without a mapper the sum is all that were read",
        ),
        ended,
    )?;
    families.counter(
        plain(
            "penstock_rows_rejected",
            "Rejected rows by the stage that refused them, and why",
        ),
        seen.iter().flat_map(rejected),
    )?;
    for (name, help, count) in OUTPUT {
        let series = seen.iter();
        let series = series.filter_map(|seen| Some((seen.labels(), count(&seen.totals)?)));
        families.counter(plain(name, help), series)?;
    }
    families.counter(
        plain(
            "penstock_lane_rows_applied",
            "Rows that were added to a window's state",
        ),
        by_lane(seen, |lane| Some(lane.accounts.here().applied)),
    )?;
    families.counter(
        plain(
            "penstock_lane_rows_late",
            "Rows that came too late for every window",
        ),
        by_lane(seen, |lane| Some(lane.accounts.here().late)),
    )
}

/// The rejects of a pipeline by stage and code. Codes come from transforms, so there may be many.
fn rejected(seen: &Seen) -> Vec<(Labels, u64)> {
    let mut by_stage: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for (reason, count) in &seen.totals.accounting.rejected {
        let stage = by_stage.entry(reason.stage.name()).or_default();
        match stage.len() > MOST_CODES {
            false if stage.len() < MOST_CODES => stage.push((&reason.code, *count)),
            false => stage.push(("other", *count)),
            true => stage[MOST_CODES].1 += count,
        }
    }
    let stages = by_stage.into_iter();
    stages
        .flat_map(|(stage, codes)| {
            codes.into_iter().map(move |(code, count)| {
                let mut labels = seen.labels();
                labels.push(("stage", stage.to_owned()));
                labels.push(("code", code.to_owned()));
                (labels, count)
            })
        })
        .collect()
}

fn lanes(families: &mut Families<'_>, seen: &[Seen]) -> fmt::Result {
    families.gauge(
        seconds(
            "penstock_lane_watermark_timestamp",
            "Event time up to which the lane's input is complete, since 1970",
        ),
        by_lane(seen, |lane| {
            let watermark = lane
                .watermark
                .get()
                .filter(|watermark| *watermark != i64::MAX)?;
            Some(watermark as f64 / 1e6)
        }),
    )?;
    families.gauge(
        bytes(
            "penstock_lane_state",
            "State of the lane's windows in memory",
        ),
        by_lane(seen, |lane| lane.state_bytes.get()),
    )?;
    families.gauge(
        plain(
            "penstock_lane_resident_keys",
            "Keys whose state is in memory",
        ),
        by_lane(seen, |lane| lane.resident_keys.get()),
    )?;
    families.gauge(
        plain(
            "penstock_lane_heaviest_key_ratio",
            "The part of the lane's rows that have its heaviest key, of late; none where no key is heavy",
        ),
        by_lane(seen, |lane| Some(lane.heavy_keys().first()?.share)),
    )?;
    families.gauge(
        plain(
            "penstock_lane_outbox_entries",
            "Entries of the outbox, of many messages each, that are committed and that a sink has yet to take",
        ),
        by_lane(seen, |lane| lane.outbox_entries.get()),
    )?;
    store::requests(families, seen)?;
    unfinished(families, seen)?;
    families.counter(
        plain(
            "penstock_transform_traps",
            "Calls of the transform that trapped or broke a limit",
        ),
        by_lane(seen, |lane| load(&lane.traps)),
    )
}

fn unfinished(families: &mut Families<'_>, seen: &[Seen]) -> fmt::Result {
    families.gauge(
        plain(
            "penstock_lane_unfinished_windows",
            "Windows that the transform could not finish and that are kept for its next version",
        ),
        by_lane(seen, |lane| lane.unfinished.get()),
    )?;
    families.counter(
        plain(
            "penstock_unfinished_windows_dropped",
            "Windows that the transform could not finish and that were not kept, as there was no room",
        ),
        by_lane(seen, |lane| load(&lane.unfinished_dropped)),
    )?;
    families.counter(
        plain(
            "penstock_unfinished_windows_tried",
            "Windows that another version could not finish and that were tried again",
        ),
        by_lane(seen, |lane| load(&lane.unfinished_tried)),
    )?;
    families.counter(
        plain(
            "penstock_unfinished_windows_finished",
            "Windows that another version could not finish and that were finished after all",
        ),
        by_lane(seen, |lane| load(&lane.unfinished_finished)),
    )
}

fn times(families: &mut Families<'_>, seen: &[Seen]) -> fmt::Result {
    families.gauge(
        seconds(
            "penstock_lane_commit_age",
            "Time since the lane's last commit was durable, or since it awaits the first",
        ),
        by_lane(seen, |lane| Some(lane.since_commit()?.as_secs_f64())),
    )?;
    families.histogram(
        seconds(
            "penstock_commit_duration",
            "Time from when a commit was begun until it was durable",
        ),
        by_lane(seen, |lane| Some(lane.commits.snapshot())),
    )?;
    families.histogram(
        seconds(
            "penstock_batch_duration",
            "Time that the lane took for a batch, waiting for delivery included",
        ),
        by_lane(seen, |lane| Some(lane.batches.snapshot())),
    )
}

fn queues_and_parts(families: &mut Families<'_>, seen: &[Seen]) -> fmt::Result {
    let fills = || {
        seen.iter().flat_map(|seen| {
            let lanes = seen.lanes.iter().filter_map(|(number, lane)| {
                let mut labels = seen.lane_labels(*number);
                labels.push(("queue", "lane".to_owned()));
                Some((labels, lane.queue.get()?))
            });
            let deliveries = seen.deliveries.iter().filter_map(|(lane, delivery)| {
                let mut labels = seen.labels();
                if !lane.is_empty() {
                    labels.push(("lane", lane.clone()));
                }
                labels.push(("queue", "delivery".to_owned()));
                Some((labels, delivery.queue.get()?))
            });
            lanes.chain(deliveries)
        })
    };
    families.gauge(
        bytes("penstock_queue", "What waits in the queue before a part"),
        fills().map(|(labels, fill)| (labels, fill.bytes())),
    )?;
    families.gauge(
        bytes(
            "penstock_queue_limit",
            "What the queue holds at most; then whoever fills it waits",
        ),
        fills().map(|(labels, fill)| (labels, fill.bound())),
    )?;
    let busy = seen.iter().flat_map(|seen| {
        seen.pipeline
            .parts()
            .into_iter()
            .map(|(part, doing, since)| {
                let mut labels = seen.labels();
                labels.push(("part", part));
                let works = doing == Doing::Working;
                (labels, if works { since.as_secs_f64() } else { 0.0 })
            })
    });
    families.gauge(
        seconds(
            "penstock_part_busy",
            "For how long a part has worked on one thing; 0 if it rests or waits",
        ),
        busy,
    )
}
