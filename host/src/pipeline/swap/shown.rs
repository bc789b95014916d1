//! Generations as JSON, the same for those who read it from a command and over HTTP.

use serde_json::{Value, json};

use super::{Fate, Generation, Ledger, Shadow, ShadowFate};
use crate::pipeline::kept::{Come, Input, KeptLane};
use crate::pipeline::shadow::Report;
use crate::text;

impl Fate {
    /// A short, stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Running => "running",
            Self::Replaced => "replaced",
            Self::Refused(_) => "refused",
            Self::Revoked(_) => "revoked",
        }
    }

    /// Why, if it did not end well.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused(reason) | Self::Revoked(reason) => Some(reason),
            _ => None,
        }
    }
}

impl ShadowFate {
    /// A short, stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Watched => "watched",
            Self::Over => "over",
            Self::Promoted(_) => "promoted",
            Self::Dropped(_) => "dropped",
            Self::Failed(_) => "failed",
        }
    }

    /// Why, if it did not take the other's place.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Dropped(reason) | Self::Failed(reason) => Some(reason),
            _ => None,
        }
    }
}

impl Shadow {
    /// The trial, with what was found in it if that is known.
    pub fn shown(&self, report: Option<&Report>) -> Value {
        let promoted = match self.fate {
            ShadowFate::Promoted(generation) => Some(generation),
            _ => None,
        };
        let mut shown = json!({
            "shadow": self.number,
            "beside": self.beside,
            "component": self.component,
            "digest": self.digest,
            "asked": text::instant(self.asked),
            "ends": text::instant(self.ends()),
            "fresh": self.fresh,
            "promote_if": self.promote_if,
            "at_least": self.at_least,
            "fate": self.fate.name(),
            "reason": self.fate.reason(),
            "generation": promoted,
        });
        if let Some(report) = report {
            shown["report"] = report.shown();
        }
        shown
    }
}

impl Ledger {
    /// A generation of it, with the versions that were tried beside it.
    pub fn shown(&self, generation: &Generation) -> Value {
        let notes = generation.notes.iter();
        let notes = notes.map(|note| json!({"at": text::instant(note.at), "text": note.text}));
        let shadows = self.shadows().iter();
        let shadows = shadows.filter(|shadow| shadow.beside == generation.number);
        json!({
            "generation": generation.number,
            "component": generation.component,
            "digest": generation.digest,
            "from": generation.from,
            "asked": text::instant(generation.asked),
            "fresh": generation.fresh,
            "is_wanted": generation.number == self.wanted().number,
            "fate": generation.fate.name(),
            "reason": generation.fate.reason(),
            "notes": notes.collect::<Value>(),
            "shadows": shadows.map(|shadow| shadow.shown(None)).collect::<Value>(),
        })
    }

    /// All that are remembered, by rising numbers.
    pub fn all_shown(&self) -> Value {
        let all = self.generations().iter();
        all.map(|generation| self.shown(generation)).collect()
    }

    /// The wanted generation, where each lane is, and what was found of the version that was tried last beside it.
    pub fn with_lanes(&self, lanes: &[KeptLane], found: Option<&(Shadow, Report)>) -> Value {
        let mut shown = self.shown(self.wanted());
        shown["shadow"] = found.map_or(Value::Null, |(shadow, report)| shadow.shown(Some(report)));
        let lanes = lanes
            .iter()
            .filter_map(|lane| Some(lane_shown(lane.number, live(lane)?)));
        shown["lanes"] = lanes.collect();
        shown
    }
}

/// How far a lane has come over its live stream, if it reads one.
pub fn live(lane: &KeptLane) -> Option<&Come> {
    lane.come.iter().find(|come| come.input == Input::Live)
}

fn lane_shown(number: u32, come: &Come) -> Value {
    let work = come.work.as_ref();
    json!({
        "lane": number,
        "generation": come.generation,
        "epoch": come.epoch,
        "transform": come.transform,
        "watermark": come.watermark.map(text::instant),
        "host": work.map(|work| &work.host),
        "since": work.map(|work| text::instant(work.since)),
        "traps": work.map(|work| work.traps),
        "batch_mean_s": work.and_then(|work| work.batch_mean_s),
        "batch_p99_at_most_s": work.and_then(|work| work.batch_p99_at_most_s),
    })
}
