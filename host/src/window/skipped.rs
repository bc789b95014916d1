//! Days that a calendar has left out: panes without length, both boundaries of which are at one
//! instant. Windows that end at either end together.

use std::cmp::Reverse;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::WindowError;
use super::aligned::Aligned;
use super::calls::Calls;
use super::emission::{Emission, Emit};
use super::panes::Panes;
use super::windows::Length;

/// Where the window starts that is emitted at a boundary, if one is. One that grows is not emitted
/// before a pane without length: it is after it, with the same rows and bounds.
pub(super) fn emitted_at(panes: &Panes, length: Length, boundary: i64) -> Option<i64> {
    let start = length.emitted_at(boundary)?;
    let grows_on = length.growing && boundary < start + length.panes;
    let comes_again = grows_on && length.step == 1 && panes.is_skipped(boundary);
    (!comes_again).then_some(start)
}

impl Aligned {
    /// Passes a boundary and those after it at the same instant, between which are days that the
    /// calendar has left out. Their windows end together, so they are emitted in one order.
    pub(super) async fn boundaries_at_once(
        &mut self,
        first: i64,
        calls: &mut Calls,
        out: &mut dyn Emit,
    ) -> Result<u64, WindowError> {
        let (mut windows, mut emissions) = (0, Vec::new());
        let mut next = Some(first);
        while let Some(boundary) = next {
            let mut held = Held::default();
            windows += self.boundary(boundary, calls, &mut held).await?;
            self.closed = boundary;
            emissions.extend(held.0.into_iter().map(|emission| {
                let start = self.folds[emission.length].length.emitted_at(boundary);
                let start = self.instant(start.expect("a window was emitted"));
                (Reverse(start), emission)
            }));
            let at_once = |next: &i64| self.instant(*next) == self.instant(first);
            next = self.next_boundary().filter(at_once);
        }
        // Stable, so that the rows of one length stay in order.
        emissions.sort_by_key(|(start, emission)| (*start, emission.length));
        for (_, emission) in emissions {
            out.emit(emission).await?;
        }
        Ok(windows)
    }
}

/// Emissions that wait.
#[derive(Default)]
struct Held(Vec<Emission>);

impl Emit for Held {
    fn emit(&mut self, emission: Emission) -> BoxFuture<'_, Result<(), WindowError>> {
        self.0.push(emission);
        async { Ok(()) }.boxed()
    }
}
