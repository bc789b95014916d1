//! A windowed transform that holds an instance while it is called, and for a while afterwards.
//!
//! Instances are all alike when they are opened, and have nothing to remember between calls: states are the host's. So one
//! that has gone is made again at the next call.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;

use super::component::Component;
use super::idle::Place;
use super::instance::Instance;
use super::limits::Limits;
use super::meter::monotonic_ns;
use crate::transform::{
    CallError, Figures, Finished, Groups, Merged, Opening, Rows, Updated, Windowed, WindowedSpec,
};

/// How long a call waits for room that others have.
const PATIENCE: Duration = Duration::from_secs(10);

/// A windowed transform in the sandbox, with an instance or without.
///
/// After a call failed it may not be called again: the host drops it.
pub struct Resting {
    component: Arc<Component>,
    opening: Arc<Opening>,
    limits: Limits,
    label: Arc<str>,
    spec: WindowedSpec,
    place: Arc<Place>,
    is_spent: bool,
    /// Since when the host has no room for the call at hand, in nanoseconds of a clock that never goes back.
    waits_since: Option<u64>,
}

impl Resting {
    /// Opens a component as a windowed transform. `label` names it in the operator's log.
    ///
    /// # Errors
    ///
    /// As [`Component::open_windowed`].
    pub async fn open(
        component: &Arc<Component>,
        opening: &Arc<Opening>,
        limits: &Limits,
        label: &str,
    ) -> Result<Self, CallError> {
        let instance = component.open_windowed(opening, limits, label).await?;
        let resting = Self {
            component: Arc::clone(component),
            opening: Arc::clone(opening),
            limits: limits.clone(),
            label: label.into(),
            spec: instance.spec().clone(),
            place: Arc::default(),
            is_spent: false,
            waits_since: None,
        };
        component.idle.put(&resting.place, instance);
        Ok(resting)
    }

    /// What the transform said of itself when it was opened.
    pub fn spec(&self) -> &WindowedSpec {
        &self.spec
    }

    /// An instance to call.
    async fn wake(&mut self, call: &'static str) -> Result<Instance, CallError> {
        if self.is_spent {
            return Err(CallError::Trap {
                call,
                reason: "this instance failed before and may not be called again".into(),
            });
        }
        if let Some(instance) = self.component.idle.take(&self.place) {
            return Ok(instance);
        }
        let instance = loop {
            let (opening, limits) = (&self.opening, &self.limits);
            let opened = self.component.open_windowed(opening, limits, &self.label);
            match opened.await {
                Err(error) if error.is_pressure() && self.waits_for_room(&error).await => {}
                opened => break opened?,
            }
        };
        let (before, now) = (&self.spec, instance.spec());
        let is_same = before.columns == now.columns
            && before.state == now.state
            && before.output == now.output
            && before.initial == now.initial;
        match is_same {
            true => Ok(instance),
            false => Err(CallError::Hostile {
                call: "open",
                what: "it says something else of itself than when it was opened before".into(),
            }),
        }
    }

    /// What came of a call; none if the host had no room for it, and may have some now.
    async fn after<T>(
        &mut self,
        instance: Instance,
        called: Result<T, CallError>,
    ) -> Result<Option<T>, CallError> {
        let error = match called {
            Ok(made) => {
                self.waits_since = None;
                self.component.idle.put(&self.place, instance);
                return Ok(Some(made));
            }
            Err(error) => error,
        };
        self.place.take_over(&instance);
        // Before others are asked for room, it gives back what it has itself.
        drop(instance);
        if error.is_pressure() && self.waits_for_room(&error).await {
            return Ok(None);
        }
        self.is_spent = true;
        Err(error)
    }

    /// Sees to it that there may be room: those that wait for their next call go, and then what others have at work is
    /// waited for. Not for ever: who asks for more than there will be must hear of it.
    async fn waits_for_room(&mut self, error: &CallError) -> bool {
        let now = monotonic_ns();
        let Some(since) = self.waits_since else {
            self.waits_since = Some(now);
            if self.component.idle.let_all_go() == 0 {
                tracing::warn!(transform = &*self.label, %error, "waiting for room");
                self.component.memory.room().await;
            }
            return true;
        };
        if Duration::from_nanos(now.saturating_sub(since)) > PATIENCE {
            return false;
        }
        self.component.memory.room().await;
        true
    }
}

impl Windowed for Resting {
    fn figures(&self) -> Figures {
        self.place.figures(self.limits.metric_names)
    }

    fn state(&self) -> Option<SchemaRef> {
        Some(SchemaRef::clone(&self.spec.state))
    }

    fn accumulate<'a>(
        &'a mut self,
        rows: Rows<'a>,
        groups: Groups<'a>,
    ) -> BoxFuture<'a, Result<Updated, CallError>> {
        Box::pin(async move {
            loop {
                let mut instance = self.wake("accumulate").await?;
                let called = instance.accumulate(rows, groups).await;
                if let Some(updated) = self.after(instance, called).await? {
                    return Ok(updated);
                }
            }
        })
    }

    fn merge<'a>(
        &'a mut self,
        earlier: Groups<'a>,
        later: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Merged, CallError>> {
        Box::pin(async move {
            loop {
                let mut instance = self.wake("merge").await?;
                let called = instance.merge(earlier, later).await;
                if let Some(merged) = self.after(instance, called).await? {
                    return Ok(merged);
                }
            }
        })
    }

    fn finish<'a>(
        &'a mut self,
        groups: Groups<'a>,
        bounds: &'a [ArrayRef],
    ) -> BoxFuture<'a, Result<Finished, CallError>> {
        Box::pin(async move {
            loop {
                let mut instance = self.wake("finish").await?;
                let called = instance.finish(groups, bounds).await;
                if let Some(finished) = self.after(instance, called).await? {
                    return Ok(finished);
                }
            }
        })
    }
}
