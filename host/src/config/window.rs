//! How event time is cut: the kinds of window, and what is said with them of lateness, emission and
//! idleness.
//!
//! Every duration is in microseconds. What the keys of a `[window]` table mean stands in
//! [`super::pipeline`]; `window_file.rs` reads them, and refuses everything senseless.

use std::fmt;
use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::duration::print_duration;
use super::suggest;

/// How event time is cut into windows, and when the values of a window come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpec {
    /// The kind of window, and its lengths.
    pub kind: WindowKind,
    /// The watermark is the greatest event time less this; not negative.
    pub disorder: i64,
    /// For how long after it closed a window is still corrected; not negative, and 0 for unbounded
    /// windows, which never close.
    pub allowed_lateness: i64,
    /// When values come out.
    pub emit: Emit,
    /// What the watermark does when all splits of a live stream are idle.
    pub on_idle: OnIdle,
    /// For how long a split must have been at its end to be idle; not negative.
    pub idle_after: i64,
    /// How far ahead of its arrival time a row may be, if there is a bound; not negative. One further
    /// ahead is quarantined.
    pub max_future: Option<i64>,
}

/// The kinds of window. Sizes are at least one, ascending, distinct and more than zero; a `slide`,
/// `gap` or `ttl` is more than zero.
///
/// Windows of a size start at multiples of it (hopping ones of `slide`) since 1970-01-01T00:00:00Z,
/// plus `offset`, where `0 <= offset` and it is less than the greatest size. With a zone, sizes and
/// slide are whole days and windows start at local midnight, plus `offset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowKind {
    /// One window after the other; for each size, every event is in exactly one.
    Tumbling {
        /// The lengths.
        sizes: Vec<i64>,
        /// Shifts where windows start.
        offset: i64,
        /// Where days begin at midnight, if windows are local days.
        zone: Option<Zone>,
    },
    /// Windows that overlap: one starts every `slide`.
    Hopping {
        /// The lengths, none shorter than `slide`.
        sizes: Vec<i64>,
        /// From the start of a window to that of the next.
        slide: i64,
        /// Shifts where windows start.
        offset: i64,
        /// Where days begin at midnight, if windows are local days.
        zone: Option<Zone>,
    },
    /// The events of a key that follow each other within `gap`.
    Session {
        /// A session ends this long after its last event.
        gap: i64,
    },
    /// All events of a key, until it has been quiet for `ttl`.
    Unbounded {
        /// A key whose last event is this old starts anew.
        ttl: i64,
    },
    /// No windows: each row that a mapper gives comes out by itself, at its event time.
    None,
}

/// When the values of a window come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// When the watermark passes the window's end.
    Close,
    /// Then, and at every multiple of this much event time before; more than zero.
    Every(i64),
    /// After each batch, as they stand; where batches are cut then shows in what comes out.
    Batch,
}

/// What the watermark does when all splits of a live stream are idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnIdle {
    /// It stays: windows wait for the next event.
    Wait,
    /// It goes on to the greatest event time that was seen of any split, with no disorder taken off
    /// it: windows that ended by then close without another event, and one that was delayed may be
    /// late. It goes no further, and windows that reach beyond that time wait. Which splits are idle
    /// is a matter of the clock, so another run may judge otherwise.
    Advance,
}

impl WindowKind {
    /// The lengths that features can be about: the sizes in ascending order, the gap of sessions, the
    /// TTL of unbounded windows, 0 for none. Never empty.
    pub fn lengths(&self) -> Vec<i64> {
        match self {
            WindowKind::Tumbling { sizes, .. } | WindowKind::Hopping { sizes, .. } => sizes.clone(),
            WindowKind::Session { gap } => vec![*gap],
            WindowKind::Unbounded { ttl } => vec![*ttl],
            WindowKind::None => vec![0],
        }
    }
}

impl fmt::Display for WindowKind {
    /// `hopping 10m and 1h every 1m, Europe/Zurich`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (offset, zone) = match self {
            WindowKind::Tumbling {
                sizes,
                offset,
                zone,
            } => {
                write!(f, "tumbling {}", print_all(sizes))?;
                (*offset, zone.as_ref())
            }
            WindowKind::Hopping {
                sizes,
                slide,
                offset,
                zone,
            } => {
                let slide = print_duration(*slide);
                write!(f, "hopping {} every {slide}", print_all(sizes))?;
                (*offset, zone.as_ref())
            }
            WindowKind::Session { gap } => {
                write!(f, "session with a gap of {}", print_duration(*gap))?;
                (0, None)
            }
            WindowKind::Unbounded { ttl } => {
                write!(f, "unbounded with a TTL of {}", print_duration(*ttl))?;
                (0, None)
            }
            WindowKind::None => {
                f.write_str("none")?;
                (0, None)
            }
        };
        if offset > 0 {
            write!(f, ", offset {}", print_duration(offset))?;
        }
        match zone {
            Some(zone) => write!(f, ", {zone}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for WindowSpec {
    /// The kind, and what differs from the defaults: `tumbling 1d, lateness 1h, emitted every 1h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        if self.disorder > 0 {
            write!(f, ", disorder {}", print_duration(self.disorder))?;
        }
        if self.allowed_lateness > 0 {
            write!(f, ", lateness {}", print_duration(self.allowed_lateness))?;
        }
        match self.emit {
            Emit::Close => Ok(()),
            Emit::Every(every) => write!(f, ", emitted every {}", print_duration(every)),
            Emit::Batch => f.write_str(", emitted per batch"),
        }
    }
}

/// Durations as in a sentence: `10m, 1h and 1d`.
fn print_all(micros: &[i64]) -> String {
    let texts: Vec<String> = micros.iter().copied().map(print_duration).collect();
    match texts.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

/// A time zone of the IANA database that is built into the program, so that what comes out never
/// depends on the machine's. Two are equal if they have one name.
#[derive(Debug, Clone)]
pub struct Zone {
    name: String,
    time_zone: TimeZone,
}

impl Zone {
    /// The zone of this name, upper or lower case: `Europe/Zurich`, `UTC`.
    pub fn find(name: &str) -> Option<Self> {
        let time_zone = BUNDLED.get(name).ok().filter(|zone| !zone.is_unknown())?;
        Some(Zone {
            name: time_zone.iana_name()?.to_owned(),
            time_zone,
        })
    }

    /// Its name, as the database writes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The zone itself: its offsets from UTC, past and future.
    pub fn time_zone(&self) -> &TimeZone {
        &self.time_zone
    }

    /// The name that `text` most likely was meant to be: one misspelt, or one without its region.
    pub(super) fn suggest(text: &str) -> Option<String> {
        let names: Vec<String> = BUNDLED.available().map(|name| name.to_string()).collect();
        if let Some(name) = suggest::closest(text, names.iter().map(String::as_str)) {
            return Some(name.to_owned());
        }
        let place = |name: &str| name.rsplit('/').next().map(str::to_owned);
        let places: Vec<String> = names.iter().filter_map(|name| place(name)).collect();
        let wanted = place(text)?.trim().replace(' ', "_");
        let nearest = suggest::closest(&wanted, places.iter().map(String::as_str))?;
        names
            .iter()
            .find(|name| place(name).as_deref() == Some(nearest))
            .cloned()
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

static BUNDLED: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_by_name_and_equal_by_it() {
        let zurich = Zone::find("europe/zurich").unwrap();
        assert_eq!(zurich.name(), "Europe/Zurich");
        assert_eq!(zurich, Zone::find("Europe/Zurich").unwrap());
        assert_ne!(zurich, Zone::find("Europe/Paris").unwrap());
        assert_eq!(Zone::find("UTC").unwrap().to_string(), "UTC");
        for nowhere in ["Europe/Zürich", "", "Etc/Unknown", "+01:00", "../UTC"] {
            assert_eq!(Zone::find(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn a_zone_knows_when_its_clocks_change() {
        let zurich = Zone::find("Europe/Zurich").unwrap();
        let offset = |time: &str| {
            let time: jiff::Timestamp = time.parse().unwrap();
            zurich.time_zone().to_offset(time).seconds()
        };
        assert_eq!(offset("2026-03-29T00:59:59Z"), 3_600);
        assert_eq!(offset("2026-03-29T01:00:00Z"), 7_200);
        // After the last transition that the database lists, the rule goes on.
        assert_eq!(offset("2090-07-01T00:00:00Z"), 7_200);
    }

    #[test]
    fn near_names_of_zones_are_suggested() {
        for (text, name) in [
            ("Europe/Zürich", "Europe/Zurich"),
            ("Europe/Zurch", "Europe/Zurich"),
            ("Zurich", "Europe/Zurich"),
            ("New York", "America/New_York"),
            ("Asia/Calcuta", "Asia/Calcutta"),
        ] {
            assert_eq!(Zone::suggest(text).as_deref(), Some(name), "{text}");
        }
        assert_eq!(Zone::suggest("+01:00"), None);
    }

    #[test]
    fn windows_are_shown_in_a_line() {
        let (minute, hour) = (60_000_000, 3_600_000_000);
        let mut spec = WindowSpec {
            kind: WindowKind::Hopping {
                sizes: vec![hour],
                slide: minute,
                offset: 0,
                zone: Zone::find("Europe/Zurich"),
            },
            disorder: 0,
            allowed_lateness: 0,
            emit: Emit::Close,
            on_idle: OnIdle::Wait,
            idle_after: minute,
            max_future: None,
        };
        assert_eq!(spec.to_string(), "hopping 1h every 1m, Europe/Zurich");
        spec.kind = WindowKind::Tumbling {
            sizes: vec![10 * minute, hour, 24 * hour],
            offset: minute,
            zone: None,
        };
        (spec.disorder, spec.allowed_lateness) = (30_000_000, hour);
        spec.emit = Emit::Every(minute);
        assert_eq!(
            spec.to_string(),
            "tumbling 10m, 1h and 1d, offset 1m, disorder 30s, lateness 1h, emitted every 1m"
        );
        assert_eq!(spec.kind.lengths(), [10 * minute, hour, 24 * hour]);
        spec.kind = WindowKind::Session { gap: minute };
        assert_eq!(spec.kind.to_string(), "session with a gap of 1m");
        assert_eq!(spec.kind.lengths(), [minute]);
        spec.kind = WindowKind::Unbounded { ttl: 24 * hour };
        assert_eq!(spec.kind.to_string(), "unbounded with a TTL of 1d");
    }
}
