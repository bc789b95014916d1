//! Recorded history that a live event begins with, as `penstock.toml` says it.

use super::diagnostic::{ConfigError, ConfigFile, Located, Span};
use super::environment::FilesSource;
use super::file_format::FileFormat;
use super::recorded::{self, RecordedFiles};
use super::table::Node;

/// Recorded history that a live event begins with.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// Where it stands.
    pub span: Span,
    /// Files, globs and folders, or the folder of a recording.
    pub files: FilesSource,
    /// How producers choose a message's partition, which is needed where the files do not say it.
    pub partitioner: Option<Located<Partitioner>>,
    /// The column that is the messages' key, written as text.
    pub key: Option<Located<String>>,
}

/// How the producers of a topic choose the partition of a message by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioner {
    /// As Java's clients do: by murmur2, and so does librdkafka's `murmur2_random`.
    Murmur2,
    /// As librdkafka does unless it is told otherwise: by CRC-32.
    Consistent,
}

impl Partitioner {
    /// Those that choose at random choose for messages without a key alone.
    const ALL: [(&'static str, Self); 4] = [
        ("murmur2", Self::Murmur2),
        ("murmur2_random", Self::Murmur2),
        ("consistent", Self::Consistent),
        ("consistent_random", Self::Consistent),
    ];

    /// The name that it is written by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Murmur2 => "murmur2",
            Self::Consistent => "consistent",
        }
    }
}

impl Bootstrap {
    /// The files and URLs, at least one. Local ones are looked for.
    ///
    /// # Errors
    ///
    /// There are none, or their formats are not clear.
    pub fn find(&self, source: &ConfigFile) -> Result<RecordedFiles, ConfigError> {
        recorded::find_files(source, &self.files)
    }
}

/// Reads `bootstrap = "…"` or `bootstrap = { files = "…", … }`.
pub(super) fn read(node: &Node<'_>) -> Option<Bootstrap> {
    const FILES: &str = "\"s3://bucket/recordings/rides\"";
    let files = |patterns, format| FilesSource { patterns, format };
    if node.value.as_table().is_none() {
        return Some(Bootstrap {
            span: node.span,
            files: files(node.strings(FILES)?, None),
            partitioner: None,
            key: None,
        });
    }
    let mut table = node.table("`bootstrap = { files = \"…\" }`")?;
    let patterns = table
        .required("files", &format!("files = {FILES}"))
        .and_then(|node| node.strings(FILES));
    let format = table
        .optional("format")
        .map_or(Some(None), |node| node.choice(&FileFormat::ALL).map(Some));
    let partitioner = table
        .optional("partitioner")
        .map_or(Some(None), |node| node.choice(&Partitioner::ALL).map(Some));
    let key = table
        .optional("key")
        .map_or(Some(None), |node| node.string("\"driver_id\"").map(Some));
    table.finish(
        &[],
        &[
            ("path", "write `files`"),
            ("folder", "write `files`"),
            ("message_key", "write `key`"),
        ],
    );
    Some(Bootstrap {
        span: node.span,
        files: files(patterns?, format?),
        partitioner: partitioner?,
        key: key?,
    })
}
