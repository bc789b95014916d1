//! What a pipeline is about, and what runs in it.

use crate::pipeline::wiring::Opened;

/// What runs in a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generation {
    /// Its number, if generations are numbered.
    pub number: Option<u64>,
    /// The digest of the transform's component.
    pub transform: String,
    /// The digest of the mapper's, if there is one.
    pub mapper: Option<String>,
}

impl Generation {
    /// What a pipeline that was opened will run.
    pub(in crate::pipeline) fn of(opened: &Opened) -> Self {
        let mapper = opened.mapping.as_ref();
        Self {
            number: None,
            transform: opened.digest.clone(),
            mapper: mapper.map(|mapping| mapping.digest().to_owned()),
        }
    }
}

/// What a pipeline is about, as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PipelineState {
    /// It is put together, or opens its lanes.
    #[default]
    Starting,
    /// All of its lanes work, and some are on recorded history, which comes before the stream.
    Bootstrapping,
    /// All of its lanes work, and are behind what the source has.
    CatchingUp,
    /// All of its lanes work; or it has none now, and is a member of its group.
    Running,
    /// It was asked to stop, and brings what it has to an end.
    Stopping,
    /// It has ended well.
    Finished,
    /// It has ended, for this reason.
    Failed(String),
}

impl PipelineState {
    /// The names of all states.
    pub const NAMES: [&str; 7] = [
        "starting",
        "bootstrapping",
        "catching_up",
        "running",
        "stopping",
        "finished",
        "failed",
    ];

    /// Its name, as in reports.
    pub fn name(&self) -> &'static str {
        let at = match self {
            Self::Starting => 0,
            Self::Bootstrapping => 1,
            Self::CatchingUp => 2,
            Self::Running => 3,
            Self::Stopping => 4,
            Self::Finished => 5,
            Self::Failed(_) => 6,
        };
        Self::NAMES[at]
    }

    /// Why the pipeline is not at work, if it is not: a sentence's end, as in `it failed: …`.
    pub fn not_ready(&self) -> Option<String> {
        match self {
            Self::Running | Self::CatchingUp | Self::Finished => None,
            Self::Starting => Some("it is starting".into()),
            Self::Bootstrapping => Some("it begins with recorded history".into()),
            Self::Stopping => Some("it is stopping".into()),
            Self::Failed(reason) => Some(format!("it failed: {reason}")),
        }
    }
}
