//! Windows: which group a row belongs to, what each group's state is, and which windows are over.
//!
//! In come rows with their event times and keys; out go dense group numbers with the states of the
//! touched groups, and, as the watermark rises, the groups of the windows that closed. This room
//! knows no transform, source or sink, reads no clock, and never decides by where a batch was cut.

mod groups;
mod keys;
mod panes;
mod runs;
mod watermark;

pub use groups::{ClosedPane, Touched, WindowState};
pub use panes::{Pane, Panes};
pub use watermark::Watermark;
