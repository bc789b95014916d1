//! Which session a row belongs to, as far as that is known before the transform has taken the rows
//! of its segment.

use super::Sessions;
use crate::window::span::Span;
use crate::window::states::NONE;

/// What is known of a session. Each row looks at another one, so it has just what rows need, and
/// is one line of the processor's cache.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Session {
    /// The session of the same key that comes before it in event time; [`NONE`] if none is kept.
    pub(super) before: u32,
    /// The rows that were applied. A session has some, except while its first segment is at work.
    pub(super) applied: Span,
    /// The rows of the segment at hand, of which it is not known yet whether they will be applied.
    pub(super) unsure: Span,
    /// Since when it differs from what was emitted: the watermark at that row.
    pub(super) changed: Option<i64>,
    /// Whether the watermark has passed its end, and it was emitted for that.
    pub(super) closed: bool,
    /// Whether it was counted as a closed window.
    pub(super) counted: bool,
    /// When it will be looked at; entries of the agenda with another instant are void.
    pub(super) due: i64,
}

const _: () = assert!(size_of::<Session>() == 64, "a session is one line");

impl Default for Session {
    fn default() -> Self {
        Self {
            before: NONE,
            applied: Span::EMPTY,
            unsure: Span::EMPTY,
            changed: None,
            closed: false,
            counted: false,
            due: i64::MIN,
        }
    }
}

impl Session {
    /// The most that the session can turn out to be.
    pub(super) fn reach(&self) -> Span {
        self.applied.and(self.unsure)
    }
}

/// What was emitted of a session.
#[derive(Debug, Clone, Default)]
pub(super) struct Emitted {
    /// The bounds that were emitted last, if the transform gave rows then that were not withdrawn.
    pub(super) bounds: Option<(i64, i64)>,
    /// How often it was emitted or withdrawn.
    pub(super) revision: u32,
}

/// Where a row goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into an open session.
    Into(u32),
    /// Into a new one.
    New,
    /// Into a closed session that may still be corrected, or a new one that is closed at once.
    Closed(Option<u32>),
    /// Between two sessions, which become one; the earlier comes first.
    Between(u32, u32),
    /// That depends on what the transform says of the segment.
    Unsure,
    /// It is too late; its session ended at this instant.
    Late(i64),
}

impl Sessions {
    /// Finds out where a row goes.
    pub(super) fn place(&self, key: u32, time: i64, watermark: i64) -> Place {
        let meets = |span: Span| time < span.last + self.gap && time + self.gap > span.first;
        let gone = |end: i64| end.saturating_add(self.lateness) <= watermark;
        let mut met = [NONE; 2];
        let mut closed = false;
        let mut count = 0;
        for slot in self.of_key(key) {
            let session = self.sessions.get(slot);
            // The least and the most that the session can turn out to be.
            let (least, most) = (session.applied, session.reach());
            let end = most.last + self.gap;
            if end <= time || gone(end) {
                // And so is the end of all that come before it.
                break;
            }
            if !meets(most) {
                continue;
            }
            let (sure, last) = match least.is_empty() {
                false => (meets(least), least.last),
                // With any one of its rows, so none may be a gap away; and with none of them, so
                // the row must be in time by itself.
                true => {
                    let meets_all = time < most.first + self.gap && time + self.gap > most.last;
                    (meets_all && time + self.gap > watermark, most.first)
                }
            };
            let (earliest, latest) = (last + self.gap, end);
            let passed = |end: i64| end <= watermark;
            if !sure || gone(earliest) || passed(earliest) != passed(latest) {
                return Place::Unsure;
            }
            closed |= passed(latest);
            met[count] = slot;
            count += 1;
            if count == 2 {
                break;
            }
        }
        match (count, met) {
            (0, _) if gone(time + self.gap) => Place::Late(time + self.gap),
            (0, _) if time + self.gap <= watermark => Place::Closed(None),
            (0, _) => Place::New,
            (1, [slot, _]) if closed => Place::Closed(Some(slot)),
            (1, [slot, _]) => Place::Into(slot),
            (_, [later, earlier]) => Place::Between(earlier, later),
        }
    }
}
