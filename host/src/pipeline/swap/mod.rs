//! Generations: which version of its transform a pipeline runs, was asked to run, and ran before.
//!
//! In come requests of operators (`penstock swap`, `rollback`) and what hosts find when they follow them; out go the
//! generation that is wanted, and the component that it is. All of it lies in the pipeline's store, where every host
//! sees it (`ledger`), and changes on the condition that nobody else has changed it (`asking`). The first start of a
//! pipeline is a swap from nothing, and goes the same way.
//!
//! A version may be tried on live events beside the one at work before it takes that one's place (`shadows`).
//!
//! Operators come by way of `operator`, whether they use commands or HTTP.
//!
//! How lanes come from one generation to the next is the business of `pipeline/live/following` (what is wanted, and is
//! it fit?), `pipeline/live/switching` (who is to change, and how) and `pipeline/live/keeper` (what a commit says, and
//! the way back). Nothing here may run a transform or touch a lane.

mod asking;
mod ledger;
mod operator;
mod probation;
mod shadows;
mod shown;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use self::asking::{SwapError, Swaps};
pub use self::ledger::{Asked, Fate, Generation, Ledger, LedgerError, Note};
pub use self::operator::{Operator, OperatorError};
pub(super) use self::probation::Probation;
pub use self::shadows::{Shadow, ShadowFate, ToTry};
pub use self::shown::live;
use super::commit::Identity;
use crate::config::SwapSpec;
use crate::transform::Windowed;

/// A generation that a host runs, and what its lanes must know about those before it.
#[derive(Debug, Clone)]
pub(super) struct Running {
    /// Its number.
    pub(super) number: u64,
    /// Those whose work is to be undone.
    pub(super) undone: BTreeSet<u64>,
    /// Whether its lanes take nothing over.
    pub(super) fresh: bool,
    /// As long as it lasts it is taken back by itself when it fails; none where nothing is before it.
    pub(super) probation: Option<Arc<Probation>>,
    /// Whether a lane of this host has committed in it.
    pub(super) is_committed: Arc<AtomicBool>,
    /// The component's digest.
    pub(super) digest: String,
    /// What else stays the same as long as a lane's state is of use.
    pub(super) identity: Identity,
}

impl Running {
    /// The wanted generation of a ledger, as a pipeline that was opened with it has it.
    pub(super) fn of(ledger: &Ledger, identity: Identity, spec: SwapSpec) -> Self {
        let wanted = ledger.wanted();
        let lasts = i64::try_from(spec.probation.as_micros()).unwrap_or(i64::MAX);
        let probation = Probation::new(wanted.asked.saturating_add(lasts), spec.failures);
        Self {
            number: wanted.number,
            undone: ledger.undone(),
            fresh: wanted.fresh,
            probation: wanted.from.map(|_| Arc::new(probation)),
            is_committed: Arc::default(),
            digest: wanted.digest.clone(),
            identity,
        }
    }
}

/// What a lane is handed to go over to another generation: an instance that was opened already. It hands on the one before.
pub(super) struct Switch {
    /// The transform, opened. It says of itself what the one before it did.
    pub(super) transform: Box<dyn Windowed>,
    /// Its generation.
    pub(super) running: Arc<Running>,
    /// The number of the generation that the lane has: whoever hears of its end wants to know which one has failed.
    pub(super) has: Arc<AtomicU64>,
    /// Whether a lane that has something to commit goes over when it commits that, and not before.
    pub(super) with_next_commit: bool,
}

impl Switch {
    /// The lane has gone over.
    pub(super) fn done(&self) {
        self.has.store(self.running.number, Ordering::Relaxed);
    }
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to generation {}", self.running.number)
    }
}
