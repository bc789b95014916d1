//! Tumbling and hopping windows, naively: every window is listed, and is folded over all rows
//! whenever it is emitted.

use std::collections::BTreeMap;

use super::super::{Length, Moment};
use super::stream::{Row, Stream};
use super::told::{Emitted, Told};
use super::traced::State;

/// Where panes begin.
#[derive(Debug, Clone)]
pub(super) enum Cuts {
    /// Pane 0 at an offset, and the others as far from one another as the size says.
    Even { size: i64, offset: i64 },
    /// Each pane from this one on at an instant of its own; no row is before the first of them, or
    /// after the last.
    Listed { first: i64, starts: Vec<i64> },
}

impl Cuts {
    fn start(&self, pane: i64) -> i64 {
        match self {
            Self::Even { size, offset } => pane * size + offset,
            Self::Listed { first, starts } => starts[(pane - first) as usize],
        }
    }

    fn pane_of(&self, time: i64) -> i64 {
        match self {
            Self::Even { size, offset } => (time - offset).div_euclid(*size),
            Self::Listed { first, starts } => {
                // The last that begins up to there: one before it may have no length.
                let last = starts.iter().rposition(|start| *start <= time);
                first + last.expect("no row is before the first") as i64
            }
        }
    }
}

/// Windows of some lengths over panes.
#[derive(Debug, Clone)]
pub(super) struct Aligned {
    pub(super) cuts: Cuts,
    pub(super) lengths: Vec<Length>,
    pub(super) lateness: i64,
    pub(super) revises: bool,
    pub(super) odd: bool,
}

/// A window of a key, in panes; sorted by when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Window {
    end: i64,
    start: i64,
    length: usize,
    key: i64,
}

struct Running<'a> {
    of: &'a Aligned,
    /// The applied rows, with their panes.
    applied: Vec<(i64, &'a Row)>,
    /// The transform's state of each key and pane.
    panes: BTreeMap<(i64, i64), State>,
    /// Windows that were not emitted yet.
    open: BTreeMap<Window, ()>,
    /// How often each other one was emitted, and whether a row of it stands.
    emitted: BTreeMap<Window, (u32, bool)>,
    told: Told,
}

impl Aligned {
    /// What comes of a stream.
    pub(super) fn tell(&self, stream: &Stream) -> Told {
        let mut running = Running {
            of: self,
            applied: Vec::new(),
            panes: BTreeMap::new(),
            open: BTreeMap::new(),
            emitted: BTreeMap::new(),
            told: Told::default(),
        };
        for row in &stream.rows {
            running.close(row.watermark);
            running.row(row);
        }
        running.close(stream.last_watermark());
        // Nothing is due at the input's end but what is whole.
        running.open.retain(|window, ()| !self.is_part(window));
        running.close(i64::MAX);
        running.told
    }

    fn instant(&self, boundary: i64) -> i64 {
        self.cuts.start(boundary)
    }

    /// Whether a window is what has come so far of one that grows on.
    fn is_part(&self, window: &Window) -> bool {
        window.end - window.start < self.lengths[window.length].panes
    }

    /// All windows of a key that contain a pane.
    fn containing(&self, key: i64, pane: i64) -> Vec<Window> {
        let mut windows = Vec::new();
        for (length, of) in self.lengths.iter().enumerate() {
            let (n, m) = (of.panes, of.step);
            let mut push = |start, end| {
                if start <= pane && pane < end {
                    windows.push(Window {
                        end,
                        start,
                        length,
                        key,
                    });
                }
            };
            if of.growing {
                let chunk = pane.div_euclid(n) * n;
                // Of two with the same bounds, between which no time passes, one comes out.
                let comes_again =
                    |end: i64| end < chunk + n && self.instant(end) == self.instant(end + m);
                let ends = (1..=n / m).map(|part| chunk + part * m);
                let ends = ends.filter(|end| !comes_again(*end));
                ends.for_each(|end| push(chunk, end));
            } else {
                let last = pane.div_euclid(m);
                (last - n / m - 1..=last).for_each(|k| push(k * m, k * m + n));
            }
        }
        windows
    }
}

impl<'a> Running<'a> {
    fn row(&mut self, row: &'a Row) {
        let of = self.of;
        let pane = of.cuts.pane_of(row.time);
        let windows = of.containing(row.key, pane);
        let end = |window: &Window| of.instant(window.end);
        let is_gone = |window: &Window| end(window).saturating_add(of.lateness) <= row.watermark;
        if windows.iter().all(is_gone) {
            let last = windows.iter().map(end).max();
            let last = last.expect("every pane is in a window");
            return self.told.late(row, last);
        }
        let mut state = self
            .panes
            .get(&(row.key, pane))
            .cloned()
            .unwrap_or_default();
        if let Err(code) = state.add(row.item) {
            return self.told.reject(row, code);
        }
        self.panes.insert((row.key, pane), state);
        self.applied.push((pane, row));
        self.told.applied += 1;
        // A window that grows is late when it is whole, whatever came out of it before.
        let is_whole = |window: &&Window| !of.is_part(window);
        let mut whole = windows.iter().filter(is_whole);
        self.told.partly_late += u64::from(whole.any(is_gone));
        for window in windows {
            if end(&window) > row.watermark {
                self.open.insert(window, ());
            } else if !is_gone(&window) {
                let moment = Moment {
                    watermark: row.watermark,
                    sequence: row.item.id,
                };
                self.emit(window, moment);
            }
        }
    }

    fn close(&mut self, watermark: i64) {
        while let Some((window, ())) = self.open.first_key_value()
            && self.of.instant(window.end) <= watermark
        {
            let window = *window;
            self.open.remove(&window);
            let moment = Moment {
                watermark: self.of.instant(window.end),
                sequence: 0,
            };
            self.emit(window, moment);
        }
    }

    fn emit(&mut self, window: Window, moment: Moment) {
        let bounds = (self.of.instant(window.start), self.of.instant(window.end));
        let mut rows: Vec<&(i64, &Row)> = self.applied.iter().collect();
        rows.retain(|(pane, row)| {
            row.key == window.key && window.start <= *pane && *pane < window.end
        });
        rows.sort_by_key(|(pane, _)| *pane);
        let mut state = State::default();
        for (_, row) in rows {
            // One row after the other, each as if it came first: none of them is refused here.
            let mut alone = State::default();
            alone.add(row.item).expect("it was applied");
            state = state.merge(&alone);
        }
        let (times, stands) = self.emitted.entry(window).or_default();
        let emitted = Emitted {
            moment,
            key: window.key,
            bounds,
            revision: self.of.revises.then_some((*times, false)),
            length: window.length,
            output: None,
        };
        self.told.closed += u64::from(*times == 0);
        *times += 1;
        *stands = self.told.emit(emitted, &state, self.of.odd, *stands);
    }
}
