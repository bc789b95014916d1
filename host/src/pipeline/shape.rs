//! From a declaration of windows to their shape.

use crate::config::{Emit, WindowKind, WindowSpec};
use crate::window::{Kind, Length, Panes, Shape};

const DAY: i64 = 86_400_000_000;

/// The shape of the windows that a pipeline declares. None if there are none, or they reach beyond what
/// 64 bits of microseconds hold.
pub(super) fn of(window: &WindowSpec) -> Option<Shape> {
    let every = match window.emit {
        Emit::Every(every) => Some(every),
        Emit::Close | Emit::Batch => None,
    };
    let kind = match &window.kind {
        WindowKind::Tumbling {
            sizes,
            offset,
            zone,
        } => {
            let pane = common(sizes.iter().copied().chain(every));
            let lengths = sizes.iter().map(|size| Length {
                panes: size / pane,
                step: every.unwrap_or(*size) / pane,
                growing: every.is_some_and(|every| every < *size),
            });
            aligned(pane, *offset, zone.as_ref(), lengths)?
        }
        WindowKind::Hopping {
            sizes,
            slide,
            offset,
            zone,
        } => {
            let pane = common(sizes.iter().copied().chain([*slide]));
            let lengths = sizes.iter().map(|size| Length {
                panes: size / pane,
                step: slide / pane,
                growing: false,
            });
            aligned(pane, *offset, zone.as_ref(), lengths)?
        }
        WindowKind::Session { gap } => Kind::Session { gap: *gap, every },
        WindowKind::Unbounded { ttl } => Kind::Unbounded {
            ttl: *ttl,
            every: match every {
                Some(every) => Some(Panes::new(every, 0)?),
                None => None,
            },
        },
        WindowKind::None => return None,
    };
    Some(Shape {
        kind,
        lateness: window.allowed_lateness,
        per_batch: window.emit == Emit::Batch,
    })
}

/// Panes of which all lengths are made; with a zone they are days, whatever the lengths.
fn aligned(
    pane: i64,
    offset: i64,
    zone: Option<&crate::config::Zone>,
    lengths: impl Iterator<Item = Length>,
) -> Option<Kind> {
    let (panes, days) = match zone {
        None => (Panes::new(pane, offset)?, 1),
        Some(zone) => (Panes::days(zone.time_zone().clone(), offset), pane / DAY),
    };
    let lengths = lengths.map(|length| Length {
        panes: length.panes * days,
        step: length.step * days,
        ..length
    });
    Some(Kind::Aligned {
        panes,
        lengths: lengths.collect(),
    })
}

/// The greatest length of which all of these are multiples.
fn common(lengths: impl Iterator<Item = i64>) -> i64 {
    lengths.fold(0, |mut a, mut b| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    })
}
