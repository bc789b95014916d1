//! Versions that are tried on this host: from the ledger to the lanes, and what is found back to the store.
//!
//! Each host prepares the version as it would a generation, and says in the store what it found. When the time of a
//! trial is over, and hosts have had time to say so, whichever host is the first adds up what all have found and judges.

use std::sync::Arc;

use super::following::{Follower, Unfit, put_together, state_of, takes_over};
use super::keeper::host_name;
use super::shadowing::Shadowing;
use crate::pipeline::shadow::Report;
use crate::pipeline::swap::{Ledger, Shadow, ShadowFate, SwapError};
use crate::pipeline::wiring::Host;
use crate::store::embedded::EmbeddedStore;

/// Looks at the store that hosts have, to say what they found when the time of a trial is over.
const LAST_LOOKS: i64 = 3;

/// What is tried on this host.
#[derive(Default)]
pub(super) struct Watched {
    shadowing: Option<Arc<Shadowing>>,
    /// What was said of it last.
    said: Option<Report>,
    tries: u32,
}

/// How often preparing may fail because of the machine or the network.
const TRIES: u32 = 5;

impl Follower {
    /// Does what there is to do about a version that is tried.
    pub(super) fn watch(&mut self, host: &Host, ledger: &Ledger) {
        // A host that is not there yet tries it when it is.
        let wanted = ledger.watched().filter(|it| it.beside == self.have);
        let number = self.watched.shadowing.as_ref().map(|it| it.number);
        let done = match wanted {
            None => {
                self.forget();
                Ok(())
            }
            Some(wanted) if number == Some(wanted.number) => self.tend(host, wanted),
            Some(wanted) => self.try_it(host, wanted),
        };
        if let Err(error) = done {
            let pipeline = self.declaration.name.value.as_str();
            tracing::warn!(pipeline, %error, "cannot say or see what becomes of the version that is tried");
        }
    }

    fn forget(&mut self) {
        if let Some(shadowing) = self.watched.shadowing.take() {
            shadowing.trial.end();
            self.desk.set_shadowing(None);
        }
        self.watched = Watched::default();
    }

    /// Prepares a version, and has the lanes try it.
    fn try_it(&mut self, host: &Host, wanted: &Shadow) -> Result<(), SwapError> {
        let tries = self.watched.tries;
        self.forget();
        let pipeline = self.declaration.name.value.as_str();
        match self.prepared(host, wanted) {
            Ok(shadowing) => {
                tracing::info!(
                    pipeline,
                    shadow = wanted.number,
                    component = wanted.component,
                    "a version is tried beside the one at work"
                );
                let shadowing = Arc::new(shadowing);
                self.desk.set_shadowing(Some(Arc::clone(&shadowing)));
                self.watched.shadowing = Some(shadowing);
                Ok(())
            }
            Err(unfit) if unfit.is_of_the_system() && tries < TRIES => {
                self.watched.tries = tries + 1;
                tracing::warn!(pipeline, shadow = wanted.number, error = %unfit, "cannot try it yet");
                Ok(())
            }
            Err(unfit) => self.end(host, wanted, ShadowFate::Failed(unfit.to_string())),
        }
    }

    fn prepared(&self, host: &Host, wanted: &Shadow) -> Result<Shadowing, Unfit> {
        let generation = wanted.as_generation();
        let (declaration, environment) = (&self.declaration, &self.environment);
        let opened = put_together(host, &self.desk, declaration, environment, &generation)?;
        if !wanted.fresh && self.state != state_of(&opened) {
            takes_over(host, &opened, self.state.as_ref())?;
        }
        Ok(Shadowing::new(wanted.number, opened, wanted.fresh))
    }

    /// Says what was found, and judges when it is time.
    fn tend(&mut self, host: &Host, wanted: &Shadow) -> Result<(), SwapError> {
        let Some(shadowing) = &self.watched.shadowing else {
            return Ok(());
        };
        let (report, failure) = (shadowing.report(), shadowing.trial.failure());
        if self.watched.said.as_ref() != Some(&report) {
            let swaps = &self.desk.swaps;
            let said = swaps.say_of_shadow(wanted.number, host_name(), &report);
            host.io.block_on(said)?;
            self.watched.said = Some(report);
        }
        if let Some(reason) = failure {
            return self.end(host, wanted, ShadowFate::Failed(reason));
        }
        let look = i64::try_from(self.declaration.swap.look_every.as_micros()).unwrap_or(i64::MAX);
        let ends = wanted
            .ends()
            .saturating_add(look.saturating_mul(LAST_LOOKS));
        match host.clock.unix() >= ends {
            true => self.judge(host, wanted),
            false => Ok(()),
        }
    }

    fn judge(&mut self, host: &Host, wanted: &Shadow) -> Result<(), SwapError> {
        let report = self.desk.swaps.found_in_shadow(wanted.number);
        let report = host.io.block_on(report)?;
        let fate = match wanted.gate() {
            Err(reason) => ShadowFate::Dropped(reason),
            Ok(None) => ShadowFate::Over,
            Ok(Some(gate)) => match gate.opens_for(&report, self.lanes(host)?) {
                Err(reason) => ShadowFate::Dropped(reason),
                Ok(()) => {
                    let promoted = self.desk.swaps.promote(wanted.number, host.clock.unix());
                    let (is_promoted, _) = host.io.block_on(promoted)?;
                    if is_promoted {
                        let pipeline = self.declaration.name.value.as_str();
                        tracing::info!(
                            pipeline,
                            shadow = wanted.number,
                            "the version that was tried is wanted from now on"
                        );
                    }
                    self.forget();
                    return Ok(());
                }
            },
        };
        self.end(host, wanted, fate)
    }

    /// How many lanes the pipeline has, whichever hosts they are on.
    fn lanes(&self, host: &Host) -> Result<u64, SwapError> {
        let pipeline = self.declaration.name.value.as_str();
        let lanes = host.io.block_on(async {
            let reader = EmbeddedStore::open_reader(&self.environment.store).await?;
            let lanes = reader.lanes(pipeline).await;
            reader.close().await;
            lanes
        });
        Ok(lanes?.len() as u64)
    }

    fn end(&mut self, host: &Host, wanted: &Shadow, fate: ShadowFate) -> Result<(), SwapError> {
        let pipeline = self.declaration.name.value.as_str();
        let reason = fate.reason().unwrap_or("its time is over");
        tracing::info!(
            pipeline,
            shadow = wanted.number,
            reason,
            "the version is tried no longer"
        );
        let ended = self.desk.swaps.end_shadow(wanted.number, fate);
        host.io.block_on(ended)?;
        self.forget();
        Ok(())
    }
}
