//! Reads `penstock.toml`. What may stand in it is described in [`super::environment`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::diagnostic::{ConfigError, ConfigFile, Located};
use super::environment::{
    DEFAULT_ENVIRONMENT, Environment, EventSource, FilesSource, Source, check_times,
};
use super::file_format::FileFormat;
use super::live_file::LiveKeys;
use super::live_settings::StreamKind;
use super::operators::read_operators;
use super::registry::{TransformRegistry, Trust, read_trust};
use super::remote::{Secret, StoreOptions, is_url};
use super::store_place::{self, StorePlace};
use super::table::{Node, Table, read_file};
use super::table_place::{self, CacheSettings, TablePlace, read_cache, read_table};
use super::{serving, suggest, topics, types};

/// Reads and checks all environments, and gives the one asked for.
pub(super) fn read(file: &Arc<ConfigFile>, name: &str) -> Result<Environment, ConfigError> {
    let mut environments = read_file(file, |_, root| read_root(file, root))?;
    environments.remove(name).ok_or_else(|| {
        let known = environments.keys().map(String::as_str);
        let message = match name {
            DEFAULT_ENVIRONMENT => format!(
                "there is no environment `{name}`, which is used unless another is asked for"
            ),
            _ => format!("there is no environment `{name}`"),
        };
        let hint = match suggest::closest(name, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("choose one with --env: there is {}", suggest::listed(known)),
        };
        file.diagnostic(super::diagnostic::Span::WHOLE_FILE, message, hint)
            .into()
    })
}

type Environments = BTreeMap<String, Environment>;

fn read_root(file: &Arc<ConfigFile>, mut root: Table<'_>) -> Option<Environments> {
    let example = "[environments.local.events.ride_offer]";
    let table = root
        .required("environments", example)
        .and_then(|node| node.table(&format!("`{example}`")));
    // What `penstock build` is told, which reads it itself.
    let _ = root.optional("build");
    root.finish(
        &[],
        &[(
            "events",
            "events belong to an environment: `[environments.local.events.NAME]`",
        )],
    );
    let entries = table?.entries();
    let mut environments: Environments = BTreeMap::new();
    for (name, node) in &entries {
        if let Some(environment) = read_environment(file, name, node) {
            environments.insert(name.value.clone(), environment);
        }
    }
    let mut recorded_in: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for environment in environments.values() {
        for event in environment
            .events
            .values()
            .filter(|event| matches!(event.source, Source::Files(_)))
        {
            recorded_in
                .entry(event.name.value.clone())
                .or_default()
                .push(environment.name.clone());
        }
    }
    let recorded_in = Arc::new(recorded_in);
    for environment in environments.values_mut() {
        environment.recorded_in = Arc::clone(&recorded_in);
    }
    Some(environments)
}

fn read_environment(
    file: &Arc<ConfigFile>,
    name: &Located<String>,
    node: &Node<'_>,
) -> Option<Environment> {
    let mut table = node.table("`[environments.NAME]` and its keys below")?;
    let store = table.optional("store");
    let registry = table.optional("registry");
    let trust = table
        .optional("signatures")
        .map_or_else(|| Some(Trust::default()), |node| read_trust(&node));
    let output = read_folder(file, table.optional("output"), "penstock-out");
    let output_elsewhere = table
        .optional("output_elsewhere")
        .map_or(Some(false), |node| node.boolean());
    let listen = table.optional("listen").map_or(Some(None), |node| {
        node.string("\"127.0.0.1:9464\"").map(Some)
    });
    let options = table
        .optional("object_store")
        .map_or_else(|| Some(StoreOptions::default()), |node| read_options(&node));
    let registry = read_store(file, registry, ".penstock/registry", options.as_ref());
    let state = table.optional("state");
    let dynamodb = table.optional("dynamodb");
    let features = read_features(store.as_ref(), state.as_ref(), dynamodb.as_ref());
    let store = match &features {
        Some(Some(_)) => read_store(file, state, ".penstock/state", options.as_ref()),
        _ => read_store(file, store, ".penstock/store", options.as_ref()),
    };
    let cache = table
        .optional("cache")
        .map_or_else(|| Some(CacheSettings::default()), |node| read_cache(&node));
    let offline = table.optional("offline").map_or(Some(None), |node| {
        read_store(file, Some(node), "history", options.as_ref()).map(Some)
    });
    let serving = table
        .optional("serving")
        .map_or(Some(None), |node| serving::read(file, &node).map(Some));
    let operators = table
        .optional("operators")
        .map_or_else(|| Some(Vec::new()), |node| read_operators(file, &node));
    let topics = table
        .optional("topics")
        .map_or_else(|| Some(BTreeMap::new()), |node| topics::read(&node));
    let events = table
        .optional("events")
        .map(|node| node.table("`[environments.NAME.events.EVENT]`"));
    table.finish(&[], &[]);
    let entries = events.map_or_else(
        || Some(Vec::new()),
        |table| table.map(|table| table.entries()),
    )?;
    let mut events = BTreeMap::new();
    for (event, node) in entries {
        events.extend(read_event(file, &event, &node).map(|source| (event.value.clone(), source)));
    }
    Some(Environment {
        source: Arc::clone(file),
        name: name.value.clone(),
        store: store?,
        table: features?,
        cache: cache?,
        output: output?,
        output_elsewhere: output_elsewhere?,
        events,
        topics: topics?,
        store_options: options?,
        registry: TransformRegistry {
            place: registry?,
            trust: trust?,
        },
        listen: listen?.map(|listen| listen.value),
        operators: operators?,
        serving: serving?,
        offline: offline?,
        recorded_in: Arc::default(),
    })
}

/// Which names there are, source/storage knows; here they are only texts.
fn read_options(node: &Node<'_>) -> Option<StoreOptions> {
    let table =
        node.table("`[environments.NAME.object_store]` and options such as `aws_region`")?;
    let entries = table.entries().into_iter().map(|(name, node)| {
        let value = node.string("\"eu-central-1\"")?;
        let name = Located::new(name.value.to_ascii_lowercase(), name.span);
        Some((name, Secret::new(value.value)))
    });
    // All are read, so that all findings are told.
    let entries: Vec<_> = entries.collect();
    let entries: Option<Vec<_>> = entries.into_iter().collect();
    Some(StoreOptions { entries: entries? })
}

/// The table that features go to, if `store` names one. What belongs to a table alone is refused without one.
fn read_features(
    store: Option<&Node<'_>>,
    state: Option<&Node<'_>>,
    dynamodb: Option<&Node<'_>>,
) -> Option<Option<TablePlace>> {
    // What is no text is refused where the store is read.
    let name = store.and_then(|node| node.value.as_str());
    if let (Some(name), Some(node)) = (name.and_then(table_place::table_name), store) {
        if let Some((what, hint)) = table_place::refused(name) {
            node.report(what, hint);
            return None;
        }
        return read_table(name, dynamodb).map(Some);
    }
    let hint = "write `store = \"dynamodb://TABLE\"`, or leave this out: the embedded store keeps state and features in one place";
    let alone = [state, dynamodb].into_iter().flatten();
    let alone = alone.map(|node| node.report("is there without a table of DynamoDB", hint));
    (alone.count() == 0).then_some(None)
}

/// A folder, or a place on object storage, which is opened with the environment's options.
fn read_store(
    file: &ConfigFile,
    node: Option<Node<'_>>,
    default: &str,
    options: Option<&StoreOptions>,
) -> Option<StorePlace> {
    let url = match &node {
        Some(node) => Some(node.string(&format!("\"{default}\""))?.value).filter(|it| is_url(it)),
        None => None,
    };
    let (Some(node), Some(url)) = (&node, url) else {
        return read_folder(file, node, default).map(StorePlace::Folder);
    };
    if let Some((what, hint)) = store_place::refused(&url) {
        node.report(what, hint);
        return None;
    }
    let options = options?.clone();
    Some(StorePlace::Objects { url, options })
}

fn read_folder(file: &ConfigFile, node: Option<Node<'_>>, default: &str) -> Option<PathBuf> {
    let path = match node {
        Some(node) => node.string(&format!("\"{default}\""))?.value,
        None => default.to_owned(),
    };
    let path = file.folder().join(path);
    Some(
        path.strip_prefix(".")
            .map(Path::to_path_buf)
            .unwrap_or(path),
    )
}

fn read_event(file: &ConfigFile, name: &Located<String>, node: &Node<'_>) -> Option<EventSource> {
    let mut table = node.table("`[environments.NAME.events.EVENT]` and its keys below")?;
    let files = table.optional("files");
    let format = table.optional("format");
    let kafka = table.optional("kafka");
    let kinesis = table.optional("kinesis");
    let live = LiveKeys::of(&mut table);
    let event_time = table
        .required("event_time", "event_time = \"occurred_at\"")
        .and_then(|node| node.string("\"occurred_at\""));
    let arrival_time = table
        .optional("arrival_time")
        .map_or(Some(None), |node| node.string("\"received_at\"").map(Some));
    let schema = table
        .optional("schema")
        .map_or(Some(None), |node| read_schema(&node).map(Some));

    let read_live = |kind, node: &Node<'_>| {
        let read = live.read(name, (kind, node), format.as_ref(), schema.clone());
        read.map(|(live, whole)| (Source::Live(Box::new(live)), whole))
    };
    let source = match (&files, &kafka, &kinesis) {
        (Some(files), None, None) => {
            live.refuse();
            let files = read_files(files, format.as_ref());
            files.map(|files| (Source::Files(files), schema.clone().flatten()))
        }
        (None, Some(node), None) => read_live(StreamKind::Kafka, node),
        (None, None, Some(node)) => read_live(StreamKind::Kinesis, node),
        (None, None, None) => {
            // The table is not finished yet: a misspelt `files` is named by what follows.
            let hint =
                "add `files = \"data/rides/*.ndjson\"`, `kafka = { … }` or `kinesis = { … }`";
            table.findings().report(
                table.span(),
                format!("event `{}` has no source", name.value),
                hint,
            );
            None
        }
        _ => {
            let message = format!("event `{}` has more than one source", name.value);
            table.findings().report(
                table.span(),
                message,
                "keep one of `files`, `kafka` and `kinesis`",
            );
            None
        }
    };
    table.finish(
        &[],
        &[
            (
                "topic",
                "write `kafka = { brokers = \"…\", topic = \"…\" }`",
            ),
            ("path", "write `files`"),
            ("file", "write `files`"),
            ("timestamp", "write `event_time`"),
            (
                "object_store",
                "it belongs to the environment: `[environments.NAME.object_store]`",
            ),
        ],
    );
    let (event_time, arrival_time) = (event_time?, arrival_time?);
    schema?;
    let (source, schema) = source?;
    if let Some(schema) = &schema
        && let Err(error) = check_times(file, &event_time, arrival_time.as_ref(), schema)
    {
        error
            .diagnostics
            .into_iter()
            .for_each(|finding| node.findings().push(finding));
        return None;
    }
    Some(EventSource {
        name: name.clone(),
        source,
        event_time,
        arrival_time,
        schema,
    })
}

fn read_files(files: &Node<'_>, format: Option<&Node<'_>>) -> Option<FilesSource> {
    let patterns = files.strings("\"data/rides/*.ndjson\"");
    let format = format.map_or(Some(None), |node| node.choice(&FileFormat::ALL).map(Some));
    Some(FilesSource {
        patterns: patterns?,
        format: format?,
    })
}

fn read_schema(node: &Node<'_>) -> Option<Located<SchemaRef>> {
    let table =
        node.table("`schema = { occurred_at = \"timestamp[us, UTC]\", driver_id = \"int64\" }`")?;
    let entries = table.entries();
    if entries.is_empty() {
        node.report(
            "has no columns",
            "list the columns, or leave `schema` out to have it inferred",
        );
        return None;
    }
    let fields: Vec<_> = entries
        .iter()
        .map(|(name, node)| {
            let text = node.string("\"int64\"")?;
            types::parse_field(name, &text).map_or_else(|error| node.unreadable(error), Some)
        })
        .collect();
    let fields: Option<Vec<_>> = fields.into_iter().collect();
    Some(Located::new(Arc::new(Schema::new(fields?)), node.span))
}
