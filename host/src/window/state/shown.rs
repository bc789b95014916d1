//! Records as people look at them.

use super::codec::StateError;
use super::facts::Reading;
use super::records::{RecordId, Records};
use crate::window::panes::Panes;
use crate::window::windows::{Kind, Shape};

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// What kind of record it is: `pane`, `revision`, `session`, `value`, `period` or `due`.
    pub kind: &'static str,
    /// What it says beside the state, by name.
    pub facts: Vec<(&'static str, Fact)>,
}

/// Something that a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// An instant, in microseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
    /// A whole number.
    Number(i64),
}

impl Shape {
    /// What a record of windows of this shape is about.
    ///
    /// # Errors
    ///
    /// [`StateError::Damaged`] if it says less than it should.
    pub fn describe(&self, records: &Records, record: usize) -> Result<Described, StateError> {
        let panes = match &self.kind {
            Kind::Aligned { panes, .. } => Some(panes),
            Kind::Unbounded { every, .. } => every.as_ref(),
            Kind::Session { .. } => None,
        };
        let mut facts = Reading(records.facts.get(record));
        let (kind, facts) = match records.ids[record] {
            RecordId::Pane(pane) => ("pane", bounds(panes, pane)),
            RecordId::Period(period) => ("period", bounds(panes, period)),
            RecordId::Revision(end, length) => {
                let mut all = boundary(panes, "window_end", end);
                all.push(("length", Fact::Number(length.into())));
                all.push(("emitted", Fact::Number(facts.number()?)));
                ("revision", all)
            }
            RecordId::Session(number) => {
                let mut all = vec![("number", Fact::Number(number))];
                all.extend(events(&mut facts)?);
                ("session", all)
            }
            RecordId::Life => ("value", events(&mut facts)?.into()),
            RecordId::Due => ("due", vec![("at", Fact::Instant(facts.number()?))]),
        };
        Ok(Described { kind, facts })
    }
}

fn boundary(panes: Option<&Panes>, name: &'static str, at: i64) -> Vec<(&'static str, Fact)> {
    let instant = panes.and_then(|panes| panes.start_of(at));
    let instant = instant.map(|instant| (name, Fact::Instant(instant)));
    instant.into_iter().collect()
}

fn bounds(panes: Option<&Panes>, pane: i64) -> Vec<(&'static str, Fact)> {
    let mut bounds = boundary(panes, "start", pane);
    bounds.extend(boundary(panes, "end", pane.saturating_add(1)));
    bounds
}

/// Sessions and lives begin with some flags, and then come the times of their first and last event.
fn events(facts: &mut Reading<'_>) -> Result<[(&'static str, Fact); 2], StateError> {
    facts.number()?;
    let events = facts.span()?;
    Ok([
        ("first_event", Fact::Instant(events.first)),
        ("last_event", Fact::Instant(events.last)),
    ])
}
