//! What serving counts of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::refusal::Refusal;
use crate::pipeline::telemetry::{DURATIONS, Histogram};
use crate::serve::families::{Families, Labels, plain, seconds};

/// Numbers that only rise, of all protocols together but for requests.
#[derive(Debug)]
pub(in crate::serve) struct ServingFigures {
    /// By protocol, method and outcome, all of which are few.
    requests: Mutex<BTreeMap<[&'static str; 3], u64>>,
    /// By protocol.
    durations: [(&'static str, Histogram); 2],
    values: AtomicU64,
    put: AtomicU64,
    shed: AtomicU64,
}

/// The protocols, as labels name them.
pub(in crate::serve) const REST: &str = "rest";
pub(in crate::serve) const GRPC: &str = "grpc";

impl Default for ServingFigures {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            durations: [REST, GRPC].map(|protocol| (protocol, Histogram::new(&DURATIONS))),
            values: AtomicU64::default(),
            put: AtomicU64::default(),
            shed: AtomicU64::default(),
        }
    }
}

impl ServingFigures {
    /// A request has ended.
    pub(in crate::serve) fn ended<T>(
        &self,
        protocol: &'static str,
        method: &'static str,
        outcome: &Result<T, Refusal>,
        took: Duration,
    ) {
        let outcome = match outcome {
            Ok(_) => "ok",
            Err(refusal) => refusal.kind.code(),
        };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry([protocol, method, outcome]).or_default() += 1;
        drop(requests);
        for (of, durations) in &self.durations {
            if *of == protocol {
                durations.observe(took);
            }
        }
    }

    pub(super) fn values(&self, values: usize) {
        self.values.fetch_add(values as u64, Ordering::Relaxed);
    }

    pub(super) fn put(&self, values: usize) {
        self.put.fetch_add(values as u64, Ordering::Relaxed);
    }

    pub(super) fn shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }
}

/// The metrics of serving.
#[derive(Debug)]
pub(in crate::serve) struct ServingMetrics(pub(in crate::serve) Arc<ServingFigures>);

impl Collector for ServingMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        let figures = &self.0;
        let requests = figures
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        families.counter(
            plain(
                "penstock_serve_requests",
                "Requests for features that were answered or refused",
            ),
            requests
                .into_iter()
                .map(|([protocol, method, outcome], count)| {
                    let labels: Labels = vec![
                        ("protocol", protocol.to_owned()),
                        ("method", method.to_owned()),
                        ("outcome", outcome.to_owned()),
                    ];
                    (labels, count)
                }),
        )?;
        let snapshots = figures.durations.iter().map(|(protocol, times)| {
            (vec![("protocol", (*protocol).to_owned())], times.snapshot())
        });
        families.histogram(
            seconds(
                "penstock_serve_duration",
                "How long requests for features took",
            ),
            snapshots,
        )?;
        let one = |count: &AtomicU64| [(Labels::new(), count.load(Ordering::Relaxed))];
        families.counter(
            plain("penstock_serve_values", "Values that were answered with"),
            one(&figures.values),
        )?;
        families.counter(
            plain("penstock_serve_put_values", "Values that were put"),
            one(&figures.put),
        )?;
        families.counter(
            plain(
                "penstock_serve_shed",
                "Requests that were turned away for want of room",
            ),
            one(&figures.shed),
        )
    }
}
