//! Requests of the service, each once and without waiting: who asks decides what becomes of a failure.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::{DateTime, DateTimeFormat};
use aws_sdk_kinesis::types::{
    ChildShard, ConsumerStatus, HashKeyRange, Record, Shard, ShardIteratorType, StartingPosition,
    StreamStatus, SubscribeToShardEventStream,
};

use super::fault::{Failure, judge, judge_end};

/// A stream, and whom to ask about it.
#[derive(Debug, Clone)]
pub(super) struct Service {
    client: Client,
    name: Option<String>,
    arn: Option<String>,
}

/// What is known of a stream as a whole.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) arn: String,
    pub(super) status: StreamStatus,
    /// How long it keeps records, in hours.
    pub(super) retention: u32,
}

/// Where a shard is to be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    /// The oldest record.
    Beginning,
    /// The next record that comes.
    Latest,
    /// The first record that came at this time or later, in microseconds.
    Since(i64),
    /// The record of this number.
    At(String),
    /// The record after the one of this number.
    After(String),
}

/// A shard as a listing or its parents tell of it.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) parents: Vec<String>,
    pub(super) hash_keys: std::ops::RangeInclusive<u128>,
    /// Whether it has an end already.
    pub(super) closed: bool,
}

/// Records of a shard, and what was said with them.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) records: Vec<Record>,
    pub(super) behind_ms: i64,
    /// The shard's children, once it was read to its end.
    pub(super) children: Vec<Listed>,
    /// Whether nothing more will come.
    pub(super) closed: bool,
}

/// An open subscription.
pub(super) struct Subscription(Box<SubscribeToShardOutput>);

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// An iterator, and when the service gave it, in microseconds.
    Iterator(String, Option<i64>),
    /// What an iterator gave, and the next one.
    Records(Part, Option<String>),
    /// A subscription, and when the service opened it, in microseconds.
    Subscribed(Subscription, Option<i64>),
    /// What a subscription gave, and where another one would go on.
    Event(Subscription, Part, Option<String>),
    /// A subscription has ended, as each does after five minutes.
    Ended,
    /// All shards.
    Listed(Vec<Listed>),
    /// Nothing, for this reason.
    Failed(Failure),
}

impl Service {
    /// `stream` is a name or an ARN.
    pub(super) fn new(client: Client, stream: &str) -> Self {
        let (name, arn) = if stream.starts_with("arn:") {
            (None, Some(stream.to_owned()))
        } else {
            (Some(stream.to_owned()), None)
        };
        Self { client, name, arn }
    }

    fn stream(&self) -> &str {
        let stream = self.name.as_ref().or(self.arn.as_ref());
        stream.map_or("", String::as_str)
    }

    pub(super) async fn describe(&self) -> Result<Described, Failure> {
        let request = self.client.describe_stream_summary();
        let request = request
            .set_stream_name(self.name.clone())
            .set_stream_arn(self.arn.clone());
        let told = Box::pin(request.send()).await;
        let told =
            told.map_err(|error| judge(&format!("ask about stream `{}`", self.stream()), &error))?;
        let summary = told.stream_description_summary.ok_or_else(|| {
            Failure::Unwell("the service describes the stream without a word".to_owned())
        })?;
        Ok(Described {
            arn: summary.stream_arn,
            status: summary.stream_status,
            retention: u32::try_from(summary.retention_period_hours).unwrap_or(24),
        })
    }

    /// Every shard that the stream has, open or not.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, Failure> {
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self.client.list_shards();
            // A token stands for the stream too, and the service refuses both.
            let request = match token.take() {
                Some(token) => request.next_token(token),
                None => request
                    .set_stream_name(self.name.clone())
                    .set_stream_arn(self.arn.clone()),
            };
            let told = Box::pin(request.send()).await;
            let told = told.map_err(|error| {
                judge(&format!("list the shards of `{}`", self.stream()), &error)
            })?;
            shards.extend(told.shards.unwrap_or_default().into_iter().map(listed));
            token = told.next_token;
            if token.is_none() {
                return Ok(shards);
            }
        }
    }

    pub(super) async fn iterator(&self, shard: &str, from: From) -> Answer {
        let request = self.client.get_shard_iterator();
        let request = request
            .set_stream_name(self.name.clone())
            .set_stream_arn(self.arn.clone())
            .shard_id(shard);
        let request = match from {
            From::Beginning => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            From::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
            From::Since(micros) => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(time(micros)),
            From::At(number) => request
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(number),
            From::After(number) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(number),
        };
        let date = Date::default();
        let told = Box::pin(request.customize().interceptor(date.clone()).send()).await;
        match told {
            Ok(told) => match told.shard_iterator {
                Some(iterator) => Answer::Iterator(iterator, date.micros()),
                None => Answer::Failed(Failure::Unwell("the service gave no iterator".to_owned())),
            },
            Err(error) => Answer::Failed(judge(&self.reading(shard), &error)),
        }
    }

    pub(super) async fn records(&self, shard: &str, iterator: String, most: usize) -> Answer {
        let request = self.client.get_records();
        let request = request
            .set_stream_arn(self.arn.clone())
            .shard_iterator(iterator)
            .limit(most as i32);
        match Box::pin(request.send()).await {
            Ok(told) => {
                let part = Part {
                    records: told.records,
                    behind_ms: told.millis_behind_latest.unwrap_or_default(),
                    children: children(told.child_shards),
                    closed: told.next_shard_iterator.is_none(),
                };
                Answer::Records(part, told.next_shard_iterator)
            }
            Err(error) => Answer::Failed(judge(&self.reading(shard), &error)),
        }
    }

    pub(super) async fn subscribe(&self, consumer: &str, shard: &str, from: From) -> Answer {
        let position = StartingPosition::builder();
        let position = match from {
            From::Beginning => position.r#type(ShardIteratorType::TrimHorizon),
            From::Latest => position.r#type(ShardIteratorType::Latest),
            From::Since(micros) => position
                .r#type(ShardIteratorType::AtTimestamp)
                .timestamp(time(micros)),
            From::At(number) => position
                .r#type(ShardIteratorType::AtSequenceNumber)
                .sequence_number(number),
            From::After(number) => position
                .r#type(ShardIteratorType::AfterSequenceNumber)
                .sequence_number(number),
        };
        let position = position.build().expect("it has a type");
        let request = self.client.subscribe_to_shard();
        let request = request
            .consumer_arn(consumer)
            .shard_id(shard)
            .starting_position(position);
        let date = Date::default();
        match Box::pin(request.customize().interceptor(date.clone()).send()).await {
            Ok(told) => Answer::Subscribed(Subscription(Box::new(told)), date.micros()),
            Err(error) => Answer::Failed(judge(&self.reading(shard), &error)),
        }
    }

    /// The next event of a subscription.
    pub(super) async fn event(&self, shard: &str, mut subscription: Subscription) -> Answer {
        loop {
            let event = match Box::pin(subscription.0.event_stream.recv()).await {
                Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => event,
                // One that only later services send.
                Ok(Some(_)) => continue,
                Ok(None) => return Answer::Ended,
                Err(error) => return Answer::Failed(judge_end(&self.reading(shard), &error)),
            };
            let next = Some(event.continuation_sequence_number).filter(|next| !next.is_empty());
            let children = children(event.child_shards);
            let part = Part {
                records: event.records,
                behind_ms: event.millis_behind_latest,
                closed: next.is_none() || !children.is_empty(),
                children,
            };
            return Answer::Event(subscription, part, next);
        }
    }

    /// Registers a consumer, and gives its ARN and whether it can be used already.
    pub(super) async fn consumer(
        &self,
        stream_arn: &str,
        name: &str,
    ) -> Result<(String, bool), Failure> {
        let doing = format!("register consumer `{name}` of `{}`", self.stream());
        let request = self.client.describe_stream_consumer();
        let request = request.stream_arn(stream_arn).consumer_name(name);
        match Box::pin(request.send()).await {
            Ok(told) => {
                let consumer = told.consumer_description.ok_or_else(|| {
                    Failure::Unwell("the service describes the consumer without a word".to_owned())
                })?;
                let active = consumer.consumer_status == ConsumerStatus::Active;
                return Ok((consumer.consumer_arn, active));
            }
            Err(error) => match judge(&doing, &error) {
                Failure::NotThere(_) => {}
                failure => return Err(failure),
            },
        }
        let request = self.client.register_stream_consumer();
        let request = request.stream_arn(stream_arn).consumer_name(name);
        match Box::pin(request.send()).await {
            Ok(told) => {
                let consumer = told.consumer.ok_or_else(|| {
                    Failure::Unwell("the service registers the consumer without a word".to_owned())
                })?;
                let active = consumer.consumer_status == ConsumerStatus::Active;
                Ok((consumer.consumer_arn, active))
            }
            Err(error) => Err(judge(&doing, &error)),
        }
    }

    fn reading(&self, shard: &str) -> String {
        format!("read shard `{shard}` of `{}`", self.stream())
    }
}

/// The first millisecond that is not before a time: records have no finer ones.
fn time(micros: i64) -> DateTime {
    let begun = i64::from(micros.rem_euclid(1000) > 0);
    DateTime::from_millis(micros.div_euclid(1000) + begun)
}

fn listed(shard: Shard) -> Listed {
    let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
    let range = shard.sequence_number_range;
    Listed {
        id: shard.shard_id,
        parents: parents.into_iter().flatten().collect(),
        hash_keys: hash_keys(shard.hash_key_range.as_ref()),
        closed: range.is_some_and(|range| range.ending_sequence_number.is_some()),
    }
}

fn children(shards: Option<Vec<ChildShard>>) -> Vec<Listed> {
    let shards = shards.unwrap_or_default().into_iter();
    let listed = shards.map(|shard| Listed {
        id: shard.shard_id,
        parents: shard.parent_shards,
        hash_keys: hash_keys(shard.hash_key_range.as_ref()),
        closed: false,
    });
    listed.collect()
}

/// The whole range if the service does not say, or says what is none: nothing is left out for it.
fn hash_keys(range: Option<&HashKeyRange>) -> std::ops::RangeInclusive<u128> {
    let range = range.and_then(|range| {
        let first = range.starting_hash_key.parse().ok()?;
        Some(first..=range.ending_hash_key.parse().ok()?)
    });
    range.unwrap_or(0..=u128::MAX)
}

/// When the service answered, as it says itself. Iterators at the newest record are pinned by it: this
/// process reads no clock of its own, and the two could differ.
#[derive(Debug, Clone, Default)]
struct Date(Arc<Mutex<Option<i64>>>);

impl Date {
    /// In microseconds, of whole seconds.
    fn micros(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Date {
    fn name(&self) -> &'static str {
        "Date"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        let micros = date.and_then(|date| date.secs().checked_mul(1_000_000));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = micros;
        Ok(())
    }
}
