//! Where a live pipeline writes: whom each lane sends to.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::outbox::{Addressee, To};
use super::rows::Form;
use crate::config::{Pipeline, StorePlace, TopicFormat};
use crate::pipeline::telemetry::PipelineTelemetry;
use crate::pipeline::topics::{OutputTopic, OutputTopics};
use crate::pipeline::wiring::Opened;
use crate::sink::kafka::{KafkaFault, KafkaSinkSettings, Lane, LaneTopic};

/// What is no row of output has these numbers among a lane's addressees. Those of rows come behind them.
pub(super) const REJECTS: usize = 0;
pub(super) const LATE: usize = 1;
pub(super) const INVALID: usize = 2;
pub(super) const ROWS: usize = 3;
/// A first stage has no rows, and in their place what is for the second one.
pub(super) const PARTIALS: usize = 3;

/// The file of a lane: of `driver.rejects.ndjson`, `driver.rejects/3.ndjson`.
pub fn file_of(file: &Path, lane: impl Display) -> PathBuf {
    file.with_extension("").join(format!("{lane}.ndjson"))
}

/// Whether live pipelines write a file that is declared for this. A file that grows has lines.
pub fn writes(what: &str, file: &Path) -> bool {
    what != "features" || file.extension().is_some_and(|it| it == "ndjson")
}

/// What a pipeline's file asks for, and live pipelines do not write.
pub fn unwritten(pipeline: &Pipeline) -> Vec<String> {
    let file = pipeline.outputs.features.iter();
    let file = file.filter(|file| !writes("features", &file.path));
    let lines = file.map(|file| {
        let shown = file.path.display();
        format!("file {shown}, since on a live stream only .ndjson can grow row by row")
    });
    lines.collect()
}

/// The files and topics of a live pipeline.
#[derive(Debug, Clone)]
pub(super) struct LiveOutputs {
    features: Option<PathBuf>,
    /// Of rejects, late rows and invalid values.
    side: [(&'static str, PathBuf, Option<OutputTopic>); 3],
    topics: Vec<OutputTopic>,
    /// The topic of partial states, of a first stage.
    partials: Option<KafkaSinkSettings>,
    /// The history of features.
    offline: Option<StorePlace>,
}

impl LiveOutputs {
    /// What the first stage of a pipeline with these outputs writes: partial states, and what it refuses.
    pub(super) fn of_upstream(&self, partials: &KafkaSinkSettings) -> Self {
        Self {
            features: None,
            topics: Vec::new(),
            partials: Some(partials.clone()),
            offline: None,
            ..self.clone()
        }
    }

    pub(super) fn of(opened: &Opened) -> Self {
        let outputs = &opened.outputs;
        let OutputTopics {
            rows,
            rejects,
            late,
            invalid,
        } = opened.topics.clone();
        let features = outputs.features.clone();
        Self {
            features: features.filter(|file| writes("features", file)),
            side: [
                ("rejects", outputs.rejects.clone(), rejects),
                ("late", outputs.late.clone(), late),
                ("invalid", outputs.invalid.clone(), invalid),
            ],
            topics: rows,
            partials: None,
            offline: opened.offline.clone(),
        }
    }

    /// Every topic, once.
    pub(super) fn topics(&self) -> impl Iterator<Item = &OutputTopic> {
        let side = self.side.iter().filter_map(|(.., topic)| topic.as_ref());
        let mut seen: Vec<&str> = Vec::new();
        self.topics.iter().chain(side).filter(move |topic| {
            let is_new = !seen.contains(&topic.name.as_str());
            seen.push(&topic.name);
            is_new
        })
    }

    /// Asks the brokers of every topic whether it is there for us.
    pub(super) fn reach(
        &self,
        stop: &std::sync::atomic::AtomicBool,
    ) -> Result<(), (String, KafkaFault)> {
        self.topics().try_for_each(|topic| {
            let reached = topic.settings.reach(stop);
            reached.map_err(|fault| (topic.name.clone(), fault))
        })
    }

    /// Whom a lane sends to: first what is no row, then the rows.
    pub(super) fn addressees(
        &self,
        pipeline: &str,
        lane: u32,
        telemetry: &PipelineTelemetry,
    ) -> Vec<Addressee> {
        let of = || Lane::new(pipeline, lane);
        // Both stages have lanes of the same numbers.
        let named = match &self.partials {
            None => lane.to_string(),
            Some(_) => format!("upstream-{lane}"),
        };
        let side = self.side.iter().map(|(what, file, topic)| Addressee {
            name: (*what).to_owned(),
            to: match topic {
                Some(topic) => To::Topic(LaneTopic::new(&topic.settings, of().beside(what))),
                None => To::File(file_of(file, &named)),
            },
        });
        let features = self.features.iter().map(|file| Addressee {
            name: "features".to_owned(),
            to: To::File(file_of(file, &named)),
        });
        let topics = self.topics.iter().map(|topic| Addressee {
            name: format!("topics/{}", topic.name),
            to: To::Topic(LaneTopic::new(&topic.settings, of())),
        });
        let partials = self.partials.iter().map(|settings| Addressee {
            name: "partials".to_owned(),
            to: To::Topic(LaneTopic::new(settings, of())),
        });
        let offline = self.offline.iter().map(|place| Addressee {
            name: "offline".to_owned(),
            to: To::Offline(place.clone(), telemetry.begin_history()),
        });
        let rows = features.chain(topics).chain(partials);
        side.chain(rows).chain(offline).collect()
    }

    /// Which addressee the history of features is: the last, if there is one.
    pub(super) fn history(&self) -> Option<usize> {
        let rows = self.forms().len() + usize::from(self.partials.is_some());
        self.offline.as_ref().map(|_| ROWS + rows)
    }

    /// Where the history of features is, if there is one.
    pub(super) fn offline(&self) -> Option<&StorePlace> {
        self.offline.as_ref()
    }

    /// How rows are written for each addressee of rows.
    pub(super) fn forms(&self) -> Vec<Form> {
        let features = self.features.iter().map(|_| Form::Lines);
        let topics = self.topics.iter().map(|topic| match topic.format {
            TopicFormat::Json => Form::Json,
            TopicFormat::Arrow => Form::Arrow,
        });
        features.chain(topics).collect()
    }
}
