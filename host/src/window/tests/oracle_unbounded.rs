//! Unbounded windows, naively: each key has a value and its rows of periods that are not over.

use std::collections::BTreeMap;

use super::super::Moment;
use super::stream::{Row, Stream};
use super::told::{Emitted, Told};
use super::traced::State;

/// Unbounded windows that are emitted every so often.
#[derive(Debug, Clone)]
pub(super) struct Unbounded {
    pub(super) ttl: i64,
    pub(super) every: i64,
    pub(super) odd: bool,
}

/// A state, and the least time of its rows.
type Dated = (State, i64);

#[derive(Debug, Clone, Default)]
struct Life {
    value: Option<Dated>,
    /// By the number of the period.
    periods: BTreeMap<i64, Dated>,
    /// The greatest time of a row that was applied.
    last: i64,
    /// The next boundary, if the value was changed by rows since the last.
    due: Option<i64>,
}

impl Life {
    /// A period is over.
    fn join(&mut self, period: Dated) {
        self.value = Some(match self.value.take() {
            None => period,
            Some(value) => (value.0.merge(&period.0), value.1.min(period.1)),
        });
    }
}

impl Told {
    /// A value comes out at a boundary.
    fn value(&mut self, key: i64, life: &Life, boundary: i64, odd: bool) {
        let (state, first) = life.value.as_ref().expect("something has changed it");
        let window = Emitted {
            moment: Moment {
                watermark: boundary,
                sequence: 0,
            },
            key,
            bounds: (*first, boundary),
            revision: None,
            length: 0,
            output: None,
        };
        self.closed += 1;
        self.emit(window, state, odd, false);
    }
}

struct Running<'a> {
    of: &'a Unbounded,
    lives: BTreeMap<i64, Life>,
    told: Told,
}

impl Unbounded {
    /// What comes of a stream.
    pub(super) fn tell(&self, stream: &Stream) -> Told {
        let mut running = Running {
            of: self,
            lives: BTreeMap::new(),
            told: Told::default(),
        };
        for row in &stream.rows {
            running.advance(row.watermark);
            running.row(row);
        }
        running.advance(stream.last_watermark());
        running.end();
        running.told
    }
}

impl Running<'_> {
    /// Ends the periods that the watermark has passed, one after the other.
    fn advance(&mut self, watermark: i64) {
        loop {
            let due = self.lives.values().flat_map(|life| {
                let ends = life
                    .periods
                    .keys()
                    .map(|number| (number + 1) * self.of.every);
                ends.chain(life.due)
            });
            match due.min() {
                Some(boundary) if boundary <= watermark => self.boundary(boundary),
                _ => return,
            }
        }
    }

    fn boundary(&mut self, boundary: i64) {
        for (key, life) in &mut self.lives {
            let mut changed = life.due.take_if(|due| *due == boundary).is_some();
            if let Some(period) = life.periods.remove(&(boundary / self.of.every - 1)) {
                changed = true;
                life.join(period);
            }
            if changed {
                self.told.value(*key, life, boundary, self.of.odd);
            }
        }
    }

    /// The input is over: of each key with events that have not come out there is one more value,
    /// at the first boundary after all of them.
    fn end(&mut self) {
        for (key, life) in &mut self.lives {
            let ends = life.periods.keys().map(|number| number + 1);
            let last = ends.map(|end| end * self.of.every).chain(life.due).max();
            for period in std::mem::take(&mut life.periods).into_values() {
                life.join(period);
            }
            if let Some(boundary) = last {
                self.told.value(*key, life, boundary, self.of.odd);
            }
        }
    }

    fn row(&mut self, row: &Row) {
        let (ttl, every, watermark) = (self.of.ttl, self.of.every, row.watermark);
        if row.time + ttl <= watermark {
            return self.told.late(row, row.time + ttl);
        }
        let known = self.lives.get(&row.key).cloned();
        let known = known.filter(|life| life.last + ttl > watermark);
        let mut life = known.unwrap_or_else(|| Life {
            last: row.time,
            ..Life::default()
        });
        let number = row.time.div_euclid(every);
        let is_over = (number + 1) * every <= watermark;
        let before = match is_over {
            true => life.value.take(),
            false => life.periods.remove(&number),
        };
        let (mut state, first) = before.unwrap_or_else(|| (State::default(), row.time));
        if let Err(code) = state.add(row.item) {
            return self.told.reject(row, code);
        }
        self.told.applied += 1;
        let dated = (state, first.min(row.time));
        match is_over {
            true => {
                life.value = Some(dated);
                life.due = Some((watermark.div_euclid(every) + 1) * every);
            }
            false => drop(life.periods.insert(number, dated)),
        }
        life.last = life.last.max(row.time);
        self.lives.insert(row.key, life);
    }
}

/// For each life of a key, in the order in which they begin: the key and the state of all its
/// rows as they came, and whether it is the key's last. Also what became of the rows.
pub(super) fn lives(ttl: i64, stream: &Stream) -> (Vec<(i64, State, bool)>, Told) {
    let mut lives: Vec<(i64, State, bool)> = Vec::new();
    let mut current: BTreeMap<i64, (usize, i64)> = BTreeMap::new();
    let mut told = Told::default();
    for row in &stream.rows {
        if row.time + ttl <= row.watermark {
            told.late(row, row.time + ttl);
            continue;
        }
        let known = current.get(&row.key).copied();
        let life = known.filter(|(_, last)| last + ttl > row.watermark);
        let mut state = life.map_or_else(State::default, |(at, _)| lives[at].1.clone());
        if let Err(code) = state.add(row.item) {
            told.reject(row, code);
            continue;
        }
        told.applied += 1;
        match life {
            Some((at, last)) => {
                lives[at].1 = state;
                current.insert(row.key, (at, last.max(row.time)));
            }
            None => {
                if let Some((at, _)) = known {
                    lives[at].2 = false;
                }
                current.insert(row.key, (lives.len(), row.time));
                lives.push((row.key, state, true));
            }
        }
    }
    (lives, told)
}
