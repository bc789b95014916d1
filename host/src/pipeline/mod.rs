//! Pipelines: events in, windows, features out. Read [`lane`] first.
//!
//! ```text
//! reader thread ── source, map, hash split ──► lanes (tasks) ── windows, transform ──► delivery thread ── sinks
//! ```
//!
//! Data flows one way, through queues that are bounded in bytes. A lane owns its window state, its
//! instance of the transform and its accounts; nothing is shared between lanes. `commit` keeps
//! what a lane has done, so that an interrupted run goes on. `wiring` puts a pipeline together from its declaration and refuses what does not fit; [`run()`] runs it. Nothing
//! here reads a wall clock but for when to commit: what a run gives depends on its input alone.

mod accounting;
mod checked;
mod commit;
mod dealer;
mod delivery;
mod event_schema;
mod features;
mod heavy;
mod invalid;
mod judged;
pub mod kept;
mod kept_rows;
mod key_sample;
pub mod lane;
mod limits;
pub mod live;
mod loading;
mod map;
mod opener;
mod output;
mod outputs;
mod passing;
mod place;
mod plan;
mod poison;
mod queue;
mod reader;
mod recordings;
mod residence;
mod run;
mod run_error;
mod selection;
pub mod shadow;
mod shape;
mod spans;
mod staged;
mod state_room;
pub mod swap;
pub mod telemetry;
mod topics;
mod wiring;
mod working;

pub use accounting::{Accounting, Mapped, Reason};
pub use checked::check;
pub use commit::CommitError;
pub use delivery::Deliveries;
pub use loading::load;
pub use map::{MapAgain, MappedRows, Remapper};
pub use opener::Opener;
pub use plan::{Plan, WindowPlan, Work};
pub use reader::ReadError;
pub use run::{Progress, RunReport, run};
pub use run_error::RunError;
pub use topics::{OutputTopic, OutputTopics};
pub use wiring::{Host, Opened, Transforms, WiringError, lanes_of, open};
