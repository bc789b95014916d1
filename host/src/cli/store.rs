//! `penstock store`: making the place that features are kept in.

use std::path::PathBuf;

use super::Failure;
use super::features::{failure, runtime};
use super::show::say;
use crate::config::{DEFAULT_ENVIRONMENT, Environment, FeaturePlace};
use crate::store::dynamodb::DynamoDbStore;
use crate::store::embedded::EmbeddedStore;

/// Makes the place that an environment keeps its features in.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(Init),
}

/// Makes the table or the folder that the environment's `store` names, unless it is there.
///
/// A table is paid for by request, and removes what is past its TTL. The embedded store needs no `init`: a run makes
/// what is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock store init
  penstock store init --env production")]
struct Init {
    /// The environment whose store to make.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Where to look for penstock.toml: there or in a folder above.
    #[arg(long, value_name = "PATH", default_value = ".")]
    project: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Init(init) = &arguments.command;
    let environment = Environment::find_and_load(&init.project, &init.env);
    let place = environment.and_then(|environment| environment.features());
    let place = place.map_err(Failure::input)?;
    let made = runtime()?.block_on(async {
        match &place {
            FeaturePlace::Table(table) => DynamoDbStore::init(table).await,
            FeaturePlace::Embedded(embedded) => {
                EmbeddedStore::open(embedded, &[]).await.map(|_| false)
            }
        }
    });
    match made.map_err(failure)? {
        true => say!("{place} was made"),
        false => say!("{place} is there"),
    }
    Ok(())
}
