//! What can go wrong with a feature store, and what the reader can do about it.

use std::path::PathBuf;

use super::{FeatureName, item};
use crate::objects::StorageError;

/// What kind of thing is wrong with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFault {
    /// There is no such table.
    Missing,
    /// There are no credentials, or the service does not accept them or what they are used for.
    Denied,
    /// It takes nothing so large.
    TooLarge,
    /// The service refuses for another reason.
    Refused,
    /// The service does not answer, or not to so much. The same may work later.
    Unreachable,
}

/// What can go wrong with a feature store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The batch does not fit together; a fault of the caller.
    #[error("cannot store a batch: {0}")]
    Shape(String),
    /// A key cannot name an entity.
    #[error("cannot store features of group {group:?}: {source}")]
    Entity {
        /// The feature group.
        group: String,
        /// What is wrong with the key.
        source: item::entity::EntityError,
    },
    /// A feature's values cannot be stored, or were not what the store can read.
    #[error("feature {feature:?} of group {group:?}: {source}")]
    Value {
        /// The feature group.
        group: String,
        /// The feature.
        feature: String,
        /// What is wrong.
        source: item::value::ValueError,
    },
    /// An item in the store cannot be read.
    #[error("entity {entity:?} of group {group:?}: {source}")]
    Item {
        /// The feature group.
        group: String,
        /// The entity.
        entity: String,
        /// What is wrong.
        source: item::ItemError,
    },
    /// The store takes no item so large.
    #[error("entity {entity:?} of group {group:?}: {reason}")]
    TooLarge {
        /// The feature group.
        group: String,
        /// The entity.
        entity: String,
        /// What is too large, how large it may be, and what can be done about it.
        reason: String,
    },
    /// Nobody declared the group.
    #[error(
        "no feature group {group:?} is declared in {store}{}",
        nearest("groups", known, group)
    )]
    UnknownGroup {
        /// What was asked for.
        group: String,
        /// The groups that are declared.
        known: Vec<String>,
        /// Where was looked.
        store: String,
    },
    /// Nobody declared the feature, or not at that version.
    #[error(
        "group {group:?} has no feature {feature:?}{}",
        nearest("features", known, feature)
    )]
    UnknownFeature {
        /// The feature group.
        group: String,
        /// What was asked for, with its version if one was named.
        feature: String,
        /// The group's features, as `name@version`.
        known: Vec<String>,
    },
    /// A version of a feature is taken.
    #[error(
        "feature {group}/{feature}@{version} is already declared with {was}, and now comes with {now}: raise the feature's version, or store into another place"
    )]
    Redeclared {
        /// The feature group.
        group: String,
        /// The feature.
        feature: String,
        /// The version.
        version: u32,
        /// What it was declared with.
        was: String,
        /// What it is declared with now.
        now: String,
    },
    /// A pipeline computes less than what is served of it.
    #[error(
        "pipeline {pipeline} does not declare {} any more, and the store serves {}: whoever reads that would get no new values. Put it back into the pipeline's file; or, if nobody reads it, say so at the top of the file: retired = [{}]",
        features.join(", "),
        if features.len() == 1 { "it" } else { "them" },
        quoted(features)
    )]
    Dropped {
        /// The pipeline.
        pipeline: String,
        /// What it computed before and does not declare now, as `group/name@version`.
        features: Vec<String>,
    },
    /// What was put is not in the history of features.
    #[error("cannot write to the history of features in {place}: {reason}")]
    Unrecorded {
        /// Where the history is.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The folder holds something else, or nothing.
    #[error("{} is not a feature store: {reason}. Give the folder that a pipeline's `store` names, after the pipeline has run", folder.display())]
    NotAStore {
        /// The folder.
        folder: PathBuf,
        /// How it can be told.
        reason: String,
    },
    /// Another process writes to a lane.
    #[error("another process has lane {lane} of pipeline {pipeline} in the store {} open for writing: wait for its end, or let `store` of the environment be another folder", folder.display())]
    Busy {
        /// The store's folder.
        folder: PathBuf,
        /// The pipeline.
        pipeline: String,
        /// The lane.
        lane: u32,
    },
    /// The store was laid out by another build.
    #[error("{} has layout {found}, and this build reads layout {expected}: use the build that wrote it, or a newer one", path.display())]
    Layout {
        /// The file that says so.
        path: PathBuf,
        /// Its layout.
        found: u64,
        /// The layout that this build knows.
        expected: u64,
    },
    /// A file of the store breaks its layout.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process has opened the lane for writing since.
    #[error("cannot {doing} {}: another process has opened it for writing, and only one may hold it at a time", path.display())]
    Fenced {
        /// What was being done.
        doing: &'static str,
        /// The database.
        path: PathBuf,
    },
    /// The lane was not opened.
    #[error(
        "lane {lane} of pipeline {pipeline} is not one of those that the store was opened with"
    )]
    NoLane {
        /// The pipeline that was named.
        pipeline: String,
        /// The lane that was named.
        lane: u32,
    },
    /// The file system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A table refused, or does not answer.
    #[error("cannot {doing} in DynamoDB table `{table}`: {reason}; {hint}")]
    Table {
        /// What was being done.
        doing: String,
        /// The table.
        table: String,
        /// What kind of thing is wrong.
        fault: TableFault,
        /// What the service says.
        reason: String,
        /// What can be done about it.
        hint: String,
    },
    /// Object storage refused, or does not answer.
    #[error(transparent)]
    Objects(#[from] StorageError),
    /// The storage engine refused.
    #[error("cannot {doing} {}: {reason}. {advice}", path.display())]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// The database's folder.
        path: PathBuf,
        /// The engine's reason.
        reason: String,
        /// What can be done about it.
        advice: &'static str,
    },
}

impl StoreError {
    /// Whether the store was given something that it cannot work with, rather than that something failed.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Redeclared { .. }
            | Self::Dropped { .. }
            | Self::NotAStore { .. }
            | Self::TooLarge { .. } => true,
            Self::Table { fault, .. } => *fault != TableFault::Unreachable,
            Self::Objects(error) => !error.is_of_the_system(),
            _ => false,
        }
    }

    /// Whether somebody else has the lane by now.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. })
    }
}

/// Texts as a list in TOML has them.
fn quoted(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    quoted.join(", ")
}

/// The end of an "unknown" message: the nearest name that exists, else all of them.
fn nearest(what: &str, names: &[String], asked: &str) -> String {
    let bare = |name: &str| FeatureName::parse(name).name;
    let nearest = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&bare(name), &bare(asked)), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= asked.len() / 3 + 1);
    match nearest {
        _ if names.is_empty() => format!(": no {what} are declared there yet"),
        Some((_, name)) => format!(
            ": did you mean {name:?}? Declared {what}: {}",
            names.join(", ")
        ),
        None => format!(". Declared {what}: {}", names.join(", ")),
    }
}
