//! JSON of requests and answers.
//!
//! Answers are written as text, a column after the other: fifty entities with ten features each would otherwise be a
//! tree of a thousand nodes.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::serve::answers::catalogue::Described;
use crate::serve::answers::columns::{Column, STALE, Style, VALUE, Values, WRITTEN};
use crate::serve::answers::given::Given;
use crate::serve::answers::put::Put;
use crate::serve::answers::refusal::{Kind, Refusal};
use crate::serve::answers::{Answer, BatchGet};
use crate::store::item::entity;
use crate::text::instant;

/// The body of a batch-get.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchGetBody {
    entities: Vec<Json>,
    features: Vec<String>,
}

pub(super) fn batch_get(group: String, body: &[u8]) -> Result<BatchGet, Refusal> {
    let body: BatchGetBody = serde_json::from_slice(body).map_err(|error| {
        Refusal::new(
            Kind::Invalid,
            format!(
                "the body is not a request: {error}; write {{\"entities\": [\"42\"], \"features\": [\"name\", \"name@2\"]}}"
            ),
        )
    })?;
    let entities = body.entities.iter().enumerate();
    let entities = entities.map(|(at, entity)| entity_text(at, entity));
    Ok(BatchGet {
        group,
        entities: entities.collect::<Result<_, _>>()?,
        features: body.features,
        style: Style::Shown,
    })
}

/// The body of a put.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PutBody {
    entities: Vec<Json>,
    /// For all entities.
    event_time: Option<String>,
    /// For each.
    event_times: Option<Vec<String>>,
    features: Vec<PutFeature>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PutFeature {
    feature: String,
    values: Vec<Json>,
}

pub(super) fn put(group: String, body: &[u8]) -> Result<Put, Refusal> {
    let bad = |message: String| Refusal::new(Kind::Invalid, message);
    let body: PutBody = serde_json::from_slice(body).map_err(|error| {
        bad(format!(
            "the body is not a request: {error}; write {{\"entities\": [\"42\"], \"event_time\": \"2026-01-31T12:00:00Z\", \"features\": [{{\"feature\": \"name\", \"values\": [1.5]}}]}}"
        ))
    })?;
    let times = match (body.event_time, body.event_times) {
        (Some(one), None) => vec![one],
        (None, Some(each)) => each,
        _ => {
            return Err(bad(
                "the body says either `event_time`, for all entities, or `event_times`, one for each".to_owned(),
            ));
        }
    };
    let times = times.iter().enumerate().map(|(at, text)| {
        let time: Result<jiff::Timestamp, _> = text.parse();
        time.map(jiff::Timestamp::as_microsecond).map_err(|_| {
            bad(format!(
                "event time {at} is {text:?}: write it as in 2026-01-31T12:00:00Z"
            ))
        })
    });
    let entities = body.entities.iter().enumerate();
    let entities = entities.map(|(at, entity)| entity_text(at, entity));
    let features = body.features.into_iter();
    Ok(Put {
        group,
        event_times: times.collect::<Result<_, _>>()?,
        entities: entities.collect::<Result<_, _>>()?,
        features: features
            .map(|it| (it.feature, Given::Shown(it.values)))
            .collect(),
    })
}

/// How many values were put.
pub(super) fn written(values: u64) -> String {
    json!({ "values": values }).to_string()
}

/// An entity as a text, a number or a truth; the parts of a key of several columns as a list of these.
pub(super) fn entity_text(at: usize, entity: &Json) -> Result<String, Refusal> {
    let part = |part: &Json| match part {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) if !number.is_f64() => Some(number.to_string()),
        Json::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    let text = match entity {
        Json::Array(parts) => {
            let parts: Option<Vec<String>> = parts.iter().map(part).collect();
            parts.map(|parts| entity::join(&parts.iter().map(String::as_str).collect::<Vec<_>>()))
        }
        one => part(one),
    };
    text.ok_or_else(|| {
        let message = format!(
            "entity {at} is {entity}: an entity is a text, a whole number or a truth, or a list of these, one for each column of the key"
        );
        Refusal::new(Kind::Invalid, message)
    })
}

/// The answer to a batch-get.
pub(super) fn answer(asked: &BatchGet, answer: &Answer) -> String {
    let values = asked.entities.len() * answer.columns.len();
    let mut out = String::with_capacity(256 + 64 * values);
    out.push_str("{\"group\":");
    text(&asked.group, &mut out);
    out.push_str(",\"answered_at\":\"");
    out.push_str(&instant(answer.answered_at));
    out.push_str("\",\"entities\":");
    list(&asked.entities, &mut out, |entity, out| text(entity, out));
    out.push_str(",\"features\":");
    list(&answer.columns, &mut out, column);
    out.push('}');
    out
}

fn column(column: &Column, out: &mut String) {
    out.push_str("{\"feature\":");
    text(&column.feature.name, out);
    // A text takes every write.
    let _ = write!(out, ",\"version\":{},\"type\":", column.feature.version);
    text(&column.feature.type_name, out);
    out.push_str(",\"values\":");
    values(column, out);
    out.push_str(",\"states\":");
    list(&column.states, out, |state, out| {
        out.push_str(match (state & WRITTEN, state & VALUE, state & STALE) {
            (0, ..) => "\"missing\"",
            (_, 0, 0) => "\"removed\"",
            (_, 0, _) => "\"removed_stale\"",
            (_, _, 0) => "\"fresh\"",
            _ => "\"stale\"",
        });
    });
    let written = |at: usize| column.states[at] & WRITTEN != 0;
    out.push_str(",\"event_times\":");
    // Entities of one window mostly have one time.
    let mut last: Option<(i64, String)> = None;
    numbered(column.event_times.len(), out, |at, out| {
        let time = column.event_times[at];
        if !written(at) {
            return out.push_str("null");
        }
        if last.as_ref().is_none_or(|(of, _)| *of != time) {
            last = Some((time, instant(time)));
        }
        out.push('"');
        out.push_str(last.as_ref().map_or("", |(_, text)| text));
        out.push('"');
    });
    out.push_str(",\"ages_s\":");
    numbered(column.ages_ms.len(), out, |at, out| {
        match written(at) {
            true => number(column.ages_ms[at] as f64 / 1e3, out),
            false => out.push_str("null"),
        };
    });
    out.push('}');
}

fn values(column: &Column, out: &mut String) {
    let rows = column.states.len();
    let there = |at: usize| column.states[at] & VALUE != 0;
    let mut each = |show: &mut dyn FnMut(usize, &mut String)| {
        numbered(rows, out, |at, out| match there(at) {
            true => show(at, out),
            false => out.push_str("null"),
        });
    };
    match &column.values {
        Values::Bools(bools) => each(&mut |at, out| {
            out.push_str(if bools[at] { "true" } else { "false" });
        }),
        Values::Ints(ints) => each(&mut |at, out| {
            let _ = write!(out, "{}", ints[at]);
        }),
        Values::UInts(uints) => each(&mut |at, out| {
            let _ = write!(out, "{}", uints[at]);
        }),
        Values::Floats(floats) => each(&mut |at, out| float(floats[at], out)),
        Values::Doubles(doubles) => each(&mut |at, out| number(doubles[at], out)),
        Values::Texts(texts) => each(&mut |at, out| text(&texts[at], out)),
        Values::Json(texts) => each(&mut |at, out| out.push_str(&texts[at])),
        // Asked for as they are shown, they are JSON texts.
        Values::Blobs(_) => each(&mut |_, out| out.push_str("null")),
        Values::Vectors { lengths, floats } => {
            let mut start = 0;
            numbered(rows, out, |at, out| {
                let vector = &floats[start..start + lengths[at] as usize];
                start += vector.len();
                match there(at) {
                    true => list(vector, out, |value, out| float(*value, out)),
                    false => out.push_str("null"),
                }
            });
        }
    }
}

/// The digits that read back to the same number; JSON has neither NaN nor infinities.
fn number(value: f64, out: &mut String) {
    match value.is_finite() {
        true => {
            let _ = write!(out, "{value:?}");
        }
        false => out.push_str("null"),
    }
}

fn float(value: f32, out: &mut String) {
    match value.is_finite() {
        true => {
            let _ = write!(out, "{value:?}");
        }
        false => out.push_str("null"),
    }
}

fn text(text: &str, out: &mut String) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Json::from(text).to_string());
    }
}

fn list<T>(items: &[T], out: &mut String, mut show: impl FnMut(&T, &mut String)) {
    numbered(items.len(), out, |at, out| show(&items[at], out));
}

fn numbered(items: usize, out: &mut String, mut show: impl FnMut(usize, &mut String)) {
    out.push('[');
    for at in 0..items {
        if at > 0 {
            out.push(',');
        }
        show(at, out);
    }
    out.push(']');
}

/// A list of features.
pub(super) fn features(features: &[std::sync::Arc<Described>]) -> String {
    let features: Vec<Json> = features.iter().map(|it| feature(it)).collect();
    json!({"features": features}).to_string()
}

/// A feature as it is declared.
pub(super) fn feature(feature: &Described) -> Json {
    json!({
        "group": feature.place.group,
        "name": feature.name,
        "version": feature.version,
        "type": feature.type_name,
        "entity": feature.entity,
        "pipeline": feature.place.pipeline,
        "window": feature.place.window,
        "freshness_s": feature.freshness.map(|micros| micros as f64 / 1e6),
        "declaration": feature.document,
    })
}

/// Why there is no answer.
pub(super) fn error(code: &str, message: &str) -> String {
    json!({"error": {"code": code, "message": message}}).to_string()
}
