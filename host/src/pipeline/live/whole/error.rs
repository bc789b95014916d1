//! What can be wrong with the messages of the first stage.

/// Why a message of the topic of partial states cannot be worked on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::pipeline::live) enum ReceivedError {
    /// It is no message of a first stage.
    #[error(
        "the message at offset {position} is not one of a pipeline's partial states: {reason}. Nothing else may write to this topic; name one of its own in `repartition`, or begin anew with `--fresh`, which empties it"
    )]
    Foreign {
        /// Its offset.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// It is written in another layout.
    #[error(
        "the message at offset {position} has layout {layout}, and this build reads others; let the build go on that wrote it"
    )]
    Layout {
        /// Its offset.
        position: u64,
        /// Its layout.
        layout: u8,
    },
    /// It is another pipeline's.
    #[error(
        "the message at offset {position} is of pipeline `{pipeline}`; each pipeline needs a topic of partial states of its own: let `{{pipeline}}` stand in the `topic` of `repartition`"
    )]
    Pipeline {
        /// Its offset.
        position: u64,
        /// The pipeline's name.
        pipeline: String,
    },
    /// Its states are others.
    #[error(
        "the partial states at offset {position} are of another schema: the transform's state or its version, the key or the windows were others when they were made. Put that back until all of them are taken, or begin anew with `--fresh`"
    )]
    States {
        /// Its offset.
        position: u64,
    },
    /// The first stage was divided otherwise.
    #[error(
        "the message at offset {position} is of one of {found} upstream lanes, and there were {before}; put `run.lanes` or the partitions back, or begin anew with `--fresh`"
    )]
    Lanes {
        /// Its offset.
        position: u64,
        /// How many upstream lanes there were.
        before: u32,
        /// How many there are by this message.
        found: u32,
    },
    /// An upstream lane has lost its state.
    #[error(
        "upstream lane {lane} began anew at offset {position}, and what it had sent before was taken: its rows would count twice. Its state is gone; begin anew with `--fresh`, which empties this topic"
    )]
    BegunAnew {
        /// The lane.
        lane: u32,
        /// The offset of its first message.
        position: u64,
    },
    /// What is kept of upstream lanes cannot be read.
    #[error(
        "what is kept of upstream lanes cannot be used: {0}; use the build that wrote it, or begin anew with `--fresh`"
    )]
    Kept(String),
}
