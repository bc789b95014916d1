//! Settings of a Kinesis source.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::fault::{FaultKind, KinesisFault};
use crate::config::parse_duration;

/// Every name there is.
const NAMES: [&str; 15] = [
    "stream",
    "region",
    "endpoint",
    "start",
    "consumer",
    "misplaced",
    "batch_records",
    "batch_bytes",
    "window_bytes",
    "poll_every",
    "timeout",
    "list_every",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
];

/// The most records that the service gives at a time.
const MOST_RECORDS: usize = 10_000;

/// What a source is made with. The table of docs/kinesis.md explains each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisSettings {
    /// The stream: its name, or its ARN.
    pub stream: String,
    /// Where it is; none if AWS's own places say so.
    pub region: Option<String>,
    /// Whom to ask instead of the region's own service.
    pub endpoint: Option<String>,
    /// Where shards without a cursor are read from.
    pub start: Start,
    /// The consumer of enhanced fan-out; none to poll.
    pub consumer: Option<String>,
    /// What becomes of parts of aggregated records that another shard should have.
    pub misplaced: Misplaced,
    /// The most records of an answer, and the most messages of a batch.
    pub batch_records: usize,
    /// The bytes after which a batch ends.
    pub batch_bytes: usize,
    /// The bytes of one shard that may be under way; one answer may reach beyond.
    pub window_bytes: usize,
    /// The time from one read of a shard to the next.
    pub poll_every: Duration,
    /// How long the service may take to answer.
    pub timeout: Duration,
    /// The time from one listing of shards to the next, beside those that a closed shard asks for.
    pub list_every: Duration,
    /// Credentials; none if AWS's own places have them.
    pub keys: Option<Keys>,
}

/// Credentials of AWS. They are not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Where a shard without a cursor is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The oldest record that there is.
    TrimHorizon,
    /// The next record that comes. Shards that are made later are read whole.
    Latest,
    /// The first record that came at this time or later, in microseconds.
    Timestamp(i64),
}

/// What becomes of a part of an aggregated record whose hash key another shard has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misplaced {
    /// It is read like others, so that nothing is lost.
    Keep,
    /// It is left out, as the Kinesis Client Library does, because the Kinesis Producer Library has
    /// sent it again.
    Drop,
}

impl KinesisSettings {
    /// Reads settings: names and values.
    ///
    /// # Errors
    ///
    /// One is missing, unknown or wrong.
    pub fn parse(
        entries: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, KinesisFault> {
        let mut table = Table(entries.into_iter().collect());
        if let Some(name) = table.0.keys().find(|name| !NAMES.contains(&name.as_str())) {
            return Err(unknown(name));
        }
        let stream = table.take("stream").ok_or_else(|| {
            KinesisFault::of_setting(
                "stream",
                "the Kinesis setting `stream` is missing",
                "set it to the stream's name or ARN",
            )
        })?;
        let home = home(&stream)?;
        let region = table.take("region");
        if let (Some(home), Some(region)) = (&home, &region)
            && home != region
        {
            let expected = format!("`{home}`, which is in the ARN, or leave it out");
            return Err(wrong("region", region, &expected));
        }
        Ok(Self {
            stream,
            region: region.or(home),
            endpoint: table.take("endpoint").map(endpoint).transpose()?,
            start: (table.take("start"))
                .map_or(Ok(Start::TrimHorizon), |text| Start::parse(&text))?,
            consumer: table
                .take("consumer")
                .map(|name| named("consumer", name))
                .transpose()?,
            misplaced: match table.take("misplaced").as_deref() {
                None | Some("keep") => Misplaced::Keep,
                Some("drop") => Misplaced::Drop,
                Some(other) => return Err(wrong("misplaced", other, "`keep` or `drop`")),
            },
            batch_records: table
                .number("batch_records", MOST_RECORDS)?
                .min(MOST_RECORDS),
            // Arrow counts the bytes of a column in 31 bits, and a record has up to 10 MiB.
            batch_bytes: table.number("batch_bytes", 4 << 20)?.min(512 << 20),
            window_bytes: table.number("window_bytes", 16 << 20)?,
            poll_every: table.duration("poll_every", Duration::from_millis(250))?,
            timeout: table.duration("timeout", Duration::from_secs(10))?,
            list_every: table.duration("list_every", Duration::from_secs(60))?,
            keys: keys(&mut table)?,
        })
    }

    /// The stream's name, also where its ARN was given.
    pub fn name(&self) -> &str {
        let name = self.stream.rsplit('/').next();
        name.unwrap_or(&self.stream)
    }
}

impl Start {
    fn parse(text: &str) -> Result<Self, KinesisFault> {
        match text {
            "trim_horizon" => Ok(Self::TrimHorizon),
            "latest" => Ok(Self::Latest),
            time => time
                .parse::<jiff::Timestamp>()
                .map(|time| Self::Timestamp(time.as_microsecond()))
                .map_err(|_| {
                    let expected =
                        "`trim_horizon`, `latest` or a time such as `2026-01-31T12:00:00Z`";
                    wrong("start", text, expected)
                }),
        }
    }
}

/// Settings that are taken out one after the other. Empty ones are none.
struct Table(BTreeMap<String, String>);

impl Table {
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.trim().is_empty())
    }

    fn number(&mut self, name: &str, usual: usize) -> Result<usize, KinesisFault> {
        let Some(text) = self.take(name) else {
            return Ok(usual);
        };
        let number = text.replace('_', "").parse().ok();
        number
            .filter(|number| *number > 0)
            .ok_or_else(|| wrong(name, &text, "a whole number from 1 on"))
    }

    fn duration(&mut self, name: &str, usual: Duration) -> Result<Duration, KinesisFault> {
        let Some(text) = self.take(name) else {
            return Ok(usual);
        };
        let micros = parse_duration(&text).ok();
        let micros = micros.and_then(|micros| u64::try_from(micros).ok());
        micros
            .filter(|micros| *micros > 0)
            .map(Duration::from_micros)
            .ok_or_else(|| wrong(name, &text, "a time such as `250ms` or `10s`"))
    }
}

/// Credentials, whole or not at all.
fn keys(table: &mut Table) -> Result<Option<Keys>, KinesisFault> {
    let id = table.take("aws_access_key_id");
    let secret = table.take("aws_secret_access_key");
    let token = table.take("aws_session_token");
    match (id, secret, token) {
        (Some(id), Some(secret), token) => Ok(Some(Keys { id, secret, token })),
        (None, None, None) => Ok(None),
        _ => Err(KinesisFault::new(
            FaultKind::Setting,
            "half of the credentials for AWS are missing",
            "set both `aws_access_key_id` and `aws_secret_access_key`, or leave both to where AWS's tools look for them",
        )),
    }
}

/// The region in an ARN; none for a name.
fn home(stream: &str) -> Result<Option<String>, KinesisFault> {
    let expected =
        "a name, or an ARN such as `arn:aws:kinesis:eu-west-1:123456789012:stream/rides`";
    let Some(arn) = stream.strip_prefix("arn:") else {
        return match named("stream", stream.to_owned()) {
            Ok(_) => Ok(None),
            Err(_) => Err(wrong("stream", stream, expected)),
        };
    };
    let parts: Vec<&str> = arn.split(':').collect();
    match parts.as_slice() {
        [_, "kinesis", region, _, stream] if stream.starts_with("stream/") => {
            Ok(Some((*region).to_owned()))
        }
        _ => Err(wrong("stream", stream, expected)),
    }
}

fn named(setting: &str, name: String) -> Result<String, KinesisFault> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.len() <= 128 && name.chars().all(fits) {
        return Ok(name);
    }
    let expected = "at most 128 letters, digits, `_`, `.` and `-`";
    Err(wrong(setting, &name, expected))
}

fn endpoint(text: String) -> Result<String, KinesisFault> {
    let url = url::Url::parse(&text).ok();
    let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    let Some(url) = url else {
        let expected = "a URL such as `https://kinesis.eu-west-1.amazonaws.com`";
        return Err(wrong("endpoint", &text, expected));
    };
    if url.username().is_empty() && url.password().is_none() {
        return Ok(text);
    }
    // The value is a secret, and not shown.
    Err(KinesisFault::of_setting(
        "endpoint",
        "the Kinesis setting `endpoint` has a user in it",
        "give credentials where AWS's tools look for them, such as AWS_ACCESS_KEY_ID",
    ))
}

fn wrong(name: &str, value: &str, expected: &str) -> KinesisFault {
    KinesisFault::of_setting(
        name,
        format!("the Kinesis setting `{name}` is `{value}`"),
        format!("set it to {expected}"),
    )
}

fn unknown(name: &str) -> KinesisFault {
    let folded = name.to_lowercase().replace(['.', '-'], "_");
    let nearest = NAMES
        .iter()
        .map(|known| (strsim::osa_distance(&folded, known), known))
        .min()
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1));
    let hint = match nearest {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("there are `{}`", NAMES.join("`, `")),
    };
    KinesisFault::of_setting(name, format!("there is no Kinesis setting `{name}`"), hint)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
