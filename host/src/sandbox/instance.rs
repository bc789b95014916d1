//! An opened windowed transform: its calls, and the checks of what comes back.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;

use super::Limits;
use super::arrow as wire;
use super::bindings::{migration, windowed};
use super::component::{Component, Interface};
use super::exchange::{
    LoweredOpening, lift_finished, lift_rows, lift_spec, lift_updated, refuse_large_states,
};
use super::meter::CpuMeter;
use super::session::{Session, other_signature, param};
use crate::transform::{
    CallError, Figures, Finished, Groups, Merged, Opening, Rows, Updated, Windowed, WindowedSpec,
};

/// A windowed transform in the sandbox.
///
/// After a call failed the instance is spent: the host drops it.
pub struct Instance {
    pub(super) session: Session,
    guest: windowed::Guest,
    /// Or what is to be said if it is wanted and not there.
    pub(super) migration: Result<migration::Guest, CallError>,
    pub(super) spec: WindowedSpec,
}

impl Instance {
    /// What it has told the operator.
    pub(super) fn told(&self) -> Figures {
        self.session.figures()
    }

    /// How many names of metrics it may have.
    pub(super) fn metric_names(&self) -> usize {
        self.session.metric_names()
    }

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
            .ok_or_else(|| component.lacks(CALL, Interface::Windowed))?;
        let (mut session, started) = Session::start(component, limits, label, CALL).await?;
        let guest = indices
            .load(&mut session.store, &started)
            .map_err(|error| other_signature(CALL, "windowed", &error))?;
        let migration = match &component.migration {
            None => Err(component.lacks("migrate", Interface::Migration)),
            Some(indices) => Ok(indices
                .load(&mut session.store, &started)
                .map_err(|error| other_signature(CALL, "migration", &error))?),
        };
        let offered = LoweredOpening::new(opening).map_err(|message| CallError::Failure {
            call: CALL,
            kind: "bad input",
            message,
        })?;
        let meter = session.meter();
        let store = &mut session.store;
        let opened = offered
            .pass(async |opening| {
                CpuMeter::run(meter, guest.call_open_windowed(store, opening)).await
            })
            .await;
        let spec = session.end(CALL, opened, |spec, limits, _| {
            lift_spec(spec, opening, limits)
        })?;
        Ok(Self {
            session,
            guest,
            migration,
            spec,
        })
    }
}

impl Windowed for Instance {
    fn figures(&self) -> Figures {
        self.told()
    }

    fn state(&self) -> Option<SchemaRef> {
        Some(SchemaRef::clone(&self.spec.state))
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
            let meter = self.session.begin(CALL)?;
            let result = CpuMeter::run(
                meter,
                self.guest.call_accumulate(
                    &mut self.session.store,
                    0,
                    param(count, &input.slices()),
                    rows.group_of_row.inner().as_slice(),
                    param(groups.len, &keys.slices()),
                    param(groups.len, &states.slices()),
                ),
            )
            .await;
            self.session.end(CALL, result, |updated, limits, codes| {
                let updated = lift_updated(updated, &self.spec.state, count, groups.len, limits)?;
                codes.learn(&updated.rejects, limits.reject_codes)?;
                Ok(updated)
            })
        })
    }

    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Merged, CallError>> {
        const CALL: &str = "merge";
        Box::pin(async move {
            let keys = wire::lower(earlier.keys);
            let left = wire::lower(earlier.states);
            let right = wire::lower(later);
            let meter = self.session.begin(CALL)?;
            let result = CpuMeter::run(
                meter,
                self.guest.call_merge_states(
                    &mut self.session.store,
                    param(earlier.len, &keys.slices()),
                    param(earlier.len, &left.slices()),
                    param(earlier.len, &right.slices()),
                ),
            )
            .await;
            self.session.end(CALL, result, |merged, limits, _| {
                let states = lift_rows(&self.spec.state, merged, earlier.len)?;
                refuse_large_states(&states, limits.state_per_group)?;
                Ok(states.into())
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
            let meter = self.session.begin(CALL)?;
            let result = CpuMeter::run(
                meter,
                self.guest.call_finish_groups(
                    &mut self.session.store,
                    param(groups.len, &keys.slices()),
                    param(groups.len, &bounds.slices()),
                    param(groups.len, &states.slices()),
                ),
            )
            .await;
            self.session.end(CALL, result, |finished, limits, _| {
                lift_finished(finished, &self.spec.output, groups.len, limits.output_rows)
            })
        })
    }
}
