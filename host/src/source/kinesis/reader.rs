//! The thread that asks the service: one loop over orders, answers and what is due.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::connect::Connected;
use super::fault::{Failure, KinesisFault};
use super::mailbox::{Answered, Asker, Mailbox, ToStart};
use super::place::ShardCursor;
use super::service::{Answer, From, Listed, Service};
use super::shard::{Ask, Asked, Line, Shard, Stage};
use super::waits::Waits;
use super::{KinesisEvent, KinesisSettings, ShardInfo, Start};
use crate::clock::Clock;

/// How long the thread sleeps unless somebody rings or something is due: windows and time limits
/// are looked at no later than that.
const TICK: Duration = Duration::from_millis(100);

/// The most requests at a time, beside subscriptions that are open: an answer may have 10 MB.
const AT_ONCE: usize = 64;

/// An event, and a list that may have several pages, may take longer than one answer: the service
/// sends an empty event every few seconds to whoever has read all.
const LONGER: u32 = 4;

/// The thread's state.
pub(super) struct Reader {
    pub(super) service: Service,
    pub(super) consumer: Option<String>,
    pub(super) settings: KinesisSettings,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) clock: Arc<dyn Clock>,
    io: Handle,
    pub(super) retention: Duration,
    /// By their numbers.
    pub(super) shards: Vec<Shard>,
    pub(super) numbers: BTreeMap<String, u32>,
    /// Those that were there at first.
    at_first: usize,
    pub(super) listing: Listing,
    requests: u64,
    /// Who has last heard nothing.
    pub(super) unheard: BTreeSet<Asker>,
    pub(super) reachable: bool,
    /// When the service last asked to be asked less often.
    pub(super) throttled: Option<Duration>,
    /// Whether nothing more will come.
    pub(super) failed: bool,
}

/// The list of shards, which is asked for every now and then.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) asked: Option<Asked>,
    pub(super) due: Duration,
    pub(super) waits: Waits,
    pub(super) told: bool,
}

impl Reader {
    pub(super) fn new(
        connected: Connected,
        settings: &KinesisSettings,
        mailbox: Arc<Mailbox>,
        clock: Arc<dyn Clock>,
        io: Handle,
    ) -> Self {
        let due = clock.now() + settings.list_every;
        let mut reader = Self {
            service: connected.service,
            consumer: connected.consumer,
            settings: settings.clone(),
            mailbox,
            clock,
            io,
            retention: connected.retention,
            shards: Vec::new(),
            numbers: BTreeMap::new(),
            at_first: 0,
            listing: Listing {
                asked: None,
                due,
                waits: Waits::default(),
                told: false,
            },
            requests: 0,
            unheard: BTreeSet::new(),
            reachable: true,
            throttled: None,
            failed: false,
        };
        reader.add(connected.shards);
        reader.at_first = reader.shards.len();
        reader
    }

    pub(super) fn run(mut self) {
        loop {
            let came = self.mailbox.take();
            if came.leave {
                break;
            }
            let now = self.clock.now();
            for answered in came.answers {
                self.hear(answered, now);
            }
            self.obey(came.orders);
            self.begin(now);
            self.expire(now);
            if !self.failed {
                self.ask_all(now);
            }
            self.mailbox
                .show(self.shards.iter().map(Shard::status).collect());
            self.mailbox.wait(self.patience(now));
        }
    }

    fn obey(&mut self, orders: Vec<ToStart>) {
        for ToStart { shard, cursor } in orders {
            if let Some(shard) = self.shards.get_mut(shard as usize)
                && matches!(shard.stage, Stage::Waiting | Stage::Missing)
            {
                shard.stage = Stage::Waiting;
                shard.order = Some(cursor);
            }
        }
    }

    /// Begins with what was ordered and whose parents are read. Children have greater numbers than
    /// their parents, so one that is closed at once lets its children begin in the same go.
    fn begin(&mut self, now: Duration) {
        for number in 0..self.shards.len() {
            let shard = &self.shards[number];
            let parents = &shard.info.parents;
            let read = |parent: &u32| self.shards[*parent as usize].stage == Stage::Closed;
            if shard.stage == Stage::Waiting && parents.iter().all(read) {
                let continued = parents.iter().any(|it| self.shards[*it as usize].read);
                if let Some(cursor) = self.shards[number].order.take() {
                    self.begin_one(number as u32, cursor, continued, now);
                }
            }
        }
    }

    /// `continued` says whether a parent was read.
    fn begin_one(
        &mut self,
        number: u32,
        cursor: Option<ShardCursor>,
        continued: bool,
        now: Duration,
    ) {
        let at_first = (number as usize) < self.at_first;
        let shard = &mut self.shards[number as usize];
        let from = match (cursor, self.settings.start) {
            (Some(ShardCursor::Finished), _) => {
                shard.read = true;
                return self.close(number);
            }
            (Some(cursor), _) => Some(cursor),
            (None, Start::TrimHorizon) => Some(ShardCursor::Beginning),
            (None, Start::Timestamp(micros)) => Some(ShardCursor::Since(micros)),
            (None, Start::Latest) if continued || !at_first => Some(ShardCursor::Beginning),
            // All that it has was there before.
            (None, Start::Latest) if shard.info.closed => return self.close(number),
            // What time that is, the service says with its first answer.
            (None, Start::Latest) => return shard.start_at_latest(now),
        };
        if let Some(cursor) = &from {
            shard.start(cursor, now);
        }
        let offset = shard.next_offset();
        self.mailbox.tell(KinesisEvent::Started {
            shard: number,
            from,
            offset,
        });
    }

    /// Notes that all of a shard was handed out.
    pub(super) fn close(&mut self, number: u32) {
        self.shards[number as usize].close();
        self.mailbox.tell(KinesisEvent::Closed { shard: number });
    }

    /// Adds children of a shard that has ended, but for those with another parent that is not known
    /// yet: it is younger than the last list, and may have records that come before theirs.
    pub(super) fn add_children(&mut self, mut children: Vec<Listed>) {
        children.retain(|child| child.parents.iter().all(|it| self.numbers.contains_key(it)));
        self.add(children);
    }

    /// Adds shards that are not known, and tells of them.
    pub(super) fn add(&mut self, mut listed: Vec<Listed>) {
        // The service names later shards by greater numbers of the same length.
        listed.sort_by(|one, other| one.id.cmp(&other.id));
        let mut new = Vec::new();
        for Listed {
            id,
            parents,
            hash_keys,
            closed,
        } in listed
        {
            if self.numbers.contains_key(&id) {
                continue;
            }
            let number = self.shards.len() as u32;
            // A list has all parents but those that the stream has dropped, which have nothing to read.
            let parents = parents
                .iter()
                .filter_map(|it| self.numbers.get(it).copied());
            let info = ShardInfo {
                shard: number,
                parents: parents.collect(),
                id: id.clone(),
                hash_keys,
                closed,
            };
            self.numbers.insert(id, number);
            self.shards.push(Shard::new(info.clone(), &self.settings));
            new.push(info);
        }
        if !new.is_empty() {
            self.mailbox.tell(KinesisEvent::Shards(new));
        }
    }

    /// Gives up requests that take too long.
    fn expire(&mut self, now: Duration) {
        let all = self.shards.iter_mut();
        let asked = all.map(|shard| (Some(shard.info.shard), &mut shard.asked));
        let asked = asked.chain([(None, &mut self.listing.asked)]);
        let mut late = Vec::new();
        for (asker, asked) in asked {
            if let Some(request) = asked.take_if(|request| now >= request.end) {
                request.abort.abort();
                late.push((asker, request.from));
            }
        }
        for (asker, from) in late {
            let reason = "it does not answer in time".to_owned();
            self.fail_one(asker, Failure::Unreachable(reason), from, now);
        }
    }

    fn ask_all(&mut self, now: Duration) {
        if self.listing.asked.is_none() && now >= self.listing.due {
            let service = self.service.clone();
            let listing = async move {
                match service.list().await {
                    Ok(shards) => Answer::Listed(shards),
                    Err(failure) => Answer::Failed(failure),
                }
            };
            let patience = self.settings.timeout * LONGER;
            self.listing.asked = Some(self.send(None, None, now + patience, listing));
        }
        let under_way = |shard: &&Shard| shard.asked.as_ref().is_some_and(|asked| !asked.event);
        let mut free = AT_ONCE.saturating_sub(self.shards.iter().filter(under_way).count());
        // Those who have waited longest first, or the first shards would be all that is read.
        let mut due: Vec<(Duration, usize)> =
            self.shards.iter().map(|it| it.due).zip(0..).collect();
        due.sort_unstable();
        for (_, number) in due {
            // Events come one at a time, and small.
            let event = matches!(self.shards[number].line, Line::Subscription(_));
            let allowed = event || free > 0;
            if allowed && self.ask_one(number, now) {
                free -= usize::from(!event);
            }
        }
    }

    /// Asks for what a shard wants next, and gives whether it wanted anything.
    fn ask_one(&mut self, number: usize, now: Duration) -> bool {
        let (fan_out, forgets) = (self.consumer.is_some(), self.retention / 2);
        let shard = &mut self.shards[number];
        let Some(ask) = shard.next_ask(now, fan_out, forgets) else {
            return false;
        };
        let (id, service) = (shard.info.id.clone(), self.service.clone());
        let asker = Some(number as u32);
        let end = now + self.settings.timeout;
        let asked = match ask {
            Ask::Iterator(from) => {
                let wanted = Some(from.clone());
                self.send(asker, wanted, end, async move {
                    service.iterator(&id, from).await
                })
            }
            Ask::Records(iterator) => {
                let most = self.settings.batch_records;
                self.send(asker, None, end, async move {
                    service.records(&id, iterator, most).await
                })
            }
            Ask::Subscribe(from) => {
                let consumer = self.consumer.clone().unwrap_or_default();
                let wanted = Some(from.clone());
                self.send(asker, wanted, end, async move {
                    service.subscribe(&consumer, &id, from).await
                })
            }
            Ask::Event(subscription) => {
                let end = now + self.settings.timeout * LONGER;
                let mut asked = self.send(asker, None, end, async move {
                    service.event(&id, subscription).await
                });
                asked.event = true;
                asked
            }
        };
        self.shards[number].asked = Some(asked);
        true
    }

    fn send(
        &mut self,
        asker: Asker,
        from: Option<From>,
        end: Duration,
        answer: impl Future<Output = Answer> + Send + 'static,
    ) -> Asked {
        self.requests += 1;
        let request = self.requests;
        let mailbox = Arc::clone(&self.mailbox);
        let task = self.io.spawn(async move {
            let answer = answer.await;
            mailbox.answer(Answered {
                asker,
                request,
                answer,
            });
        });
        Asked {
            request,
            end,
            from,
            event: false,
            abort: task.abort_handle(),
        }
    }

    /// How long nothing is due.
    fn patience(&self, now: Duration) -> Duration {
        let reading = self.shards.iter().filter(|it| it.stage == Stage::Reading);
        let idle = reading.filter(|it| it.asked.is_none() && it.due > now);
        let due = idle.map(|it| it.due.saturating_sub(now)).min();
        due.unwrap_or(TICK).min(TICK)
    }

    pub(super) fn trouble(&self, text: String) {
        tracing::warn!(stream = self.settings.stream, "{text}");
        self.mailbox.tell(KinesisEvent::Trouble(text));
    }

    pub(super) fn fail(&mut self, fault: KinesisFault) {
        self.failed = true;
        self.abort();
        self.mailbox.fail(fault);
    }

    fn abort(&mut self) {
        let asked = self.shards.iter_mut().map(|shard| &mut shard.asked);
        for asked in asked.chain([&mut self.listing.asked]) {
            if let Some(asked) = asked.take() {
                asked.abort.abort();
            }
        }
    }
}

impl Drop for Reader {
    /// Also when the thread panics: no request outlives it.
    fn drop(&mut self) {
        self.abort();
        self.mailbox.show(Vec::new());
    }
}
