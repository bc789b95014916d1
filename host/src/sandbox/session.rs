//! What every opened instance has, whatever it exports: a store with its limits, the account of a
//! call, what the guest said, and the checks around a call.

use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::{log, metrics, types};
use super::ceiling::Ceiling;
use super::component::Component;
use super::exchange::RejectCodes;
use super::fault::{self, Fault, refusal};
use super::limits::{LimitExceeded, Limits};
use super::meter::{CpuMeter, LogRate};
use super::{CONTRACT, text, wasi};
use crate::transform::{CallError, Figures};

/// Streams, timers and the like that a component may hold at once. They live in the host's memory.
pub(super) const WASI_RESOURCES: usize = 10_000;

/// The data of an instance's store.
pub(super) struct Data {
    ceiling: Ceiling,
    meter: Arc<CpuMeter>,
    wasi: WasiCtx,
    table: ResourceTable,
    wasi_shared: Arc<wasi::Shared>,
    limits: Limits,
    /// What the current call said; kept only if it succeeds.
    lines: Vec<(log::Level, String)>,
    counted: Vec<(String, u64)>,
    observed: Vec<(String, f64)>,
    /// The last error that came when there was no place for lines any more.
    last_error: Option<String>,
    dropped: u64,
}

impl wasmtime::component::HasData for Data {
    type Data<'a> = &'a mut Data;
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl types::Host for Data {}

impl log::Host for Data {
    fn write(&mut self, level: log::Level, mut message: String) {
        let is_full = self.lines.len() >= self.limits.log_lines_per_call;
        // The message of a panic is worth more than all lines before it, so it always has a place.
        if is_full && level != log::Level::Error {
            self.dropped += 1;
            return;
        }
        message.truncate(message.floor_char_boundary(self.limits.log_line_bytes));
        // To truncate keeps the room, and a guest may write a line of all the bytes that cross.
        message.shrink_to_fit();
        if is_full {
            self.dropped += 1;
            self.last_error = Some(message);
        } else {
            self.lines.push((level, message));
        }
    }
}

impl metrics::Host for Data {
    fn count(&mut self, mut name: String, amount: u64) {
        if self.counted.len() >= self.limits.metric_calls || !self.is_metric_name(&name) {
            self.dropped += 1;
            return;
        }
        name.shrink_to_fit();
        self.counted.push((name, amount));
    }

    fn observe(&mut self, mut name: String, value: f64) {
        if self.observed.len() >= self.limits.metric_calls || !self.is_metric_name(&name) {
            self.dropped += 1;
            return;
        }
        name.shrink_to_fit();
        self.observed.push((name, value));
    }
}

impl Data {
    fn is_metric_name(&self, name: &str) -> bool {
        name.len() <= self.limits.name_bytes && name.chars().all(text::is_harmless)
    }

    /// What the guest logged last in this call.
    fn last_line(&self) -> Option<&str> {
        let kept = self.lines.last().map(|(_, line)| line);
        self.last_error.as_ref().or(kept).map(String::as_str)
    }
}

/// An instance of a component while it lives. What it exports is called through its store, between
/// [`Session::begin`] and [`Session::end`].
///
/// After a call failed the instance is spent: the host drops it.
pub(super) struct Session {
    pub(super) store: Store<Data>,
    figures: Figures,
    reject_codes: RejectCodes,
    label: Arc<str>,
    /// Of all instances of the component: one that begins anew may not say as much again.
    log_rate: Arc<Mutex<LogRate>>,
    spent: bool,
}

impl Session {
    /// Makes an instance within its limits. It is spent until a call, that which opens it, has ended well;
    /// the CPU time of both is one account.
    pub(super) async fn start(
        component: &Component,
        limits: &Limits,
        label: &str,
        call: &'static str,
    ) -> Result<(Self, wasmtime::component::Instance), CallError> {
        let mut store = store(component, limits);
        begin(&mut store);
        let meter = Arc::clone(&store.data().meter);
        let started = component.pre.instantiate_async(&mut store);
        let started = CpuMeter::run(meter, started).await;
        let started = started.map_err(|error| fault_of_call(call, &error, &store))?;
        let session = Self {
            store,
            figures: Figures::default(),
            reject_codes: RejectCodes::default(),
            label: label.into(),
            log_rate: Arc::clone(&component.log_rate),
            spent: true,
        };
        Ok((session, started))
    }

    /// The account of CPU time that the calls run on.
    pub(super) fn meter(&self) -> Arc<CpuMeter> {
        Arc::clone(&self.store.data().meter)
    }

    /// What it has told the operator, and what it has read of the world that is not there.
    pub(super) fn figures(&self) -> Figures {
        let mut figures = self.figures.clone();
        self.store.data().wasi_shared.add_to(&mut figures);
        figures
    }

    pub(super) fn metric_names(&self) -> usize {
        self.store.data().limits.metric_names
    }

    /// Starts the account of a call.
    pub(super) fn begin(&mut self, call: &'static str) -> Result<Arc<CpuMeter>, CallError> {
        if self.spent {
            return Err(CallError::Trap {
                call,
                reason: "this instance failed before and may not be called again".into(),
            });
        }
        // Until the call has ended well: also a call whose future is dropped halfway spends the instance.
        self.spent = true;
        begin(&mut self.store);
        Ok(self.meter())
    }

    /// Checks what a call returned. Only once that is found good the instance is healthy, and what
    /// the guest said is kept.
    pub(super) fn end<T, U>(
        &mut self,
        call: &'static str,
        result: wasmtime::Result<Result<T, types::Failure>>,
        lift: impl FnOnce(T, &Limits, &mut RejectCodes) -> Result<U, Fault>,
    ) -> Result<U, CallError> {
        let returned = result
            .map_err(|error| fault_of_call(call, &error, &self.store))?
            .map_err(|failure| refusal(call, failure))?;
        let limits = &self.store.data().limits;
        let lifted =
            lift(returned, limits, &mut self.reject_codes).map_err(|fault| fault.of(call))?;
        self.spent = false;
        self.keep_what_was_said();
        Ok(lifted)
    }

    fn keep_what_was_said(&mut self) {
        let data = self.store.data_mut();
        let per_second = data.limits.log_bytes_per_second as u64;
        for (level, line) in data.lines.drain(..) {
            // Nobody panics while they hold it.
            let rate = self.log_rate.lock();
            let mut rate = rate.unwrap_or_else(PoisonError::into_inner);
            if !rate.lets(line.len(), per_second) {
                self.figures.dropped += 1;
                continue;
            }
            drop(rate);
            let line = text::shown(&line);
            let transform = &*self.label;
            match level {
                log::Level::Debug => tracing::debug!(target: "transform", transform, "{line}"),
                log::Level::Info => tracing::info!(target: "transform", transform, "{line}"),
                log::Level::Warn => tracing::warn!(target: "transform", transform, "{line}"),
                log::Level::Error => tracing::error!(target: "transform", transform, "{line}"),
            }
        }
        self.figures.dropped += std::mem::take(&mut data.dropped);
        let room = data.limits.metric_names;
        for (name, amount) in data.counted.drain(..) {
            let counts = &mut self.figures.counts;
            if counts.len() >= room && !counts.contains_key(&name) {
                self.figures.dropped += 1;
                continue;
            }
            let count = counts.entry(name).or_default();
            *count = count.saturating_add(amount);
        }
        for (name, value) in data.observed.drain(..) {
            let observations = &mut self.figures.observations;
            if observations.len() >= room && !observations.contains_key(&name) {
                self.figures.dropped += 1;
                continue;
            }
            observations.entry(name).or_default().add(value);
        }
    }
}

/// A function of the right name may have another signature, which is seen only when it is loaded.
pub(super) fn other_signature(
    call: &'static str,
    interface: &str,
    error: &wasmtime::Error,
) -> CallError {
    let what = format!(
        "its `{interface}` is not that of contract {CONTRACT}: {error:#}; build it with an SDK of version 0.1"
    );
    Fault::Breaks(what).of(call)
}

/// Columns as an argument of a call.
pub(super) fn param<'a>(rows: usize, buffers: &'a [&'a [u8]]) -> types::ColumnsParam<'a> {
    types::ColumnsParam {
        rows: u32::try_from(rows).expect("a pipeline's batches have at most 2^20 rows"),
        buffers,
    }
}

fn store(component: &Component, limits: &Limits) -> Store<Data> {
    let meter = Arc::new(CpuMeter::default());
    let wasi_shared = Arc::new(wasi::Shared::default());
    let mut table = ResourceTable::new();
    table.set_max_capacity(WASI_RESOURCES);
    let mut store = Store::new(
        component.pre.engine(),
        Data {
            ceiling: Ceiling::new(limits, Arc::clone(&component.memory)),
            meter: Arc::clone(&meter),
            wasi: wasi::context(&wasi_shared),
            table,
            wasi_shared,
            limits: limits.clone(),
            lines: Vec::new(),
            counted: Vec::new(),
            observed: Vec::new(),
            last_error: None,
            dropped: 0,
        },
    );
    store.limiter(|data| &mut data.ceiling);
    let allowed = limits.cpu_per_call;
    store.epoch_deadline_callback(move |_| {
        let used = meter.used();
        if used <= allowed {
            meter.yields();
            return Ok(UpdateDeadline::Yield(1));
        }
        Err(wasmtime::Error::new(LimitExceeded {
            name: "cpu_per_call",
            limit: format!("{allowed:?}"),
            current: format!("{used:?}"),
            requested: "time".into(),
        }))
    });
    store
}

fn begin(store: &mut Store<Data>) {
    store.set_epoch_deadline(1);
    let data = store.data_mut();
    data.meter.reset();
    data.wasi_shared.restart();
    data.lines.clear();
    data.last_error = None;
    data.dropped = 0;
    data.counted.clear();
    data.observed.clear();
    let output_bytes = data.limits.output_bytes;
    store.set_hostcall_fuel(output_bytes);
}

fn fault_of_call(call: &'static str, error: &wasmtime::Error, store: &Store<Data>) -> CallError {
    let data = store.data();
    fault::of_call(call, error, &data.limits, data.last_line())
}
