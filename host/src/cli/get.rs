//! `penstock get`: looks features up by name.

use std::path::PathBuf;

use serde_json::json;

use super::{Failure, show};
use crate::config::{DEFAULT_ENVIRONMENT, Environment, FeaturePlace, StoreOptions, types};
use crate::store::{FeatureName, FeatureValue, StoreError, open_reader};

/// Looks up the newest values of an entity's features.
///
/// The store is that of an environment of the nearest penstock.toml, or the folder --store names.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock get driver 42 driver_accept_proportion_10m
  penstock get driver 42 driver_accept_proportion_10m@1 driver_offers_10m --json
  penstock get route 'SFO,LAX' flights_1d      # a key of two columns: joined by a comma, \\ before a comma inside

Exit code 1 says that an entity has none of the features, 2 that one of them is not declared.")]
pub(super) struct Arguments {
    /// The feature group.
    group: String,
    /// The entity: its key as text.
    #[arg(allow_hyphen_values = true)]
    entity: String,
    /// Features, as `name` for the greatest version or `name@version`.
    #[arg(required = true, value_name = "FEATURE[@VERSION]")]
    features: Vec<String>,
    /// The environment whose store to read.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Where to look for penstock.toml: there or in a folder above.
    #[arg(long, value_name = "PATH", default_value = ".")]
    project: PathBuf,
    /// The store's folder, its URL, or dynamodb://TABLE, which are opened with variables such as AWS_REGION; penstock.toml is not looked for then.
    #[arg(long, value_name = "FOLDER")]
    store: Option<String>,
    /// Print the values as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let place = match &arguments.store {
        Some(text) => FeaturePlace::of(text, &StoreOptions::default()),
        None => {
            let environment = Environment::find_and_load(&arguments.project, &arguments.env);
            let features = environment.and_then(|environment| environment.features());
            features.map_err(Failure::input)?
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::work(format!("cannot start threads: {error}")))?;
    let names: Vec<FeatureName> = arguments
        .features
        .iter()
        .map(|text| FeatureName::parse(text))
        .collect();
    let values = runtime.block_on(async {
        let store = open_reader(&place).await?;
        store.get(&arguments.group, &arguments.entity, &names).await
    });
    let values = values.map_err(|error| match error {
        StoreError::UnknownGroup { .. } | StoreError::UnknownFeature { .. } => {
            Failure::input(error)
        }
        error if error.is_bad_input() => Failure::input(error),
        other => Failure::work(other),
    })?;
    if arguments.json {
        let shown: Vec<_> = names
            .iter()
            .zip(&values)
            .map(|(name, value)| to_json(name, value.as_ref()))
            .collect();
        show::json(
            &json!({"group": arguments.group, "entity": arguments.entity, "features": shown}),
        );
    } else {
        let rows: Vec<Vec<String>> = names
            .iter()
            .zip(&values)
            .map(|(name, value)| row(name, value.as_ref()))
            .collect();
        show::table(&["feature", "value", "event time", "type"], &rows);
    }
    match values.iter().any(Option::is_some) {
        true => Ok(()),
        false => Err(Failure::work(format!(
            "{place} has none of these features for entity `{}`",
            arguments.entity
        ))),
    }
}

fn shown_name(name: &FeatureName, value: Option<&FeatureValue>) -> String {
    match (value.map(|value| value.version), name.version) {
        (Some(version), _) | (None, Some(version)) => format!("{}@{version}", name.name),
        (None, None) => name.name.clone(),
    }
}

fn row(name: &FeatureName, value: Option<&FeatureValue>) -> Vec<String> {
    let shown = match value {
        None => "-".to_owned(),
        Some(FeatureValue { value: None, .. }) => "null".to_owned(),
        Some(FeatureValue {
            value: Some(value), ..
        }) => show::value(value),
    };
    vec![
        shown_name(name, value),
        shown,
        value.map_or_else(
            || "never written".into(),
            |value| show::instant(value.order.event_time),
        ),
        value.map_or_else(String::new, |value| types::type_name(&value.data_type)),
    ]
}

fn to_json(name: &FeatureName, found: Option<&FeatureValue>) -> serde_json::Value {
    json!({
        "feature": name.name,
        "version": found.map(|found| found.version).or(name.version),
        "value": found.and_then(|found| found.value.as_ref()).map(show::json_value),
        "type": found.map(|found| types::type_name(&found.data_type)),
        "event_time": found.map(|found| show::instant(found.order.event_time)),
        "found": found.is_some(),
    })
}
