//! An opened instance of a component: calls, their limits, and the checks of what comes back.

use std::sync::Arc;

use arrow::array::ArrayRef;
use futures::future::BoxFuture;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::arrow as wire;
use super::bindings::{log, metrics, types, windowed};
use super::component::Component;
use super::exchange::{
    LoweredOpening, RejectCodes, lift_finished, lift_rows, lift_spec, lift_updated,
    refuse_large_states,
};
use super::fault::{self, Fault, refusal};
use super::limits::{Ceiling, CpuMeter, LimitExceeded, Limits};
use super::{CONTRACT, text, wasi};
use crate::transform::{
    CallError, Figures, Finished, Groups, Opening, Rows, Updated, Windowed, WindowedSpec,
};

/// Streams, timers and the like that a component may hold at once. They live in the host's memory.
const WASI_RESOURCES: usize = 10_000;

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

/// A windowed transform in the sandbox.
///
/// After a call failed the instance is spent: the host drops it.
pub struct Instance {
    store: Store<Data>,
    guest: windowed::Guest,
    spec: WindowedSpec,
    figures: Figures,
    reject_codes: RejectCodes,
    label: Arc<str>,
    spent: bool,
}

impl Instance {
    /// What the transform said of itself when it was opened.
    pub fn spec(&self) -> &WindowedSpec {
        &self.spec
    }

    pub(super) async fn open(
        component: &Component,
        opening: &Opening,
        limits: &Limits,
        label: &str,
    ) -> Result<Self, CallError> {
        const CALL: &str = "open";
        let indices = component
            .windowed
            .as_ref()
            .ok_or_else(|| CallError::NotWindowed {
                call: CALL,
                is: component.kind(),
            })?;
        let mut store = store(component, limits);
        let meter = Arc::clone(&store.data().meter);
        begin(&mut store);
        let started = CpuMeter::run(
            Arc::clone(&meter),
            component.pre.instantiate_async(&mut store),
        )
        .await;
        let started = started.map_err(|error| fault_of_call(CALL, &error, &store))?;
        // Only here is it seen that a function of the right name has another signature.
        let guest = indices.load(&mut store, &started).map_err(|error| {
            let what = format!("its `windowed` is not that of contract {CONTRACT}: {error:#}; build it with an SDK of version 0.1");
            Fault::Breaks(what).of(CALL)
        })?;
        let offered = LoweredOpening::new(opening).map_err(|message| CallError::Failure {
            call: CALL,
            kind: "bad input",
            message,
        })?;
        let store_of_call = &mut store;
        let opened = offered
            .pass(async |opening| {
                CpuMeter::run(meter, guest.call_open_windowed(store_of_call, opening)).await
            })
            .await;
        let spec = match opened {
            Err(error) => return Err(fault_of_call(CALL, &error, &store)),
            Ok(Err(failure)) => return Err(refusal(CALL, failure)),
            Ok(Ok(spec)) => {
                lift_spec(spec, opening, limits).map_err(|what| Fault::Breaks(what).of(CALL))?
            }
        };
        let mut instance = Self {
            store,
            guest,
            spec,
            figures: Figures::default(),
            reject_codes: RejectCodes::default(),
            label: label.into(),
            spent: false,
        };
        instance.keep_what_was_said();
        Ok(instance)
    }

    fn begin(&mut self, call: &'static str) -> Result<Arc<CpuMeter>, CallError> {
        if self.spent {
            return Err(CallError::Trap {
                call,
                reason: "this instance failed before and may not be called again".into(),
            });
        }
        // Until the call has ended well: also a call whose future is dropped halfway spends the instance.
        self.spent = true;
        begin(&mut self.store);
        Ok(Arc::clone(&self.store.data().meter))
    }

    /// Checks what a call returned. Only once that is found good the instance is healthy, and what
    /// the guest said is kept.
    fn end<T, U>(
        &mut self,
        call: &'static str,
        result: wasmtime::Result<Result<T, types::Failure>>,
        lift: impl FnOnce(T, &WindowedSpec, &Limits, &mut RejectCodes) -> Result<U, Fault>,
    ) -> Result<U, CallError> {
        let returned = result
            .map_err(|error| fault_of_call(call, &error, &self.store))?
            .map_err(|failure| refusal(call, failure))?;
        let limits = &self.store.data().limits;
        let lifted = lift(returned, &self.spec, limits, &mut self.reject_codes)
            .map_err(|fault| fault.of(call))?;
        self.spent = false;
        self.keep_what_was_said();
        Ok(lifted)
    }

    fn keep_what_was_said(&mut self) {
        let data = self.store.data_mut();
        for (level, line) in data.lines.drain(..) {
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

impl Windowed for Instance {
    fn figures(&self) -> Figures {
        let mut figures = self.figures.clone();
        self.store.data().wasi_shared.add_to(&mut figures);
        figures
    }

    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        const CALL: &str = "accumulate";
        Box::pin(async move {
            let count = rows.group_of_row.len();
            let input = wire::lower(rows.columns);
            let keys = wire::lower(groups.keys);
            let states = wire::lower(groups.states);
            let meter = self.begin(CALL)?;
            let result = CpuMeter::run(
                meter,
                self.guest.call_accumulate(
                    &mut self.store,
                    0,
                    param(count, &input.slices()),
                    rows.group_of_row.inner().as_slice(),
                    param(groups.len, &keys.slices()),
                    param(groups.len, &states.slices()),
                ),
            )
            .await;
            self.end(CALL, result, |updated, spec, limits, codes| {
                let updated = lift_updated(updated, &spec.state, count, groups.len, limits)?;
                codes.learn(&updated.rejects, limits.reject_codes)?;
                Ok(updated)
            })
        })
    }

    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Vec<ArrayRef>, CallError>> {
        const CALL: &str = "merge";
        Box::pin(async move {
            let keys = wire::lower(earlier.keys);
            let left = wire::lower(earlier.states);
            let right = wire::lower(later);
            let meter = self.begin(CALL)?;
            let result = CpuMeter::run(
                meter,
                self.guest.call_merge_states(
                    &mut self.store,
                    param(earlier.len, &keys.slices()),
                    param(earlier.len, &left.slices()),
                    param(earlier.len, &right.slices()),
                ),
            )
            .await;
            self.end(CALL, result, |merged, spec, limits, _| {
                let states = lift_rows(&spec.state, merged, earlier.len)?;
                refuse_large_states(&states, limits.state_per_group)?;
                Ok(states)
            })
        })
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        const CALL: &str = "finish";
        Box::pin(async move {
            let keys = wire::lower(groups.keys);
            let bounds = wire::lower(bounds);
            let states = wire::lower(groups.states);
            let meter = self.begin(CALL)?;
            let result = CpuMeter::run(
                meter,
                self.guest.call_finish_groups(
                    &mut self.store,
                    param(groups.len, &keys.slices()),
                    param(groups.len, &bounds.slices()),
                    param(groups.len, &states.slices()),
                ),
            )
            .await;
            self.end(CALL, result, |finished, spec, limits, _| {
                lift_finished(finished, &spec.output, groups.len, limits.output_rows)
            })
        })
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
            ceiling: Ceiling::new(limits),
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

fn param<'a>(rows: usize, buffers: &'a [&'a [u8]]) -> types::ColumnsParam<'a> {
    types::ColumnsParam {
        rows: u32::try_from(rows).expect("a lane's batches have at most 2^20 rows"),
        buffers,
    }
}
