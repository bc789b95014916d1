//! Reads a `[window]` table. What may stand in it is described in [`super::pipeline`], what comes of
//! it in [`super::window`].
//!
//! First every key that the kind takes is read by itself, then the values are held against each
//! other. A value that breaks a rule is reported where it stands, and what follows from it is not.

use super::diagnostic::{Located, Span};
use super::length::Length;
use super::table::{Node, Table, kind_of};
use super::window::{Emit, OnIdle, WindowKind, WindowSpec};
use super::window_cut::{Cut, CutNodes};

/// The kinds of window by name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tumbling,
    Hopping,
    Session,
    Unbounded,
    None,
}

impl Kind {
    const ALL: [(&'static str, Kind); 5] = [
        ("tumbling", Kind::Tumbling),
        ("hopping", Kind::Hopping),
        ("session", Kind::Session),
        ("unbounded", Kind::Unbounded),
        ("none", Kind::None),
    ];

    fn name(self) -> &'static str {
        Kind::ALL
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }
}

/// A key that not every kind of window takes.
struct KindKey {
    key: &'static str,
    /// How it might look.
    line: &'static str,
    kinds: &'static [Kind],
    required: bool,
}

const SIZE: KindKey = KindKey {
    key: "size",
    line: "size = \"10m\"",
    kinds: &[Kind::Tumbling, Kind::Hopping],
    required: true,
};
const SLIDE: KindKey = KindKey {
    key: "slide",
    line: "slide = \"1m\"",
    kinds: &[Kind::Hopping],
    required: true,
};
const OFFSET: KindKey = KindKey {
    key: "offset",
    line: "offset = \"0s\"",
    kinds: &[Kind::Tumbling, Kind::Hopping],
    required: false,
};
const TIME_ZONE: KindKey = KindKey {
    key: "time_zone",
    line: "time_zone = \"Europe/Zurich\"",
    kinds: &[Kind::Tumbling, Kind::Hopping],
    required: false,
};
const GAP: KindKey = KindKey {
    key: "gap",
    line: "gap = \"30m\"",
    kinds: &[Kind::Session],
    required: true,
};
const TTL: KindKey = KindKey {
    key: "ttl",
    line: "ttl = \"30d\"",
    kinds: &[Kind::Unbounded],
    required: true,
};
const ALLOWED_LATENESS: KindKey = KindKey {
    key: "allowed_lateness",
    line: "allowed_lateness = \"1h\"",
    kinds: &[Kind::Tumbling, Kind::Hopping, Kind::Session],
    required: false,
};

/// The kinds that are windows at all.
const WINDOWS: &[Kind] = &[
    Kind::Tumbling,
    Kind::Hopping,
    Kind::Session,
    Kind::Unbounded,
];
const DISORDER: KindKey = KindKey {
    key: "disorder",
    line: "disorder = \"30s\"",
    kinds: WINDOWS,
    required: false,
};
const EMIT: KindKey = KindKey {
    key: "emit",
    line: "emit = \"close\"",
    kinds: WINDOWS,
    required: false,
};
const ON_IDLE: KindKey = KindKey {
    key: "on_idle",
    line: "on_idle = \"wait\"",
    kinds: WINDOWS,
    required: false,
};
const IDLE_AFTER: KindKey = KindKey {
    key: "idle_after",
    line: "idle_after = \"1m\"",
    kinds: WINDOWS,
    required: false,
};

/// Words that people try in a `[window]` table, and what to write.
const RETIRED: [(&str, &str); 9] = [
    ("length", "write `size`"),
    ("sizes", "write `size = [\"10m\", \"1h\"]`"),
    ("hop", "write `slide`"),
    ("step", "write `slide`"),
    ("timeout", "write `gap`"),
    ("timezone", "write `time_zone`"),
    ("lateness", "write `allowed_lateness`"),
    (
        "watermark",
        "write `disorder`: how far the watermark stays behind the latest event",
    ),
    ("every", "write `emit = { every = \"1m\" }`"),
];

/// A `[window]` table as it was read.
pub(super) struct ReadWindow {
    pub(super) spec: Located<WindowSpec>,
    /// As [`WindowKind::lengths`], each with its text.
    pub(super) lengths: Vec<Length>,
}

/// Reads a `[window]` table; `root_keys` are those that people tend to write below it.
pub(super) fn read(node: &Node<'_>, root_keys: &[&str]) -> Option<ReadWindow> {
    let mut table = node.table("a `[window]` table")?;
    let kind = table
        .required("kind", "kind = \"tumbling\"")
        .and_then(|node| node.choice(&Kind::ALL));
    let word = kind.as_ref().map(|kind| kind.value);
    let mut of_kind = |key: &KindKey| take(&mut table, word, key);
    let cut_nodes = CutNodes {
        size: of_kind(&SIZE),
        slide: of_kind(&SLIDE),
        offset: of_kind(&OFFSET),
        time_zone: of_kind(&TIME_ZONE),
    };
    let gap = of_kind(&GAP);
    let ttl = of_kind(&TTL);
    let allowed_lateness = of_kind(&ALLOWED_LATENESS);
    let disorder = of_kind(&DISORDER);
    let emit = of_kind(&EMIT);
    let on_idle = of_kind(&ON_IDLE);
    let idle_after = of_kind(&IDLE_AFTER);
    let max_future = table.optional("max_future");
    table.finish(root_keys, &RETIRED);

    let disorder = duration_or(disorder, "\"30s\"", 0);
    let allowed_lateness = duration_or(allowed_lateness, "\"1h\"", 0);
    let emit = emit.map_or(Some(None), |node| read_emit(&node).map(Some));
    let on_idle = on_idle.map_or(Some(OnIdle::Wait), |node| {
        node.choice(&[("wait", OnIdle::Wait), ("advance", OnIdle::Advance)])
            .map(|choice| choice.value)
    });
    let idle_after = duration_or(idle_after, "\"1m\"", 60_000_000);
    let max_future = max_future.map_or(Some(None), |node| {
        node.duration("\"1h\"").map(|bound| Some(bound.value))
    });

    let kind = kind?;
    let (read_kind, lengths, emit) = match kind.value {
        Kind::Tumbling | Kind::Hopping => {
            let cut = Cut::read(node, &cut_nodes);
            let (cut, emit) = (cut?, emit?);
            if kind.value == Kind::Hopping {
                // Without a slide, which was reported, it would be taken for tumbling.
                cut.slide.as_ref()?;
            }
            let emit = cut.check_emission(node, emit)?;
            let (kind, lengths) = cut.into_kind();
            (kind, lengths, emit)
        }
        Kind::Session => {
            let (gap, lengths) = read_length(&gap?, "\"30m\"")?;
            let emit = emit?.map_or(Emit::Close, |emit| emit.value);
            (WindowKind::Session { gap }, lengths, emit)
        }
        Kind::Unbounded => {
            let emit = emit.and_then(|emit| emission_of_unbounded(node, kind.span, emit));
            let (ttl, lengths) = read_length(&ttl?, "\"30d\"")?;
            (WindowKind::Unbounded { ttl }, lengths, emit?)
        }
        Kind::None => (WindowKind::None, vec![Length::new(0, "none")], Emit::Close),
    };
    let spec = WindowSpec {
        kind: read_kind,
        disorder: disorder?,
        allowed_lateness: allowed_lateness?,
        emit,
        on_idle: on_idle?,
        idle_after: idle_after?,
        max_future: max_future?,
    };
    Some(ReadWindow {
        spec: Located::new(spec, node.span),
        lengths,
    })
}

/// The value of a key, if this kind takes it; if not, that is reported. While the kind is unknown
/// no key is missing, and none is wrong here.
fn take<'a>(table: &mut Table<'a>, kind: Option<Kind>, key: &KindKey) -> Option<Node<'a>> {
    let Some(kind) = kind else {
        table.optional(key.key);
        return None;
    };
    let takes = key.kinds.contains(&kind);
    let node = match takes && key.required {
        true => table.required(key.key, key.line),
        false => table.optional(key.key),
    }?;
    if takes {
        return Some(node);
    }
    let named = |last: &str| {
        let names: Vec<&str> = key.kinds.iter().map(|kind| kind.name()).collect();
        match names.split_last() {
            Some((name, [])) => (*name).to_owned(),
            Some((name, others)) => format!("{} {last} {name}", others.join(", ")),
            None => String::new(),
        }
    };
    let problem = format!(
        "is for {} windows, and this one is {}",
        named("and"),
        kind.name()
    );
    let hint = match kind {
        Kind::None => "leave it out: rows come out as they are mapped".to_owned(),
        Kind::Unbounded if key.key == ALLOWED_LATENESS.key => {
            "leave it out: an unbounded window never closes, so a late row is applied until its key's TTL is over".to_owned()
        }
        _ => format!("leave it out, or make `kind` {}", named("or")),
    };
    node.report(problem, hint);
    None
}

fn duration_or(node: Option<Node<'_>>, example: &str, default: i64) -> Option<i64> {
    node.map_or(Some(default), |node| {
        node.duration(example).map(|duration| duration.value)
    })
}

fn read_emit(node: &Node<'_>) -> Option<Located<Emit>> {
    const HINT: &str = "write \"close\", \"batch\" or { every = \"1m\" }";
    let emit = if node.value.is_table() {
        let mut table = node.table("{ every = \"1m\" }")?;
        let every = table.required("every", "every = \"1m\"");
        table.finish(&[], &[]);
        Emit::Every(every?.positive_duration("\"1m\"")?.value)
    } else {
        match node.value.as_str() {
            Some("close") => Emit::Close,
            Some("batch") => Emit::Batch,
            Some(other) => {
                node.report(format_args!("cannot be `{other}`"), HINT);
                return None;
            }
            None => {
                let found = kind_of(node.value);
                node.report(format_args!("must be a word or a table, not {found}"), HINT);
                return None;
            }
        }
    };
    Some(Located::new(emit, node.span))
}

/// The one length of a session or an unbounded window.
fn read_length(node: &Node<'_>, example: &str) -> Option<(i64, Vec<Length>)> {
    let micros = node.positive_duration(example)?.value;
    let text = node.value.as_str().unwrap_or_default();
    Some((micros, vec![Length::new(micros, text)]))
}

/// `kind` is where the kind stands.
fn emission_of_unbounded(node: &Node<'_>, kind: Span, emit: Option<Located<Emit>>) -> Option<Emit> {
    let span = emit.as_ref().map_or(kind, |emit| emit.span);
    match emit.map(|emit| emit.value) {
        Some(emit @ (Emit::Every(_) | Emit::Batch)) => Some(emit),
        Some(Emit::Close) | None => {
            node.findings().report(
                span,
                "an unbounded window never closes, so nothing would come out of it",
                "write `emit = { every = \"1h\" }`, or `emit = \"batch\"` for running values",
            );
            None
        }
    }
}

#[cfg(test)]
#[path = "window_file_tests.rs"]
mod tests;
