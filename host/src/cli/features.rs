//! `penstock features`: what features there are, where they come from, and declaring them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::Failure;
use super::show::{self, say};
use crate::config::{
    DEFAULT_ENVIRONMENT, Environment, FeaturePlace, Pipeline, StoreOptions, load_features,
    load_pipelines, types,
};
use crate::store::changes::{Change, changes};
use crate::store::declarations::{FeatureDeclaration, FeatureRef};
use crate::store::{
    Declaration, FeatureReader, StoreError, dropped, is_retired, open_reader, open_store,
};

/// Shows what features a store has, and declares features.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Apply(Apply),
    Diff(Apply),
}

/// Which store.
#[derive(Debug, clap::Args)]
struct Of {
    /// The environment whose store it is.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Where to look for penstock.toml: there or in a folder above.
    #[arg(long, value_name = "PATH", default_value = ".")]
    project: PathBuf,
    /// The store's folder, its URL, or dynamodb://TABLE; penstock.toml is not looked for then.
    #[arg(long, value_name = "FOLDER")]
    store: Option<String>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// Lists the features that are declared in a store.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock features list
  penstock features list driver --env production --json")]
struct List {
    /// The feature group; all if none is named.
    group: Option<String>,
    #[command(flatten)]
    of: Of,
}

/// Shows a feature's declaration: what it means, whose it is, what values it has, and what it is computed from.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock features show driver/accept_proportion_10m
  penstock features show driver/accept_proportion_10m@2 --json")]
struct Show {
    /// The feature: name, name@2, group/name or group/name@2.
    feature: String,
    #[command(flatten)]
    of: Of,
}

/// Declares the features of files: of pipelines, or of files that declare features alone (TOML or JSON), for those
/// that are computed elsewhere.
///
/// Nothing is declared if anything would break readers of a version that is there: give that feature another version.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock features diff pipeline.toml
  penstock features apply pipeline.toml profiles.json --env production

`diff` shows what `apply` would change, and changes nothing; and which features a pipeline's file does not declare any more
though the store has them. Its exit code is 1 if there are differences, 2 if readers would break.")]
struct Apply {
    /// Files that declare features.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    of: Of,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::List(list) => list.run(),
        Command::Show(show) => show.run(),
        Command::Apply(apply) => apply.run(true),
        Command::Diff(apply) => apply.run(false),
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::work(format!("cannot start threads: {error}")))
}

pub(super) fn failure(error: StoreError) -> Failure {
    match error {
        StoreError::UnknownGroup { .. } | StoreError::UnknownFeature { .. } => {
            Failure::input(error)
        }
        error if error.is_bad_input() => Failure::input(error),
        other => Failure::work(other),
    }
}

impl Of {
    fn place(&self) -> Result<FeaturePlace, Failure> {
        if let Some(text) = &self.store {
            return Ok(FeaturePlace::of(text, &StoreOptions::default()));
        }
        let environment = Environment::find_and_load(&self.project, &self.env);
        let place = environment.and_then(|environment| environment.features());
        place.map_err(Failure::input)
    }

    fn declarations(&self, group: Option<&str>) -> Result<Vec<Declaration>, Failure> {
        let place = self.place()?;
        let found = runtime()?.block_on(async {
            let reader: Arc<dyn FeatureReader> = open_reader(&place).await?;
            reader.declarations(group).await
        });
        found.map_err(failure)
    }
}

impl List {
    fn run(&self) -> Result<(), Failure> {
        let found = self.of.declarations(self.group.as_deref())?;
        if let (Some(group), true) = (&self.group, found.is_empty()) {
            return Err(Failure::input(format!(
                "no features of group `{group}` are declared there"
            )));
        }
        if self.of.json {
            let found: Vec<_> = found.iter().map(to_json).collect();
            show::json(&json!({ "features": found }));
            return Ok(());
        }
        let rows: Vec<Vec<String>> = found.iter().map(row).collect();
        show::table(
            &["feature", "type", "entity", "pipeline", "window", "owner"],
            &rows,
        );
        Ok(())
    }
}

fn row(declaration: &Declaration) -> Vec<String> {
    let owner = document(declaration)
        .get("owner")
        .and_then(|owner| owner.as_str().map(str::to_owned));
    vec![
        name_of(declaration),
        types::type_name(&declaration.data_type),
        declaration.entity.join(", "),
        declaration.pipeline.clone(),
        declaration.window.clone(),
        owner.unwrap_or_default(),
    ]
}

impl Show {
    fn run(&self) -> Result<(), Failure> {
        let asked = FeatureRef::parse(&self.feature).map_err(Failure::input)?;
        let declared = self.of.declarations(asked.group.as_deref())?;
        let found = chosen(&asked, &declared)?;
        if self.of.json {
            show::json(&to_json(found));
            return Ok(());
        }
        say!("{}", name_of(found));
        say!("  type         {}", types::type_name(&found.data_type));
        say!("  entity       {}", found.entity.join(", "));
        say!("  pipeline     {}, window {}", found.pipeline, found.window);
        let document = document(found);
        for key in [
            "owner",
            "description",
            "tags",
            "validation",
            "ttl",
            "freshness",
            "alert",
            "column",
        ] {
            if let Some(value) = document.get(key) {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                say!("  {key:<12} {}", show::printable(&text));
            }
        }
        if let Some(lineage) = document
            .get("lineage")
            .and_then(serde_json::Value::as_object)
        {
            for (key, value) in lineage {
                let text = match value {
                    serde_json::Value::Array(values) => {
                        let texts = values.iter().filter_map(|value| value.as_str());
                        texts.collect::<Vec<_>>().join(", ")
                    }
                    other => other.as_str().unwrap_or_default().to_owned(),
                };
                say!("  from {key:<7} {}", show::printable(&text));
            }
        }
        Ok(())
    }
}

/// The feature that is meant, of those that ascend by group, name and version: at the version that is named, or the
/// greatest.
pub(super) fn chosen<'a>(
    asked: &FeatureRef,
    declared: &'a [Declaration],
) -> Result<&'a Declaration, Failure> {
    let is_meant = |it: &&Declaration| {
        it.feature == asked.name
            && asked.group.as_ref().is_none_or(|group| *group == it.group)
            && asked.version.is_none_or(|version| version == it.version)
    };
    let found: Vec<&Declaration> = declared.iter().filter(is_meant).collect();
    let mut groups: Vec<&str> = found.iter().map(|it| it.group.as_str()).collect();
    groups.dedup();
    if groups.len() > 1 {
        return Err(Failure::input(format!(
            "`{asked}` is in several groups: write {}",
            groups
                .iter()
                .map(|group| format!("`{group}/{}`", asked.name))
                .collect::<Vec<_>>()
                .join(" or ")
        )));
    }
    found.last().copied().ok_or_else(|| {
        Failure::input(format!(
            "no feature `{asked}` is declared there: `penstock features list` shows all"
        ))
    })
}

/// What becomes of one feature.
struct Outcome {
    feature: FeatureDeclaration,
    /// None if it is new.
    changes: Option<Vec<Change>>,
}

impl Outcome {
    fn breaks(&self) -> bool {
        self.changes.iter().flatten().any(|change| change.breaks)
    }

    fn is_nothing(&self) -> bool {
        self.changes.as_ref().is_some_and(Vec::is_empty)
    }

    fn told(&self) -> &'static str {
        match &self.changes {
            None => "new",
            Some(changes) if changes.is_empty() => "unchanged",
            Some(_) if self.breaks() => "breaks readers",
            Some(_) => "changed",
        }
    }
}

/// A feature that a store has of a pipeline, and the pipeline's file does not declare.
struct Dropped {
    feature: Declaration,
    /// Whether the file says that it may go.
    is_retired: bool,
}

impl Dropped {
    fn told(&self) -> &'static str {
        match self.is_retired {
            true => "retired",
            false => "dropped",
        }
    }
}

impl Apply {
    fn run(&self, applies: bool) -> Result<(), Failure> {
        let (mut declared, mut pipelines) = (Vec::new(), Vec::new());
        for file in &self.files {
            match pipelines_of(file)? {
                Some(found) => {
                    declared.extend(found.iter().flat_map(Pipeline::declarations).cloned());
                    pipelines.extend(found);
                }
                None => declared.extend(load_features(file).map_err(Failure::input)?),
            }
        }
        let place = self.of.place()?;
        let runtime = runtime()?;
        let (outcomes, found) = runtime
            .block_on(compare(&place, declared, applies))
            .map_err(failure)?;
        let missing = match applies {
            // What is declared stays so: this is for whoever runs the pipeline.
            true => Vec::new(),
            false => missing(&pipelines, &found),
        };
        self.tell(&outcomes, &missing);
        let broken: Vec<String> = outcomes
            .iter()
            .filter(|outcome| outcome.breaks())
            .map(|outcome| outcome.feature.to_string())
            .collect();
        if !broken.is_empty() {
            return Err(Failure::input(format!(
                "{} would break whoever reads it: give it a new version, so that both can be read",
                broken.join(", ")
            )));
        }
        let dropped = missing.iter().filter(|it| !it.is_retired);
        let dropped: Vec<String> = dropped.map(|it| name_of(&it.feature)).collect();
        if !dropped.is_empty() {
            return Err(Failure::input(format!(
                "{} would get no new values, and `penstock run` refuses such a pipeline: put what is missing back into its file, or name it in `retired` if nobody reads it",
                dropped.join(", ")
            )));
        }
        let known = known_of(&found);
        let changed: Vec<Declaration> = outcomes
            .iter()
            .filter(|outcome| !outcome.is_nothing())
            .map(|outcome| with_lineage(&outcome.feature, &known))
            .collect();
        match applies {
            true => runtime
                .block_on(async { open_store(&place).await?.declare(&changed).await })
                .map_err(failure),
            false if changed.is_empty() => Ok(()),
            false => Err(Failure::work(format!(
                "{} of {} features are not as declared: `penstock features apply` makes them so",
                changed.len(),
                outcomes.len()
            ))),
        }
    }

    fn tell(&self, outcomes: &[Outcome], missing: &[Dropped]) {
        if self.of.json {
            let mut shown: Vec<_> = outcomes
                .iter()
                .map(|outcome| {
                    let changes = outcome.changes.iter().flatten().map(|change| {
                        json!({"what": change.what, "was": change.was, "now": change.now, "breaks": change.breaks})
                    });
                    json!({
                        "feature": outcome.feature.to_string(),
                        "outcome": outcome.told(),
                        "changes": changes.collect::<Vec<_>>(),
                    })
                })
                .collect();
            shown.extend(missing.iter().map(|it| {
                json!({
                    "feature": name_of(&it.feature),
                    "outcome": it.told(),
                    "changes": [],
                    "pipeline": it.feature.pipeline,
                })
            }));
            show::json(&json!({ "features": shown }));
            return;
        }
        for outcome in outcomes {
            say!("{}: {}", outcome.feature, outcome.told());
            for change in outcome.changes.iter().flatten() {
                let breaks = if change.breaks {
                    " (needs a new version)"
                } else {
                    ""
                };
                let (was, now) = (show::printable(&change.was), show::printable(&change.now));
                say!("  {}: `{was}` becomes `{now}`{breaks}", change.what);
            }
        }
        for it in missing {
            let (name, pipeline) = (name_of(&it.feature), &it.feature.pipeline);
            say!("{name}: {}", it.told());
            match it.is_retired {
                true => say!(
                    "  pipeline {pipeline} computes it no more, as its file says: it gets no new values"
                ),
                false => say!(
                    "  pipeline {pipeline} does not declare it any more, and whoever reads it would get no new values; to let it go: retired = [{name:?}]"
                ),
            }
        }
    }
}

/// What the store has of pipelines whose files do not declare it.
fn missing(pipelines: &[Pipeline], known: &[Declaration]) -> Vec<Dropped> {
    let serving = pipelines.iter().filter(|pipeline| pipeline.outputs.store);
    let missing = serving.flat_map(|pipeline| {
        let now = pipeline.declarations().map(FeatureDeclaration::stored);
        let dropped = dropped(known, &pipeline.name.value, &now.collect::<Vec<_>>());
        dropped.into_iter().map(|feature| Dropped {
            is_retired: is_retired(feature, &pipeline.retired),
            feature: feature.clone(),
        })
    });
    missing.collect()
}

/// The pipelines of a file or a folder; none if it declares features by themselves.
fn pipelines_of(file: &Path) -> Result<Option<Vec<Pipeline>>, Failure> {
    let is_pipeline = std::fs::read_to_string(file)
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok())
        .is_some_and(|table| {
            ["transform", "event", "key"]
                .iter()
                .any(|key| table.contains_key(*key))
        });
    if !is_pipeline && !file.is_dir() {
        return Ok(None);
    }
    load_pipelines(&[file]).map(Some).map_err(Failure::input)
}

type Known = BTreeMap<String, FeatureDeclaration>;

/// What a store has, by name, as it was declared.
fn known_of(found: &[Declaration]) -> Known {
    let known = found
        .iter()
        .filter_map(|it| Some((name_of(it), serde_json::from_str(&it.document).ok()?)));
    known.collect()
}

/// What is different from what the store has, and what it has.
async fn compare(
    place: &FeaturePlace,
    declared: Vec<FeatureDeclaration>,
    makes: bool,
) -> Result<(Vec<Outcome>, Vec<Declaration>), StoreError> {
    let found = match open_reader(place).await {
        Ok(reader) => reader.declarations(None).await?,
        // Where nothing is yet, everything is new.
        Err(StoreError::NotAStore { .. }) if makes => Vec::new(),
        Err(error) => return Err(error),
    };
    let known = known_of(&found);
    let outcomes = declared.into_iter().map(|feature| Outcome {
        changes: known
            .get(&feature.to_string())
            .map(|was| changes(was, &feature)),
        feature,
    });
    Ok((outcomes.collect(), found))
}

/// The declaration as stores have it, with what is known of what the feature is computed from.
fn with_lineage(feature: &FeatureDeclaration, known: &Known) -> Declaration {
    let lineage = known
        .get(&feature.to_string())
        .and_then(|was| was.lineage.clone());
    let feature = FeatureDeclaration {
        lineage,
        ..feature.clone()
    };
    feature.stored()
}

fn name_of(declaration: &Declaration) -> String {
    let Declaration {
        group,
        feature,
        version,
        ..
    } = declaration;
    format!("{group}/{feature}@{version}")
}

fn document(declaration: &Declaration) -> serde_json::Value {
    serde_json::from_str(&declaration.document).unwrap_or_default()
}

fn to_json(declaration: &Declaration) -> serde_json::Value {
    json!({
        "group": declaration.group,
        "feature": declaration.feature,
        "version": declaration.version,
        "type": types::type_name(&declaration.data_type),
        "entity": declaration.entity,
        "pipeline": declaration.pipeline,
        "window": declaration.window,
        "declaration": document(declaration),
    })
}
