//! What cuts time into tumbling and hopping windows: sizes, slide, offset and time zone, read from a
//! `[window]` table and held against each other.

use super::diagnostic::Located;
use super::duration::{greatest_common_divisor, print_duration};
use super::length::Length;
use super::table::Node;
use super::window::{Emit, WindowKind, Zone};

const DAY: i64 = 86_400_000_000;
/// Panes of the longest window, at most: state is kept for each pane of a key, so far finer cuts
/// would fill any memory.
const MOST_PANES: i64 = 1_000_000;

/// The nodes of [`Cut`].
pub(super) struct CutNodes<'a> {
    pub(super) size: Option<Node<'a>>,
    pub(super) slide: Option<Node<'a>>,
    pub(super) offset: Option<Node<'a>>,
    pub(super) time_zone: Option<Node<'a>>,
}

/// What cuts time into tumbling and hopping windows.
pub(super) struct Cut {
    /// Ascending and distinct, with where they stand.
    sizes: Vec<Located<Length>>,
    /// Of hopping windows.
    pub(super) slide: Option<Located<i64>>,
    offset: i64,
    zone: Option<Located<Zone>>,
}

impl Cut {
    /// Reads what is there; a key that is missing was reported, or will be.
    pub(super) fn read(window: &Node<'_>, nodes: &CutNodes<'_>) -> Option<Self> {
        let sizes = nodes.size.as_ref().map(read_sizes);
        let slide = nodes.slide.as_ref().map_or(Some(None), |node| {
            node.positive_duration("\"1m\"").map(Some)
        });
        let offset = nodes.offset.as_ref().map_or(Some(0), |node| {
            node.duration("\"0s\"").map(|offset| offset.value)
        });
        let zone = nodes
            .time_zone
            .as_ref()
            .map_or(Some(None), |node| read_zone(node).map(Some));
        let cut = Cut {
            sizes: sizes??,
            slide: slide?,
            offset: offset?,
            zone: zone?,
        };
        if let Some(node) = &nodes.offset
            && cut.offset >= cut.greatest().value.micros
        {
            let hint = format!(
                "write an offset from \"0s\" up to, not including, \"{}\"",
                cut.greatest().text
            );
            node.report("must be shorter than the window", hint);
            return None;
        }
        let holds = cut.check_slide(window) && cut.check_whole_days(window);
        holds.then_some(cut)
    }

    fn greatest(&self) -> &Located<Length> {
        self.sizes.last().expect("a list of sizes is not empty")
    }

    fn check_slide(&self, window: &Node<'_>) -> bool {
        let smallest = self.sizes.first().expect("a list of sizes is not empty");
        let Some(slide) = (self.slide.as_ref()).filter(|slide| slide.value > smallest.micros)
        else {
            return true;
        };
        let findings = window.findings();
        let message = format!(
            "a window of {} every {} leaves gaps: events between windows would be in none",
            smallest.text,
            print_duration(slide.value)
        );
        let hint = format!(
            "write a `slide` of at most \"{}\", the smallest size",
            smallest.text
        );
        findings.report(slide.span, message, hint);
        false
    }

    /// Days of a zone have 23 to 25 hours, so nothing shorter fits into them evenly.
    fn check_whole_days(&self, window: &Node<'_>) -> bool {
        let Some(zone) = &self.zone else {
            return true;
        };
        let sizes = self
            .sizes
            .iter()
            .map(|size| ("size", size.micros, size.span));
        let slide = self
            .slide
            .iter()
            .map(|slide| ("slide", slide.value, slide.span));
        let Some((key, micros, span)) = sizes.chain(slide).find(|(_, micros, _)| micros % DAY != 0)
        else {
            return true;
        };
        let message = format!(
            "`window.{key}` of {} is not a whole number of days, as windows in time zone {} must be",
            print_duration(micros),
            zone.value
        );
        let hint = "write whole days, such as \"1d\", or leave out `time_zone`";
        window.findings().report(span, message, hint);
        false
    }

    /// The emission, if it fits these windows, and panes of it are not too many.
    pub(super) fn check_emission(
        &self,
        window: &Node<'_>,
        emit: Option<Located<Emit>>,
    ) -> Option<Emit> {
        let Some(emit) = emit else {
            return self.check_panes(window, None).then_some(Emit::Close);
        };
        let refusal = match emit.value {
            Emit::Close => None,
            Emit::Batch => self.refusal_of_batch(),
            Emit::Every(every) => self.refusal_of_every(every),
        };
        if let Some((message, hint)) = refusal {
            window.findings().report(emit.span, message, hint);
            return None;
        }
        let every = match emit.value {
            Emit::Every(every) => Some(Located::new(every, emit.span)),
            Emit::Close | Emit::Batch => None,
        };
        self.check_panes(window, every).then_some(emit.value)
    }

    /// What is wrong with running values, and what to do.
    fn refusal_of_batch(&self) -> Option<(String, String)> {
        if self.slide.is_some() {
            return Some((
                "a hopping window cannot be emitted per batch: every row is in many of them"
                    .to_owned(),
                "leave out `emit`, or make `kind` tumbling or unbounded".to_owned(),
            ));
        }
        (self.sizes.len() > 1).then(|| {
            (
                "windows of several sizes cannot be emitted per batch".to_owned(),
                "choose one size, or write `emit = { every = \"1m\" }`".to_owned(),
            )
        })
    }

    /// What is wrong with values every so often, and what to do.
    fn refusal_of_every(&self, every: i64) -> Option<(String, String)> {
        if let Some(slide) = &self.slide {
            let slide = print_duration(slide.value);
            return Some((
                format!("a hopping window emits at every slide already, here every {slide}"),
                "leave out `emit`, and choose the `slide` you need".to_owned(),
            ));
        }
        let printed = print_duration(every);
        if let Some(zone) = &self.zone
            && every % DAY != 0
        {
            return Some((
                format!(
                    "emission every {printed} is not whole days, as it must be in time zone {}",
                    zone.value
                ),
                "write `every` in whole days that divide the sizes, or leave out `time_zone`"
                    .to_owned(),
            ));
        }
        let uneven = self.sizes.iter().find(|size| size.micros % every != 0)?;
        Some((
            format!(
                "emission every {printed} does not divide a window of {} evenly",
                uneven.text
            ),
            "choose an `every` that each size is a multiple of".to_owned(),
        ))
    }

    /// Every length begins and ends at the edge of a pane, so that a pane is their greatest common
    /// divisor. The one that makes panes too small is reported.
    fn check_panes(&self, window: &Node<'_>, every: Option<Located<i64>>) -> bool {
        let greatest = self.greatest();
        let sizes = self
            .sizes
            .iter()
            .map(|size| ("size", size.micros, size.span));
        let slide = self
            .slide
            .iter()
            .map(|slide| ("slide", slide.value, slide.span));
        let every = every
            .iter()
            .map(|every| ("emit.every", every.value, every.span));
        // From the greatest, or a small size would be blamed for being first.
        let mut pane = greatest.micros;
        for (key, micros, span) in sizes.rev().chain(slide).chain(every) {
            pane = greatest_common_divisor(pane, micros);
            let panes = greatest.micros / pane;
            if panes <= MOST_PANES {
                continue;
            }
            let message = format!(
                "`window.{key}` of {} cuts a window of {} into {panes} panes of {}, and {MOST_PANES} are the most",
                print_duration(micros),
                greatest.text,
                print_duration(pane)
            );
            let least = print_duration((greatest.micros - 1) / MOST_PANES + 1);
            let hint = format!("choose lengths that are multiples of one of {least} or more");
            window.findings().report(span, message, hint);
            return false;
        }
        true
    }

    pub(super) fn into_kind(self) -> (WindowKind, Vec<Length>) {
        let sizes = self.sizes.iter().map(|size| size.micros).collect();
        let (offset, zone) = (self.offset, self.zone.map(|zone| zone.value));
        let kind = match self.slide {
            Some(slide) => WindowKind::Hopping {
                sizes,
                slide: slide.value,
                offset,
                zone,
            },
            None => WindowKind::Tumbling {
                sizes,
                offset,
                zone,
            },
        };
        let lengths = self.sizes.into_iter().map(|size| size.value).collect();
        (kind, lengths)
    }
}

/// One size or a list of them, in ascending order.
fn read_sizes(node: &Node<'_>) -> Option<Vec<Located<Length>>> {
    let items = node.items().unwrap_or_else(|| vec![node.clone()]);
    if items.is_empty() {
        node.report(
            "is empty",
            "write a size such as \"10m\", or several: [\"10m\", \"1h\"]",
        );
        return None;
    }
    let read = |item: &Node<'_>| {
        let micros = item.positive_duration("\"10m\"")?;
        let text = item.value.as_str().unwrap_or_default();
        Some(Located::new(Length::new(micros.value, text), micros.span))
    };
    // Each is tried, so that each that is wrong is reported.
    let sizes: Vec<Option<Located<Length>>> = items.iter().map(read).collect();
    let mut sizes: Vec<Located<Length>> = sizes.into_iter().collect::<Option<_>>()?;
    // The sort is stable: of two equal sizes the later one is the twin.
    sizes.sort_by_key(|size| size.micros);
    if let Some(twins) = sizes
        .windows(2)
        .find(|pair| pair[0].micros == pair[1].micros)
    {
        let file = node.findings().file();
        let message = format!(
            "`window.size` has {} twice",
            print_duration(twins[0].micros)
        );
        let twin = file.diagnostic(twins[1].span, message, "keep one of the two");
        let twin = twin.with_note("the first one", file.place(twins[0].span));
        node.findings().push(twin);
        return None;
    }
    Some(sizes)
}

fn read_zone(node: &Node<'_>) -> Option<Located<Zone>> {
    let text = node.string("\"Europe/Zurich\"")?;
    if let Some(zone) = Zone::find(&text) {
        return Some(Located::new(zone, text.span));
    }
    let hint = match Zone::suggest(&text) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "write a name of the IANA database, such as \"Europe/Zurich\"".to_owned(),
    };
    node.report(
        format_args!("cannot be `{}`: there is no such time zone", text.value),
        hint,
    );
    None
}
