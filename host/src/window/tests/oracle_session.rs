//! Session windows, naively: each key has a list of sessions, and every row looks at all of them.

use std::collections::BTreeMap;

use super::super::Moment;
use super::stream::{Row, Stream};
use super::told::{Emitted, Told};
use super::traced::State;

/// Sessions.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    pub(super) gap: i64,
    pub(super) every: Option<i64>,
    pub(super) lateness: i64,
    pub(super) revises: bool,
    pub(super) odd: bool,
}

#[derive(Debug, Clone)]
struct Session {
    first: i64,
    /// The time of its last row and the gap.
    end: i64,
    state: State,
    /// How often it was emitted, and the bounds of its row that stands, if one does.
    times: u32,
    emitted: Option<(i64, i64)>,
    /// Whether it changed since.
    changed: bool,
    closed: bool,
    /// Whether it was counted as closed, which happens once.
    counted: bool,
    /// When it is emitted early.
    due: Option<i64>,
}

struct Running<'a> {
    of: &'a Sessions,
    sessions: BTreeMap<i64, Vec<Session>>,
    told: Told,
}

impl Sessions {
    /// What comes of a stream.
    pub(super) fn tell(&self, stream: &Stream) -> Told {
        let mut running = Running {
            of: self,
            sessions: BTreeMap::new(),
            told: Told::default(),
        };
        for row in &stream.rows {
            running.advance(row.watermark, true);
            running.row(row);
        }
        running.advance(stream.last_watermark(), true);
        running.advance(i64::MAX, false);
        running.told
    }
}

impl Running<'_> {
    /// Emits what is due, and what the watermark closes. Nothing is due at the input's end.
    fn advance(&mut self, watermark: i64, early: bool) {
        for (key, mut sessions) in std::mem::take(&mut self.sessions) {
            for session in sessions.iter_mut().filter(|session| !session.closed) {
                if let Some(due) = session.due.filter(|due| early && *due <= watermark) {
                    session.due = None;
                    if session.end > due {
                        self.emit(key, session, at(due, 0));
                    }
                }
                if session.end <= watermark {
                    session.closed = true;
                    session.due = None;
                    self.count(session);
                    if session.changed {
                        self.emit(key, session, at(session.end, 0));
                    }
                }
            }
            self.sessions.insert(key, sessions);
        }
    }

    fn row(&mut self, row: &Row) {
        let (gap, lateness, watermark) = (self.of.gap, self.of.lateness, row.watermark);
        let now = at(watermark, row.item.id);
        let (first, end) = (row.time, row.time + gap);
        let mut sessions = self.sessions.get(&row.key).cloned().unwrap_or_default();
        let is_met = |session: &Session| {
            let is_gone = session.end.saturating_add(lateness) <= watermark;
            !is_gone && first < session.end && end > session.first
        };
        let mut met: Vec<Session> = sessions
            .iter()
            .filter(|session| is_met(session))
            .cloned()
            .collect();
        met.sort_by_key(|session| session.first);
        sessions.retain(|session| !is_met(session));
        if met.is_empty() && end.saturating_add(lateness) <= watermark {
            return self.told.late(row, end);
        }
        let mut absorbed = Vec::new();
        let mut session = match met.as_slice() {
            [] => Session {
                first,
                end,
                state: State::default(),
                times: 0,
                emitted: None,
                changed: false,
                closed: false,
                counted: false,
                due: None,
            },
            [session] => session.clone(),
            [earlier, later] => {
                absorbed.extend(met.iter().cloned());
                Session {
                    end: earlier.end.max(later.end),
                    state: earlier.state.merge(&later.state),
                    times: earlier.times.max(later.times),
                    counted: earlier.counted || later.counted,
                    emitted: None,
                    closed: false,
                    ..earlier.clone()
                }
            }
            _ => panic!("a row as long as the gap cannot meet three sessions"),
        };
        if let Err(code) = session.state.add(row.item) {
            return self.told.reject(row, code);
        }
        self.told.applied += 1;
        session.first = session.first.min(first);
        session.end = session.end.max(end);
        session.changed = true;
        for absorbed in absorbed {
            if let Some(bounds) = absorbed.emitted {
                self.withdraw(row.key, bounds, absorbed.times, now);
            }
        }
        if session.end <= watermark {
            session.closed = true;
            self.count(&mut session);
            self.emit(row.key, &mut session, now);
        } else {
            if std::mem::take(&mut session.closed)
                && let Some(bounds) = session.emitted.take()
            {
                self.withdraw(row.key, bounds, session.times, now);
            }
            let every = self.of.every;
            session.due = every.map(|every| (watermark.div_euclid(every) + 1) * every);
        }
        sessions.push(session);
        self.sessions.insert(row.key, sessions);
    }

    fn count(&mut self, session: &mut Session) {
        self.told.closed += u64::from(!session.counted);
        session.counted = true;
    }

    fn withdraw(&mut self, key: i64, bounds: (i64, i64), times: u32, moment: Moment) {
        self.told.withdraw(Emitted {
            moment,
            key,
            bounds,
            revision: Some((times, true)),
            length: 0,
            output: None,
        });
    }

    fn emit(&mut self, key: i64, session: &mut Session, moment: Moment) {
        let bounds = (session.first, session.end);
        if let Some(before) = session.emitted.filter(|before| *before != bounds) {
            self.withdraw(key, before, session.times, moment);
        }
        let window = Emitted {
            moment,
            key,
            bounds,
            revision: self.of.revises.then_some((session.times, false)),
            length: 0,
            output: None,
        };
        session.times += 1;
        session.changed = false;
        let stands = session.emitted == Some(bounds);
        let stands = self.told.emit(window, &session.state, self.of.odd, stands);
        session.emitted = stands.then_some(bounds);
    }
}

fn at(watermark: i64, sequence: u64) -> Moment {
    Moment {
        watermark,
        sequence,
    }
}
