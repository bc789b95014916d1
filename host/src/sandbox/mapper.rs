//! An opened mapper: its calls, and the checks of what comes back.

use arrow::array::ArrayRef;
use futures::future::BoxFuture;

use super::Limits;
use super::arrow as wire;
use super::bindings::mapper;
use super::component::{Component, Interface};
use super::exchange::{LoweredOpening, lift_mapped, lift_mapper_spec};
use super::meter::CpuMeter;
use super::session::{Session, other_signature, param};
use crate::transform::{CallError, Figures, Mapped, Mapper, MapperSpec, Opening};

/// A mapper in the sandbox.
///
/// After a call failed the instance is spent: the host drops it.
pub struct MapperInstance {
    session: Session,
    guest: mapper::Guest,
    spec: MapperSpec,
}

impl MapperInstance {
    /// What the mapper said of itself when it was opened.
    pub fn spec(&self) -> &MapperSpec {
        &self.spec
    }

    pub(super) async fn open(
        component: &Component,
        opening: &Opening,
        limits: &Limits,
        label: &str,
    ) -> Result<Self, CallError> {
        const CALL: &str = "open-mapper";
        let indices = component
            .mapper
            .as_ref()
            .ok_or_else(|| component.lacks(CALL, Interface::Mapper))?;
        let (mut session, started) = Session::start(component, limits, label, CALL).await?;
        let guest = indices
            .load(&mut session.store, &started)
            .map_err(|error| other_signature(CALL, "mapper", &error))?;
        let offered = LoweredOpening::new(opening).map_err(|message| CallError::Failure {
            call: CALL,
            kind: "bad input",
            message,
        })?;
        let meter = session.meter();
        let store = &mut session.store;
        let opened = offered
            .pass(async |opening| {
                CpuMeter::run(meter, guest.call_open_mapper(store, opening)).await
            })
            .await;
        let spec = session.end(CALL, opened, |spec, limits, _| {
            lift_mapper_spec(spec, opening, limits)
        })?;
        Ok(Self {
            session,
            guest,
            spec,
        })
    }
}

impl Mapper for MapperInstance {
    fn figures(&self) -> Figures {
        self.session.figures()
    }

    fn map<'a>(
        &'a mut self,
        columns: &'a [ArrayRef],
        rows: usize,
    ) -> BoxFuture<'a, Result<Mapped, CallError>> {
        const CALL: &str = "map";
        Box::pin(async move {
            let input = wire::lower(columns);
            let meter = self.session.begin(CALL)?;
            let result = CpuMeter::run(
                meter,
                self.guest
                    .call_map_rows(&mut self.session.store, 0, param(rows, &input.slices())),
            )
            .await;
            self.session.end(CALL, result, |mapped, limits, codes| {
                let mapped = lift_mapped(mapped, &self.spec.output, rows, limits.output_rows)?;
                codes.learn(&mapped.rejects, limits.reject_codes)?;
                Ok(mapped)
            })
        })
    }
}
