//! What answers and failures mean.

use std::time::Duration;

use super::KinesisEvent;
use super::connect::no_stream;
use super::fault::{Failure, FaultKind, KinesisFault};
use super::mailbox::{Answered, Asker};
use super::reader::Reader;
use super::service::{Answer, From, Listed, Part};
use super::shard::{Doubt, Line, Stage, Took};

/// A service that was quiet about it for so long is told of anew when it throttles again.
const QUIET: Duration = Duration::from_secs(60);

/// How often in a row something is in use before that is told: after some four seconds.
const LASTING: u32 = 5;

impl Reader {
    /// Takes an answer, unless nobody waits for it any more.
    pub(super) fn hear(&mut self, answered: Answered, now: Duration) {
        let Answered {
            asker,
            request,
            answer,
        } = answered;
        let asked = match asker {
            Some(number) => &mut self.shards[number as usize].asked,
            None => &mut self.listing.asked,
        };
        let Some(asked) = asked.take_if(|asked| asked.request == request) else {
            return;
        };
        match (asker, answer) {
            (_, Answer::Failed(failure)) => self.fail_one(asker, failure, asked.from, now),
            (None, Answer::Listed(shards)) => {
                self.heard(None);
                self.listing.due = now + self.settings.list_every;
                self.learn(shards, now);
            }
            (Some(number), answer) => self.take(number, answer, now),
            (None, _) => {}
        }
    }

    fn take(&mut self, number: u32, answer: Answer, now: Duration) {
        let poll_every = self.settings.poll_every;
        let shard = &mut self.shards[number as usize];
        match answer {
            Answer::Iterator(iterator, given) => {
                shard.line = Line::Iterator(iterator);
                shard.due = now;
                self.pin(number, given);
                // That it can be read is known only when it was.
                self.unheard_no_more(Some(number));
            }
            Answer::Subscribed(subscription, given) => {
                shard.subscribed(subscription);
                shard.due = now;
                self.pin(number, given);
                self.unheard_no_more(Some(number));
            }
            Answer::Records(part, next) => {
                shard.line = next.map_or(Line::Nothing, Line::Iterator);
                shard.due = now + poll_every;
                self.hand_out(number, part, now);
            }
            Answer::Event(subscription, part, next) => {
                shard.go_on_at(subscription, next);
                shard.due = now;
                self.hand_out(number, part, now);
            }
            // One that has given nothing, again and again, is not to be opened in a circle.
            Answer::Ended if shard.was_silent() => shard.due = now + shard.waits.next(),
            Answer::Ended => shard.due = now,
            Answer::Listed(_) | Answer::Failed(_) => {}
        }
    }

    /// Notes when a shard was given to be read, and tells of it if that decides where it begins.
    fn pin(&mut self, number: u32, given: Option<i64>) {
        let shard = &mut self.shards[number as usize];
        if let Some(from) = shard.pin(given) {
            let offset = shard.next_offset();
            self.mailbox.tell(KinesisEvent::Started {
                shard: number,
                from,
                offset,
            });
        }
    }

    fn hand_out(&mut self, number: u32, part: Part, now: Duration) {
        self.heard(Some(number));
        let shard = &mut self.shards[number as usize];
        match shard.take(&part, &self.settings, &self.mailbox, now) {
            Took::All => {}
            Took::Gone(first) => {
                let reason = "the record after which to go on is not there any more";
                return self.miss(number, first, reason.to_owned());
            }
            Took::Odd(told) => {
                return self.fail(KinesisFault::new(
                    FaultKind::Refused,
                    format!(
                        "the service numbers a record of `{}` by `{told}`, which is no number",
                        self.settings.stream
                    ),
                    "check that `endpoint` is a Kinesis",
                ));
            }
        }
        self.warn_of_loss(number, part.behind_ms);
        if part.closed {
            self.add_children(part.children);
            self.listing.due = now;
            self.close(number);
        }
    }

    /// Says so when a shard is so far behind that the stream will soon drop what was not read.
    fn warn_of_loss(&mut self, number: u32, behind_ms: i64) {
        let behind = Duration::from_millis(u64::try_from(behind_ms).unwrap_or(0));
        let shard = &mut self.shards[number as usize];
        if behind < self.retention / 10 * 9 {
            shard.warned = false;
        } else if !std::mem::replace(&mut shard.warned, true) {
            let text = format!(
                "shard `{}` of `{}` is read {} hours behind, and the stream keeps records for {}: they will be lost; have the stream keep them for longer, or read faster",
                shard.info.id,
                self.settings.stream,
                behind.as_secs() / 3600,
                self.retention.as_secs() / 3600
            );
            self.trouble(text);
        }
    }

    /// Learns what shards there are, and what became of those that were doubted.
    fn learn(&mut self, listed: Vec<Listed>, now: Duration) {
        for number in 0..self.shards.len() {
            let shard = &mut self.shards[number];
            let Some(Doubt { reason, record }) = shard.doubt.take() else {
                continue;
            };
            let there = listed.iter().any(|it| it.id == shard.info.id);
            if !there && shard.wants_nothing() {
                self.close(number as u32);
            } else if !there || record {
                self.miss(number as u32, None, reason);
            } else {
                shard.recheck();
                shard.due = now + shard.waits.next();
            }
        }
        self.add(listed);
    }

    fn miss(&mut self, number: u32, first: Option<String>, reason: String) {
        let shard = &mut self.shards[number as usize];
        shard.stage = Stage::Missing;
        shard.line = Line::Nothing;
        let wanted = shard.wanted().map(str::to_owned);
        self.unheard.remove(&Some(number));
        self.mailbox.tell(KinesisEvent::Missing {
            shard: number,
            wanted,
            first,
            reason,
        });
    }

    /// Has something failed wait, and tells of it as far as it was not told.
    pub(super) fn fail_one(
        &mut self,
        asker: Asker,
        failure: Failure,
        from: Option<From>,
        now: Duration,
    ) {
        let (waits, due) = match asker {
            Some(number) => {
                let shard = &mut self.shards[number as usize];
                (&mut shard.waits, &mut shard.due)
            }
            None => (&mut self.listing.waits, &mut self.listing.due),
        };
        *due = now + waits.next();
        let lasts = waits.count() >= LASTING;
        let spoiled = matches!(
            failure,
            Failure::Expired | Failure::NotThere(_) | Failure::Wrong(_)
        );
        if let (true, Some(number)) = (spoiled, asker) {
            self.shards[number as usize].line = Line::Nothing;
        }
        match failure {
            Failure::Final(fault) => self.fail(fault),
            Failure::Throttled(reason) => self.throttle(asker, &reason, now),
            Failure::Unreachable(reason) => self.lose_sight(asker, reason),
            Failure::NotThere(reason) => self.doubt(asker, reason, from.as_ref(), now),
            Failure::Wrong(reason) => self.wrong(asker, reason, from),
            Failure::Unwell(reason) => self.tell_once(asker, &reason),
            // Iterators live for five minutes, and windows are full for longer: a part of life.
            Failure::Expired => {}
            // So is a subscription that the service has not let go of yet; not so another process.
            Failure::InUse(reason) if lasts => self.tell_once(asker, &reason),
            Failure::InUse(reason) => tracing::debug!(?asker, "{reason}"),
        }
    }

    fn throttle(&mut self, asker: Asker, reason: &str, now: Duration) {
        if let Some(number) = asker {
            self.shards[number as usize].throttled += 1;
        }
        let last = self.throttled.replace(now);
        if last.is_none_or(|last| now.saturating_sub(last) >= QUIET) {
            let stream = &self.settings.stream;
            tracing::warn!(stream, "the service asks to be asked less often: {reason}");
            self.mailbox
                .tell(KinesisEvent::Throttled(reason.to_owned()));
        }
    }

    fn lose_sight(&mut self, asker: Asker, reason: String) {
        self.unheard.insert(asker);
        if self.reachable {
            self.reachable = false;
            tracing::warn!(
                stream = self.settings.stream,
                "the service does not answer: {reason}"
            );
            self.mailbox.tell(KinesisEvent::Unreachable(reason));
        }
    }

    /// Notes that there was an answer.
    fn heard(&mut self, asker: Asker) {
        let (waits, told) = match asker {
            Some(number) => {
                let shard = &mut self.shards[number as usize];
                (&mut shard.waits, &mut shard.told)
            }
            None => (&mut self.listing.waits, &mut self.listing.told),
        };
        waits.reset();
        *told = false;
        self.unheard_no_more(asker);
    }

    fn unheard_no_more(&mut self, asker: Asker) {
        self.unheard.remove(&asker);
        if !self.reachable && self.unheard.is_empty() {
            self.reachable = true;
            tracing::warn!(stream = self.settings.stream, "the service answers again");
            self.mailbox.tell(KinesisEvent::Reachable);
        }
    }

    /// Has the stream asked whether it still has a shard: one that has nothing left is dropped.
    fn doubt(&mut self, asker: Asker, reason: String, from: Option<&From>, now: Duration) {
        let Some(number) = asker else {
            let doing = format!("list the shards of `{}`", self.settings.stream);
            return self.fail(no_stream(&doing, &reason));
        };
        let record = matches!(from, Some(From::At(_) | From::After(_)));
        self.shards[number as usize].doubt = Some(Doubt { reason, record });
        if self.listing.asked.is_none() {
            self.listing.due = self.listing.due.min(now);
        }
    }

    fn wrong(&mut self, asker: Asker, reason: String, from: Option<From>) {
        match (asker, from) {
            // A number of another stream: it was made anew.
            (Some(number), Some(From::At(_) | From::After(_))) => self.miss(number, None, reason),
            (Some(_), None) => self.tell_once(asker, &reason),
            (_, from) => {
                let hint = match from {
                    Some(From::Since(_)) => "set `start` to a time that is not in the future",
                    _ => "see the message of the service, and report it if it is not clear",
                };
                let doing = format!("read `{}`", self.settings.stream);
                let message = format!("cannot {doing}: {reason}");
                self.fail(KinesisFault::new(FaultKind::Refused, message, hint));
            }
        }
    }

    fn tell_once(&mut self, asker: Asker, reason: &str) {
        let (told, what) = match asker {
            Some(number) => {
                let shard = &mut self.shards[number as usize];
                let what = format!("read shard `{}`", shard.info.id);
                (&mut shard.told, what)
            }
            None => (&mut self.listing.told, "list the shards".to_owned()),
        };
        if !std::mem::replace(told, true) {
            let stream = &self.settings.stream;
            self.trouble(format!(
                "cannot {what} of `{stream}` for now: {reason}; it is tried again"
            ));
        }
    }
}
