//! A stream of shards in which every loss shows, and pipelines over it.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;

use super::pipeline::{Left, Pipeline, Process, wait};
use crate::crash::stream::KEYS;
use crate::kinesis::stream::{SHARED, Stream};
use crate::support::ask;

/// A stream, divided by key. No event is further out of order than pipelines allow, unless that is asked
/// for: which rows come too late depends on which shard is read first.
pub(super) struct Shards {
    pub(super) stream: Stream,
    random: Pcg64,
    now: f64,
    /// How many events were written.
    pub(super) written: u64,
    /// What comes too late or not, if there is such: each row has a note of its own.
    pub(super) disordered: Option<Vec<String>>,
}

impl Shards {
    pub(super) fn new(name: &str, shards: u32, seed: u64) -> Self {
        Self {
            stream: Stream::make(name.to_owned().leak(), shards),
            random: Pcg64::seed_from_u64(seed),
            now: 0.0,
            written: 0,
            disordered: None,
        }
    }

    /// Writes the next `count` events.
    pub(super) fn write(&mut self, count: u32) {
        let events: Vec<_> = (0..count).map(|_| self.event()).collect();
        self.stream.put(events);
        self.written += u64::from(count);
    }

    /// A key and what is said of it: some rows are out of order, some are refused, some are no rows at all.
    fn event(&mut self) -> (String, String) {
        let random = &mut self.random;
        self.now += random.random_range(0.0..0.4);
        let behind = match random.random_range(0..40) {
            0..10 => random.random_range(0.0..4.9),
            10..13 if self.disordered.is_some() => random.random_range(0.0..300.0),
            _ => 0.0,
        };
        let note = match &self.disordered {
            Some(before) => format!("\"n{}\"", before.len()),
            None => "null".to_owned(),
        };
        let key = match random.random_range(0..3) {
            0 => 0,
            _ => random.random_range(0..KEYS),
        };
        let amount = match random.random_range(0..20) {
            0 => "null".to_owned(),
            1 => "-1.5".to_owned(),
            _ => format!("{}", random.random_range(0.0..100.0_f64)),
        };
        let at = ((self.now - behind).max(0.0) * 1000.0) as i64;
        let line = match random.random_range(0..200) {
            0 => "{\"at\": broken".to_owned(),
            1 => format!("{{\"at\":{at},\"key\":null,\"amount\":1}}"),
            _ => format!("{{\"at\":{at},\"key\":{key},\"amount\":{amount},\"note\":{note}}}"),
        };
        if let Some(lines) = &mut self.disordered {
            lines.push(line.clone());
        }
        (key.to_string(), line)
    }

    /// The next step of resharding: two shards become three, two, and three again. The service names
    /// shards in the order in which they are made.
    pub(super) fn reshard(&self, step: u32) {
        let id = |number: u32| format!("shardId-{number:012}");
        match step {
            0 => self.stream.split(&id(0)),
            1 => self.stream.merge(&id(3), &id(1)),
            _ => self.stream.split(&id(4)),
        }
    }

    /// A pipeline over it, which asks this server of the service.
    pub(super) fn pipeline(&self, window: &str, run: &str) -> Pipeline {
        let endpoint = format!("http://127.0.0.1:{}", SHARED.port());
        self.pipeline_at(&endpoint, "", window, run)
    }

    /// A pipeline over it that asks there, with more settings.
    pub(super) fn pipeline_at(
        &self,
        endpoint: &str,
        more: &str,
        window: &str,
        run: &str,
    ) -> Pipeline {
        let event = format!(
            r#"
[environments.local.events.entry.kinesis]
stream = "{}"
endpoint = "{endpoint}"
region = "us-east-1"
aws_access_key_id = "AKIAEXAMPLE"
aws_secret_access_key = "not-to-be-shown"
poll_every = "20ms"
timeout = "60s"
batch_records = 100
{more}
"#,
            self.stream.name
        );
        let pipeline = Pipeline::reading(&event, "", window, run);
        let environment = pipeline.folder.text("penstock.toml");
        let listening = "store = \"store\"\nlisten = \"127.0.0.1:0\"";
        let environment = environment.replace("store = \"store\"", listening);
        pipeline.folder.write("penstock.toml", environment);
        pipeline
    }

    /// Works until everything that was written is committed, and gives what is left.
    pub(super) fn finish(&self, pipeline: &Pipeline) -> Left {
        let mut summary = Value::Null;
        wait(
            || {
                // The service takes records that came at once to be as new as each other, so it calls a
                // shard read when there are more of them. Whoever comes next goes on.
                let mut process = pipeline.start("last");
                caught_up(&mut process);
                summary = process.stop();
                let read = summary[0]["events"]["read"].as_u64().unwrap();
                assert!(read <= self.written, "{summary}");
                read == self.written
            },
            || {
                format!(
                    "{} events are read: {}",
                    self.written,
                    pipeline.folder.text("last.stdout")
                )
            },
        );
        pipeline.left(&summary).unordered()
    }
}

/// What a process tells of its pipeline.
pub(super) fn status(address: &str) -> Value {
    let (_, text) = ask(address, "/status");
    serde_json::from_str::<Value>(&text).unwrap()["pipelines"][0].take()
}

/// Waits until a process has read all that there is, and gives where it listens.
pub(super) fn caught_up(process: &mut Process) -> String {
    let address = process.address();
    wait(
        || {
            process.is_alive();
            status(&address)["state"] == "running"
        },
        || format!("it has read all: {}", status(&address)),
    );
    address
}
