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
    LoweredOpening, lift_finished, lift_rows, lift_spec, lift_updated, refuse_large_states,
};
use super::limits::{Ceiling, CpuMeter, LimitExceeded, Limits, Waits};
use super::wasi;
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
        if self.lines.len() >= self.limits.log_lines_per_call {
            self.dropped += 1;
            return;
        }
        let cut = message.floor_char_boundary(self.limits.log_line_bytes);
        message.truncate(cut);
        self.lines.push((level, message));
    }
}

impl metrics::Host for Data {
    fn count(&mut self, name: String, amount: u64) {
        if self.counted.len() >= self.limits.metric_calls || name.len() > self.limits.name_bytes {
            self.dropped += 1;
            return;
        }
        self.counted.push((name, amount));
    }

    fn observe(&mut self, name: String, value: f64) {
        if self.observed.len() >= self.limits.metric_calls || name.len() > self.limits.name_bytes {
            self.dropped += 1;
            return;
        }
        self.observed.push((name, value));
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
        let hostile = |what: String| CallError::Hostile { call: CALL, what };
        let indices = component.windowed.as_ref().ok_or_else(|| {
            hostile("it does not export `windowed`, which this pipeline needs".into())
        })?;
        let mut store = store(component, limits);
        let meter = Arc::clone(&store.data().meter);
        begin(&mut store);
        let opened = CpuMeter::run(Arc::clone(&meter), async {
            let instance = component.pre.instantiate_async(&mut store).await?;
            indices.load(&mut store, &instance)
        })
        .await;
        let guest = opened.map_err(|error| fault(CALL, &error, &store))?;
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
            Err(error) => return Err(fault(CALL, &error, &store)),
            Ok(Err(failure)) => return Err(refusal(CALL, failure)),
            Ok(Ok(spec)) => lift_spec(spec, opening, limits).map_err(hostile)?,
        };
        let mut instance = Self {
            store,
            guest,
            spec,
            figures: Figures::default(),
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

    fn end<T>(
        &mut self,
        call: &'static str,
        result: wasmtime::Result<Result<T, types::Failure>>,
    ) -> Result<T, CallError> {
        match result {
            Err(error) => Err(fault(call, &error, &self.store)),
            Ok(Err(failure)) => Err(refusal(call, failure)),
            Ok(Ok(value)) => {
                self.spent = false;
                self.keep_what_was_said();
                Ok(value)
            }
        }
    }

    fn keep_what_was_said(&mut self) {
        let data = self.store.data_mut();
        for (level, line) in data.lines.drain(..) {
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
            let updated = self.end(CALL, result)?;
            lift_updated(
                updated,
                &self.spec.state,
                count,
                groups.len,
                &self.store.data().limits,
            )
            .map_err(|what| CallError::Hostile { call: CALL, what })
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
            let merged = self.end(CALL, result)?;
            let most = self.store.data().limits.state_per_group;
            lift_rows(&self.spec.state, merged, earlier.len)
                .and_then(|states| refuse_large_states(&states, most).map(|()| states))
                .map_err(|what| CallError::Hostile { call: CALL, what })
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
            let finished = self.end(CALL, result)?;
            let most = self.store.data().limits.output_rows;
            lift_finished(finished, &self.spec.output, groups.len, most)
                .map_err(|what| CallError::Hostile { call: CALL, what })
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
    data.counted.clear();
    data.observed.clear();
    let output_bytes = data.limits.output_bytes;
    store.set_hostcall_fuel(output_bytes);
}

/// What wasmtime's error says to the operator.
fn fault(call: &'static str, error: &wasmtime::Error, store: &Store<Data>) -> CallError {
    if let Some(limit) = error.downcast_ref::<LimitExceeded>() {
        return CallError::Limit {
            call,
            name: limit.name,
            limit: limit.limit.clone(),
            current: limit.current.clone(),
            requested: limit.requested.clone(),
        };
    }
    if error.is::<Waits>() {
        return CallError::Waits { call };
    }
    let mut reason = error.root_cause().to_string();
    // Wasmtime keeps the type of this error to itself, so its text is all there is to go by.
    if reason.contains("fuel allocated for hostcalls has been exhausted") {
        return CallError::Limit {
            call,
            name: "output_bytes",
            limit: format!("{} bytes", store.data().limits.output_bytes),
            current: "all of it".into(),
            requested: "bytes".into(),
        };
    }
    let named = error
        .downcast_ref::<wasmtime::WasmBacktrace>()
        .into_iter()
        .flat_map(|trace| trace.frames())
        .filter_map(|frame| frame.func_name());
    let named: Vec<&str> = named.take(8).collect();
    if !named.is_empty() {
        reason = format!("{reason}, in {}", named.join(", called by "));
    }
    if let Some((_, last)) = store.data().lines.last() {
        reason = format!("{reason}; the last it logged: {last}");
    }
    CallError::Trap { call, reason }
}

fn refusal(call: &'static str, failure: types::Failure) -> CallError {
    let (kind, message) = match failure {
        types::Failure::BadConfig(message) => ("bad configuration", message),
        types::Failure::BadInput(message) => ("bad input", message),
        types::Failure::Internal(message) => ("internal failure", message),
    };
    CallError::Failure {
        call,
        kind,
        message,
    }
}

fn param<'a>(rows: usize, buffers: &'a [&'a [u8]]) -> types::ColumnsParam<'a> {
    types::ColumnsParam {
        rows: u32::try_from(rows).expect("a lane's batches have at most 2^20 rows"),
        buffers,
    }
}
