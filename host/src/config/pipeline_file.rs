//! Reads a pipeline file, table by table. What may stand in it is described in [`super::pipeline`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::component::{ComponentPlace, VersionedName};
use super::diagnostic::{ConfigError, ConfigFile, Located};
use super::feature::{self, DeclaredFeature, Shared};
use super::limits::{self, Limits};
use super::map;
use super::pipeline::{
    OnMalformed, OutputFile, OutputFormat, Outputs, Pipeline, RunOptions, SideOutput,
};
use super::swap::{SwapSpec, read_swap};
use super::table::{Findings, Node, Table, read_file};
use super::{suggest, transform_config, window_file};
use crate::store::declarations::{ELSEWHERE, FeatureRef, is_name};

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

/// Keys of the root, which people tend to write below a table.
pub(super) const ROOT_KEYS: [&str; 8] = [
    "name",
    "event",
    "transform",
    "key",
    "config",
    "group",
    "owner",
    "retired",
];

/// Words that people try at the root, and what to write.
const RETIRED: [(&str, &str); 4] = [
    (
        "features",
        "write `group` and `owner` at the top of the file, and a `[[feature]]` table for each feature",
    ),
    ("keys", "write `key = [\"driver_id\"]`"),
    (
        "source",
        "write `event = \"ride_offer\"`; where it comes from stands in penstock.toml",
    ),
    ("environments", "environments stand in penstock.toml"),
];

/// Reads and checks a pipeline file.
pub(super) fn read(file: &Arc<ConfigFile>) -> Result<Pipeline, ConfigError> {
    read_file(file, |findings, root| read_root(file, findings, root))
}

fn read_root(file: &Arc<ConfigFile>, findings: &Findings, mut root: Table<'_>) -> Option<Pipeline> {
    let name = match root.optional("name") {
        Some(node) => node
            .name("\"driver_accept_proportion_10m\"")
            .filter(|name| is_free(&node, &name.value)),
        None => name_of_file(file, findings),
    };
    let event = root
        .required("event", "event = \"ride_offer\"")
        .and_then(|node| node.string("\"ride_offer\""));
    let transform = root
        .required("transform", "transform = \"transforms/driver.wasm\"")
        .and_then(|node| read_transform(&node, file));
    let key = root
        .required("key", "key = [\"driver_id\"]")
        .and_then(|node| read_key(&node));
    let group = root.optional("group").map(|node| node.name("\"driver\""));
    let owner = root
        .optional("owner")
        .map(|node| node.string("\"team@example.com\""));
    let retired = root
        .optional("retired")
        .map_or(Some(Vec::new()), |node| read_retired(&node));
    let config = match root.optional("config") {
        Some(node) => transform_config::to_json(&node),
        None => Some(Located::default_of("{}".to_owned())),
    };
    let map = root
        .optional("map")
        .map_or(Some(None), |node| map::read_map(&node, file).map(Some));
    let window = root
        .required("window", "[window]\nkind = \"tumbling\"\nsize = \"10m\"")
        .and_then(|node| window_file::read(&node, &ROOT_KEYS));
    let feature = root.required(
        "feature",
        "[[feature]]\nname = \"accept_proportion_10m\"\ntype = \"float64\"",
    );
    let outputs = root.optional("outputs");
    let run = root
        .optional("run")
        .map_or(Some(RunOptions::default()), |node| read_run(&node));
    let swap = root
        .optional("swap")
        .map_or(Some(SwapSpec::default()), |node| read_swap(&node));
    let limits = root
        .optional("limits")
        .map_or(Some(Limits::default()), |node| limits::read(&node));
    root.finish(&[], &RETIRED);

    // Features are checked even where the key or the window could not be read.
    let own_name = name.as_ref().map_or("", |name| name.value.as_str());
    let shared = Shared {
        pipeline: own_name,
        entity: key
            .iter()
            .flatten()
            .map(|column: &Located<String>| column.value.clone())
            .collect(),
        lengths: window
            .as_ref()
            .map_or(&[], |window| window.lengths.as_slice()),
        // One that could not be read was reported; a feature need not miss it again.
        group: group.map(|group| group.unwrap_or_else(|| Located::default_of(String::new()))),
        owner: owner.flatten(),
    };
    let features = feature.map(|node| {
        let features = feature::read_features(&node, &shared, &ROOT_KEYS);
        feature::refuse_twins(&features, findings);
        features
    });
    if let (Some(retired), Some(features)) = (&retired, &features) {
        refuse_declared(retired, features, findings);
    }
    let outputs = match outputs {
        Some(node) => read_outputs(&node, own_name),
        None => Some(default_outputs(own_name)),
    };
    Some(Pipeline {
        source: Arc::clone(file),
        name: name?,
        event: event?,
        transform: transform?,
        key: key?,
        config: config?,
        map: map?,
        window: window?.spec,
        features: features?,
        retired: retired?.into_iter().map(|it| it.value).collect(),
        outputs: outputs?,
        run: run?,
        limits: limits?,
        swap: swap?,
    })
}

/// Whether a pipeline may have this name; if not, that is reported.
fn is_free(node: &Node<'_>, name: &str) -> bool {
    if name == ELSEWHERE {
        let hint = "it stands for what no pipeline computes: choose another name";
        node.report(format_args!("cannot be `{ELSEWHERE}`"), hint);
    }
    name != ELSEWHERE
}

fn name_of_file(file: &ConfigFile, findings: &Findings) -> Option<Located<String>> {
    let stem = file
        .path()
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy();
    if is_name(&stem) && stem != ELSEWHERE {
        return Some(Located::default_of(stem.into_owned()));
    }
    let message = format!(
        "the file's name gives the pipeline the name `{stem}`, but a name has only a-z, 0-9 and _, begins with a letter, and is not `{ELSEWHERE}`"
    );
    findings.report(
        super::diagnostic::Span::WHOLE_FILE,
        message,
        "add `name = \"…\"` at the top, or rename the file",
    );
    None
}

pub(super) fn read_transform(
    node: &Node<'_>,
    file: &ConfigFile,
) -> Option<Located<ComponentPlace>> {
    let text = node.string("\"transforms/driver.wasm\"")?;
    if ComponentPlace::is_registered(&text.value) {
        return match VersionedName::parse(&text.value) {
            Ok(name) => Some(Located::new(ComponentPlace::Registered(name), text.span)),
            Err(_) => {
                node.report(
                    "is no version of a transform",
                    "write NAME@VERSION, as `penstock list` shows them, or the path of a component",
                );
                None
            }
        };
    }
    let path = file.folder().join(&text.value);
    let path = path
        .strip_prefix(".")
        .map(Path::to_path_buf)
        .unwrap_or(path);
    if path.is_file() {
        return Some(Located::new(ComponentPlace::File(path), text.span));
    }
    let what = if path.is_dir() {
        "is a folder"
    } else {
        "is not there"
    };
    let hint = match sibling(&path) {
        Some(near) => format!(
            "did you mean `{}`?",
            Path::new(&text.value).with_file_name(near).display()
        ),
        None => {
            "the path starts from the folder of this file; build the transform first".to_owned()
        }
    };
    node.report(format_args!("names {}, which {what}", path.display()), hint);
    None
}

/// A file in the same folder whose name is nearly that of `path`.
fn sibling(path: &Path) -> Option<String> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    // The order of a folder's entries differs between machines.
    names.sort_unstable();
    suggest::closest(
        path.file_name()?.to_str()?,
        names.iter().map(String::as_str),
    )
    .map(str::to_owned)
}

fn read_key(node: &Node<'_>) -> Option<Vec<Located<String>>> {
    let key = node.strings("[\"driver_id\"]")?;
    for (number, column) in key.iter().enumerate() {
        if key[..number]
            .iter()
            .any(|earlier| earlier.value == column.value)
        {
            node.findings().report(
                column.span,
                format!("the key names column `{}` twice", column.value),
                "keep one of the two",
            );
            return None;
        }
    }
    Some(key)
}

/// Reads which features may go although a store serves them.
fn read_retired(node: &Node<'_>) -> Option<Vec<Located<FeatureRef>>> {
    let texts = node.strings("[\"driver/accept_proportion_10m@1\"]")?;
    let read = |text: &Located<String>| match FeatureRef::parse(&text.value) {
        Ok(feature) if feature.version.is_some() => Some(Located::new(feature, text.span)),
        _ => {
            node.findings().report(
                text.span,
                format!("`{}` does not name one version of a feature", text.value),
                "write `name@2` or `group/name@2`, as `penstock features list` shows them",
            );
            None
        }
    };
    texts.iter().map(read).collect()
}

/// What is declared is computed, and not retired.
fn refuse_declared(
    retired: &[Located<FeatureRef>],
    features: &[DeclaredFeature],
    findings: &Findings,
) {
    let is_declared = |it: &FeatureRef| features.iter().any(|one| it.matches(&one.declaration));
    for it in retired.iter().filter(|it| is_declared(&it.value)) {
        let message = format!("`retired` names {}, which the file declares", it.value);
        findings.report(it.span, message, "take it out of one of the two places");
    }
}

/// The file that something beside the features goes to unless the pipeline says otherwise.
fn default_file(name: &str, kind: &str) -> SideOutput {
    let file = OutputFile {
        path: PathBuf::from(format!("{name}.{kind}.ndjson")),
        format: OutputFormat::Ndjson,
    };
    SideOutput {
        file: Located::default_of(file),
        topic: None,
    }
}

/// Beside the rejects, under the pipeline's name.
fn default_invalid(name: &str, rejects: &SideOutput) -> SideOutput {
    let mut invalid = default_file(name, "invalid");
    let file = &rejects.file;
    invalid.file.value.path = file.path.with_file_name(&invalid.file.path);
    invalid.file.span = file.span;
    invalid
}

fn default_outputs(name: &str) -> Outputs {
    let rejects = default_file(name, "rejects");
    Outputs {
        store: true,
        features: None,
        topics: Vec::new(),
        late: default_file(name, "late"),
        invalid: default_invalid(name, &rejects),
        rejects,
    }
}

fn read_outputs(node: &Node<'_>, name: &str) -> Option<Outputs> {
    let mut table = node.table("an `[outputs]` table")?;
    let store_node = table.optional("store");
    let store = store_node.as_ref().map_or(Some(true), Node::boolean);
    let features = table
        .optional("features")
        .map_or(Some(None), |node| read_output_file(&node).map(Some));
    let topics = table
        .optional("topics")
        .map_or(Some(Vec::new()), |node| read_topics(&node));
    let mut side = |key: &'static str, default: SideOutput| match table.optional(key) {
        Some(node) => read_side_output(&node, default),
        None => Some(default),
    };
    let rejects = side("rejects", default_file(name, "rejects"));
    let late = side("late", default_file(name, "late"));
    let beside = rejects.as_ref().map_or_else(
        || default_file(name, "invalid"),
        |rejects| default_invalid(name, rejects),
    );
    let invalid = side("invalid", beside);
    table.finish(
        &ROOT_KEYS,
        &[("topic", "write `topics = [\"driver_features\"]`")],
    );
    let outputs = Outputs {
        store: store?,
        features: features?,
        topics: topics?,
        rejects: rejects?,
        late: late?,
        invalid: invalid?,
    };
    let goes_nowhere = outputs.features.is_none() && outputs.topics.is_empty();
    if let (Some(node), false, true) = (store_node, outputs.store, goes_nowhere) {
        node.report(
            "is false, and no file or topic is given: the features would go nowhere",
            "add `features = \"features.parquet\"` or `topics = [\"driver_features\"]`, or leave `store` out",
        );
        return None;
    }
    Some(outputs)
}

fn read_topics(node: &Node<'_>) -> Option<Vec<Located<String>>> {
    let topics = node.strings("[\"driver_features\"]")?;
    for (number, topic) in topics.iter().enumerate() {
        if topics[..number]
            .iter()
            .any(|earlier| earlier.value == topic.value)
        {
            let message = format!("topic `{}` is named twice", topic.value);
            node.findings()
                .report(topic.span, message, "keep one of the two");
            return None;
        }
    }
    Some(topics)
}

/// A file, or `{ topic = "dead_letters" }`.
fn read_side_output(node: &Node<'_>, default: SideOutput) -> Option<SideOutput> {
    if node.value.as_table().is_none() {
        return Some(SideOutput {
            file: read_output_file(node)?,
            topic: None,
        });
    }
    let example = "{ topic = \"dead_letters\" }";
    let mut table = node.table(example)?;
    let topic = table
        .required("topic", "topic = \"dead_letters\"")
        .and_then(|node| node.string("\"dead_letters\""));
    table.finish(
        &[],
        &[(
            "file",
            "write the file alone, without a table: `rejects = \"driver.rejects.ndjson\"`",
        )],
    );
    Some(SideOutput {
        topic: Some(topic?),
        ..default
    })
}

fn read_output_file(node: &Node<'_>) -> Option<Located<OutputFile>> {
    let text = node.string("\"features.parquet\"")?;
    if text.value.ends_with('/') {
        node.report(
            format_args!("cannot be `{}`", text.value),
            "it is a file, and a name that ends in `/` is that of a folder",
        );
        return None;
    }
    let path = PathBuf::from(&text.value);
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => OutputFormat::Parquet,
        Some("csv") => OutputFormat::Csv,
        Some("ndjson") => OutputFormat::Ndjson,
        _ => {
            node.report(
                format_args!("cannot be `{}`", text.value),
                "the format goes by the extension: .parquet, .csv or .ndjson",
            );
            return None;
        }
    };
    Some(Located::new(OutputFile { path, format }, text.span))
}

fn read_run(node: &Node<'_>) -> Option<RunOptions> {
    let mut table = node.table("a `[run]` table")?;
    let default = RunOptions::default();
    let lanes = table
        .optional("lanes")
        .map_or(Some(None), |node| number(&node, 1..=1_024).map(Some));
    let batch_rows = table
        .optional("batch_rows")
        .map_or(Some(default.batch_rows), |node| {
            number(&node, 1..=1_048_576)
        });
    let on_malformed = table
        .optional("on_malformed")
        .map_or(Some(default.on_malformed), |node| {
            node.choice(&[("keep", OnMalformed::Keep), ("stop", OnMalformed::Stop)])
                .map(|choice| choice.value)
        });
    let commit_every = table
        .optional("commit_every")
        .map_or(Some(None), |node| read_commit_every(&node).map(Some));
    let state_memory = table
        .optional("state_memory")
        .map_or(Some(default.state_memory), |node| {
            node.bytes(KIB..=KIB * GIB)
        });
    table.finish(&ROOT_KEYS, &[]);
    Some(RunOptions {
        lanes: lanes?,
        batch_rows: batch_rows?,
        on_malformed: on_malformed?,
        commit_every: commit_every?,
        state_memory: state_memory?,
    })
}

fn read_commit_every(node: &Node<'_>) -> Option<Duration> {
    const LEAST: i64 = 1_000;
    let micros = node.positive_duration("\"10s\"")?;
    if micros.value < LEAST {
        node.report(
            "is shorter than a commit can take",
            "write at least \"1ms\"",
        );
        return None;
    }
    Some(Duration::from_micros(micros.value as u64))
}

pub(super) fn number<N: TryFrom<i64>>(
    node: &Node<'_>,
    range: std::ops::RangeInclusive<i64>,
) -> Option<N> {
    node.integer(range)
        .and_then(|number| N::try_from(number.value).ok())
}
