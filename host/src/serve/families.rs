//! Families of metrics, written one after the other from numbers that are read at that moment.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::pipeline::telemetry::HistogramSnapshot;

/// What tells the series of a family apart.
pub(super) type Labels = Vec<(&'static str, String)>;

/// What a family is called. The unit follows the name, and `_total` that of a counter.
pub(super) struct Called {
    pub(super) name: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) help: &'static str,
}

/// A name without a unit.
pub(super) fn plain(name: &'static str, help: &'static str) -> Called {
    Called {
        name,
        unit: None,
        help,
    }
}

/// A name with `_seconds` after it.
pub(super) fn seconds(name: &'static str, help: &'static str) -> Called {
    Called {
        name,
        unit: Some(Unit::Seconds),
        help,
    }
}

/// A name with `_bytes` after it.
pub(super) fn bytes(name: &'static str, help: &'static str) -> Called {
    Called {
        name,
        unit: Some(Unit::Bytes),
        help,
    }
}

/// Writes families. One without series is left out.
pub(super) struct Families<'a>(pub(super) DescriptorEncoder<'a>);

impl Families<'_> {
    /// Something that only rises.
    pub(super) fn counter<N: EncodeCounterValue>(
        &mut self,
        called: Called,
        series: impl IntoIterator<Item = (Labels, N)>,
    ) -> fmt::Result {
        self.family(called, MetricType::Counter, series, |mut encoder, count| {
            encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
        })
    }

    /// Something that rises and falls.
    pub(super) fn gauge<N: EncodeGaugeValue>(
        &mut self,
        called: Called,
        series: impl IntoIterator<Item = (Labels, N)>,
    ) -> fmt::Result {
        self.family(called, MetricType::Gauge, series, |mut encoder, value| {
            encoder.encode_gauge(&value)
        })
    }

    /// How often something took how long. What never happened is left out.
    pub(super) fn histogram(
        &mut self,
        called: Called,
        series: impl IntoIterator<Item = (Labels, HistogramSnapshot)>,
    ) -> fmt::Result {
        let happened = series
            .into_iter()
            .filter(|(_, durations)| durations.count() > 0);
        self.family(
            called,
            MetricType::Histogram,
            happened,
            |mut encoder, durations| {
                let (sum, count) = (durations.sum_s, durations.count());
                encoder.encode_histogram::<NoLabelSet>(sum, count, &durations.buckets, None)
            },
        )
    }

    fn family<N>(
        &mut self,
        called: Called,
        kind: MetricType,
        series: impl IntoIterator<Item = (Labels, N)>,
        encode: impl Fn(prometheus_client::encoding::MetricEncoder<'_>, N) -> fmt::Result,
    ) -> fmt::Result {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut family =
            (self.0).encode_descriptor(called.name, called.help, called.unit.as_ref(), kind)?;
        for (labels, value) in series {
            match labels.is_empty() {
                true => return encode(family, value),
                false => encode(family.encode_family(&labels)?, value)?,
            }
        }
        Ok(())
    }
}
