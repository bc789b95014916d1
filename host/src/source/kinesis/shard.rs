//! One shard: what it is read by, its window, and what is known of it.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::batch::{BatchBuilder, Taking};
use super::mailbox::Mailbox;
use super::place::{Place, ShardCursor, order};
use super::service::{From, Part, Subscription};
use super::status::{ShardState, ShardStatus};
use super::waits::Waits;
use super::{Batch, KinesisEvent, KinesisSettings, ShardInfo};
use crate::source::flow::{Bell, Flow, Step, Window};

/// Where a shard is on its way from listed to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody has said where to start, or a parent is not read yet.
    Waiting,
    /// It is read.
    Reading,
    /// Somebody has to say where to go on.
    Missing,
    /// Nothing more will come of it.
    Closed,
}

/// What the service has given to go on with.
#[derive(Debug)]
pub(super) enum Line {
    Nothing,
    Iterator(String),
    Subscription(Subscription),
}

/// What is to be asked next.
#[derive(Debug)]
pub(super) enum Ask {
    Iterator(From),
    Records(String),
    Subscribe(From),
    Event(Subscription),
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: u64,
    /// When it will have taken too long.
    pub(super) end: Duration,
    /// Where it asked to read from, if it did.
    pub(super) from: Option<From>,
    /// Whether it waits for an event, for as long as there is none.
    pub(super) event: bool,
    pub(super) abort: AbortHandle,
}

/// What came of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// It was taken.
    All,
    /// It begins behind the record that was asked for: with this one, if with any.
    Gone(Option<String>),
    /// A record has a number that is none.
    Odd(String),
}

/// One shard.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) info: ShardInfo,
    pub(super) stage: Stage,
    /// What was ordered, until it is done.
    pub(super) order: Option<Option<ShardCursor>>,
    /// Whether it is being read, was read, or was said to be read, so that its children are read
    /// whole. Those that were closed before the newest record of all was asked for are not.
    pub(super) read: bool,
    /// Whether the stream has to be asked if it still has the shard; and why.
    pub(super) doubt: Option<Doubt>,
    pub(super) asked: Option<Asked>,
    pub(super) line: Line,
    /// Nothing is asked before.
    pub(super) due: Duration,
    pub(super) waits: Waits,
    pub(super) throttled: u64,
    /// Whether anybody was told that it fails.
    pub(super) told: bool,
    /// Whether anybody was told that it is about to lose records.
    pub(super) warned: bool,
    window: Window,
    taking: Taking,
    /// The last record that was taken, or that the cursor has.
    place: Option<Place>,
    /// Whether the next answer has to begin with that record.
    check: bool,
    /// Where to begin while there is none.
    initial: From,
    /// Whether that is a place that stays.
    pinned: bool,
    /// Where a subscription has said that another one would go on.
    continuation: Option<String>,
    next_offset: i64,
    messages: u64,
    misplaced: u64,
    pauses: u64,
    behind_ms: Option<i64>,
    /// Whether the last that was heard of it was its end.
    ended: bool,
    at_end: Option<Duration>,
    heard: Duration,
    /// Whether the subscription has given nothing yet.
    silent: bool,
}

/// A reason to ask whether a shard is still there.
#[derive(Debug, Clone)]
pub(super) struct Doubt {
    pub(super) reason: String,
    /// Whether the shard may be there, and only a record not.
    pub(super) record: bool,
}

impl Shard {
    pub(super) fn new(info: ShardInfo, settings: &KinesisSettings) -> Self {
        let taking = Taking {
            hash_keys: info.hash_keys.clone(),
            misplaced: settings.misplaced,
        };
        Self {
            info,
            stage: Stage::Waiting,
            order: None,
            read: false,
            doubt: None,
            asked: None,
            line: Line::Nothing,
            due: Duration::ZERO,
            waits: Waits::default(),
            throttled: 0,
            told: false,
            warned: false,
            window: Window::new(settings.window_bytes),
            taking,
            place: None,
            check: false,
            initial: From::Beginning,
            pinned: true,
            continuation: None,
            next_offset: 0,
            messages: 0,
            misplaced: 0,
            pauses: 0,
            behind_ms: None,
            ended: false,
            at_end: None,
            heard: Duration::ZERO,
            silent: false,
        }
    }

    /// Starts it, or starts it again, at a cursor that is not its end.
    pub(super) fn start(&mut self, cursor: &ShardCursor, now: Duration) {
        match cursor {
            ShardCursor::After { place, offset } => {
                self.begin(From::Beginning, now);
                self.place = Some(place.clone());
                self.check = true;
                self.next_offset = offset + 1;
            }
            ShardCursor::Since(micros) => self.begin(From::Since(*micros), now),
            ShardCursor::Beginning | ShardCursor::Finished => self.begin(From::Beginning, now),
        }
    }

    /// Starts it at the record that comes next. [`Shard::pin`] then says when that was.
    pub(super) fn start_at_latest(&mut self, now: Duration) {
        self.begin(From::Latest, now);
        self.pinned = false;
    }

    /// One that starts again from its beginning counts on, so that its offsets rise.
    fn begin(&mut self, initial: From, now: Duration) {
        self.stage = Stage::Reading;
        self.read = true;
        self.line = Line::Nothing;
        self.continuation = None;
        self.due = now;
        self.heard = now;
        self.ended = false;
        self.at_end = None;
        self.initial = initial;
        self.pinned = true;
        self.place = None;
        self.check = false;
    }

    /// The offset of the next message.
    pub(super) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// What is to be asked now, if anything. `forgets` is how long after the last answer records
    /// that were not read may be gone.
    pub(super) fn next_ask(
        &mut self,
        now: Duration,
        fan_out: bool,
        forgets: Duration,
    ) -> Option<Ask> {
        if self.stage != Stage::Reading || self.asked.is_some() || self.doubt.is_some() {
            return None;
        }
        // A subscription that nobody reads fills the connection that all share.
        if self.window.look(now) == Step::Pause {
            self.pauses += 1;
            self.line = Line::Nothing;
        }
        if now < self.due || self.window.flow() != Flow::Open {
            return None;
        }
        Some(match mem::replace(&mut self.line, Line::Nothing) {
            // An iterator can be asked again if nothing comes of it.
            Line::Iterator(iterator) => {
                self.line = Line::Iterator(iterator.clone());
                Ask::Records(iterator)
            }
            Line::Subscription(subscription) => Ask::Event(subscription),
            Line::Nothing if fan_out => Ask::Subscribe(self.resume(now, forgets)),
            Line::Nothing => Ask::Iterator(self.resume(now, forgets)),
        })
    }

    fn resume(&mut self, now: Duration, forgets: Duration) -> From {
        if self.place.is_some() && now.saturating_sub(self.heard) >= forgets {
            self.recheck();
        }
        match (&self.place, &self.continuation) {
            (Some(place), _) if self.check => From::At(place.sequence_number().to_owned()),
            (_, Some(continuation)) => From::After(continuation.clone()),
            (Some(place), None) => From::After(place.sequence_number().to_owned()),
            (None, None) => self.initial.clone(),
        }
    }

    /// Has the next answer begin with the last record, which is then known to be there.
    pub(super) fn recheck(&mut self) {
        self.check = self.place.is_some();
        self.continuation = None;
        self.line = Line::Nothing;
    }

    /// Notes when the service gave the newest place, so that another try begins no later. Gives the
    /// cursor that says so, if it can be said, and the place was not noted before.
    pub(super) fn pin(&mut self, micros: Option<i64>) -> Option<Option<ShardCursor>> {
        if mem::replace(&mut self.pinned, true) {
            return None;
        }
        if let Some(micros) = micros {
            self.initial = From::Since(micros);
        }
        Some(micros.map(ShardCursor::Since))
    }

    /// Notes that a subscription is open.
    pub(super) fn subscribed(&mut self, subscription: Subscription) {
        self.line = Line::Subscription(subscription);
        self.silent = true;
    }

    /// Notes that it has given something, and where another one would go on.
    pub(super) fn go_on_at(&mut self, subscription: Subscription, continuation: Option<String>) {
        self.line = Line::Subscription(subscription);
        self.silent = false;
        self.continuation = continuation;
    }

    /// Whether the subscription that has ended gave nothing at all.
    pub(super) fn was_silent(&self) -> bool {
        self.silent
    }

    /// The number of the record that is asked for, if one is.
    pub(super) fn wanted(&self) -> Option<&str> {
        self.place.as_ref().map(Place::sequence_number)
    }

    /// Whether a stream that has dropped it has dropped nothing that was asked for.
    pub(super) fn wants_nothing(&self) -> bool {
        self.place.is_none() && self.initial == From::Beginning
    }

    /// Hands out the records of an answer, and says if they were the last at the time.
    pub(super) fn take(
        &mut self,
        part: &Part,
        settings: &KinesisSettings,
        mailbox: &Arc<Mailbox>,
        now: Duration,
    ) -> Took {
        self.heard = now;
        self.behind_ms = Some(part.behind_ms);
        let at_end = part.behind_ms <= 0;
        if self.check {
            match part.records.first() {
                Some(first) if self.wanted() == Some(first.sequence_number()) => self.check = false,
                Some(first) => return Took::Gone(Some(first.sequence_number().to_owned())),
                None if at_end || part.closed => return Took::Gone(None),
                None => return Took::All,
            }
        }
        let mut batch = BatchBuilder::default();
        for record in &part.records {
            let number = record.sequence_number();
            let known = self.wanted().map(|wanted| order(number, wanted));
            // The service gives each once, but a record that is asked for is known already.
            if known.is_some_and(std::cmp::Ordering::is_lt) {
                continue;
            }
            let taken = batch.push(record, self.place.as_ref(), self.next_offset, &self.taking);
            let Some(place) = Place::new(number, taken.last_part) else {
                return Took::Odd(number.to_owned());
            };
            self.place = Some(place);
            self.next_offset += taken.messages as i64;
            self.messages += taken.messages;
            self.misplaced += taken.misplaced;
            if batch.len() >= settings.batch_records || batch.bytes() >= settings.batch_bytes {
                self.emit(mem::take(&mut batch), mailbox);
            }
        }
        self.emit(batch, mailbox);
        if at_end && !part.closed {
            self.at_end = Some(now);
            if !self.ended {
                self.ended = true;
                let shard = self.info.shard;
                mailbox.tell(KinesisEvent::AtEnd { shard });
            }
        } else {
            self.ended = false;
            self.at_end = None;
        }
        Took::All
    }

    fn emit(&mut self, batch: BatchBuilder, mailbox: &Arc<Mailbox>) {
        if batch.len() == 0 {
            return;
        }
        self.ended = false;
        let bell: Arc<dyn Bell> = Arc::clone(mailbox) as _;
        let held = self.window.hold(batch.bytes(), bell);
        let (messages, places) = batch.finish(self.info.shard);
        mailbox.tell(KinesisEvent::Messages(Box::new(Batch {
            messages,
            places,
            held,
        })));
    }

    pub(super) fn close(&mut self) {
        self.stage = Stage::Closed;
        self.line = Line::Nothing;
        self.behind_ms = Some(0);
        self.at_end = None;
    }

    pub(super) fn status(&self) -> ShardStatus {
        let state = match (self.stage, self.window.flow()) {
            (Stage::Waiting, _) if self.order.is_some() => ShardState::Behind,
            (Stage::Waiting, _) => ShardState::Waiting,
            (Stage::Missing, _) => ShardState::Missing,
            (Stage::Closed, _) => ShardState::Closed,
            (Stage::Reading, Flow::Open) => ShardState::Reading,
            (Stage::Reading, Flow::Full(_)) => ShardState::Full,
            (Stage::Reading, Flow::Paused) => ShardState::Paused,
        };
        ShardStatus {
            shard: self.info.shard,
            id: self.info.id.clone(),
            state,
            behind_ms: self.behind_ms,
            last_sequence_number: self.wanted().map(str::to_owned),
            next_offset: self.next_offset,
            messages: self.messages,
            misplaced: self.misplaced,
            held_bytes: self.window.held(),
            pauses: self.pauses,
            throttled: self.throttled,
            at_end: self.at_end.filter(|_| state == ShardState::Reading),
        }
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
