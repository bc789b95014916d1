//! From a declaration of windows to their shape.

use crate::config::{Emit, WindowKind, WindowSpec, greatest_common_divisor};
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

/// Panes of which all lengths are made; with a zone they are days.
fn aligned(
    pane: i64,
    offset: i64,
    zone: Option<&crate::config::Zone>,
    lengths: impl Iterator<Item = Length>,
) -> Option<Kind> {
    let panes = match zone {
        None => Panes::new(pane, offset),
        Some(zone) => Panes::days(zone.time_zone().clone(), pane / DAY, offset),
    };
    Some(Kind::Aligned {
        panes: panes?,
        lengths: lengths.collect(),
    })
}

/// The greatest length of which all of these are multiples.
fn common(lengths: impl Iterator<Item = i64>) -> i64 {
    lengths.fold(0, greatest_common_divisor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{OnIdle, Zone};

    const HOUR: i64 = 3_600_000_000;

    fn tumbling(sizes: &[i64], emit: Emit) -> (Panes, Vec<Length>) {
        let window = WindowSpec {
            kind: WindowKind::Tumbling {
                sizes: sizes.to_vec(),
                offset: 6 * HOUR,
                zone: Zone::find("Europe/Zurich"),
            },
            disorder: 0,
            allowed_lateness: 0,
            emit,
            on_idle: OnIdle::Wait,
            idle_after: 0,
            max_future: None,
        };
        match of(&window).unwrap().kind {
            Kind::Aligned { panes, lengths } => (panes, lengths),
            other => panic!("{other:?}"),
        }
    }

    /// Running values are those of panes, so a window of several days must be one.
    #[test]
    fn windows_of_one_size_are_panes_also_in_a_time_zone() {
        for days in [1, 7] {
            let (panes, lengths) = tumbling(&[days * DAY], Emit::Batch);
            let length = Length {
                panes: 1,
                step: 1,
                growing: false,
            };
            assert_eq!(lengths, [length]);
            // Local clocks are an hour ahead in winter.
            assert_eq!(panes.start_of(0), Some(5 * HOUR));
            assert_eq!(panes.start_of(1), Some(days * DAY + 5 * HOUR));
        }
        let (panes, lengths) = tumbling(&[2 * DAY, 6 * DAY], Emit::Close);
        let sizes: Vec<i64> = lengths.iter().map(|length| length.panes).collect();
        assert_eq!(sizes, [1, 3]);
        assert_eq!(panes.start_of(1), Some(2 * DAY + 5 * HOUR));
    }
}
