//! Lateness: what a row may still do whose pane has closed.

use super::corrections::Behind;
use super::panes::{Pane, Panes};
use super::windows::Length;

/// Judges rows whose pane the watermark has passed.
pub(super) struct Judge {
    panes: Panes,
    lateness: i64,
    /// The pane that the instant is in at and before which windows have ended for good.
    gone: Pane,
}

impl Judge {
    /// Windows are corrected for so long after they ended.
    pub(super) fn new(panes: &Panes, lateness: i64) -> Self {
        Self {
            panes: panes.clone(),
            lateness,
            gone: Pane::NONE,
        }
    }

    /// What a row is whose pane has closed, of windows of some lengths: too late for all of them, the
    /// last of which ended at the boundary given; or in time for some. A window that grows is one
    /// window, however often it was emitted.
    pub(super) fn judge(
        &mut self,
        lengths: impl Iterator<Item = Length> + Clone,
        pane: i64,
        watermark: i64,
    ) -> Result<Behind, i64> {
        let gone = self.gone(watermark);
        let last = lengths.clone().map(|length| length.last_end(pane)).max();
        let last = last.unwrap_or(pane + 1);
        if last <= gone {
            return Err(last);
        }
        let mut first = lengths.map(|length| length.first_end(pane));
        Ok(Behind {
            at: 0,
            partly_late: first.any(|first| first <= gone),
            watermark,
            gone,
        })
    }

    /// The greatest boundary such that windows that end there are corrected no longer.
    fn gone(&mut self, watermark: i64) -> i64 {
        let instant = watermark.saturating_sub(self.lateness);
        if !self.gone.contains(instant) {
            match self.panes.of(instant) {
                Some(pane) => self.gone = pane,
                None => return self.panes.last_boundary(instant),
            }
        }
        self.gone.number
    }
}

/// The instant of a boundary; the end of time for those that have none.
pub(super) fn instant(panes: &Panes, boundary: i64) -> i64 {
    let beyond = if boundary < 0 { i64::MIN } else { i64::MAX };
    panes.start_of(boundary).unwrap_or(beyond)
}
