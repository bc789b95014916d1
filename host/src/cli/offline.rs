//! `penstock offline`: the history of features.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::Failure;
use super::show::{self, say};
use crate::config::{DEFAULT_ENVIRONMENT, Environment};
use crate::store::offline::{Compaction, OfflineFile, OfflineStore};

/// Looks after the history of features.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Compact(Compact),
}

/// Makes one file of many small ones, for each group, day, pipeline and window, and leaves out rows that are there twice.
///
/// Live pipelines do this by themselves; after runs over recorded events it is for you to do. It may run beside pipelines,
/// and be stopped at any moment.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock offline compact
  penstock offline compact --env production --group driver --least 8")]
struct Compact {
    /// The environment whose history it is.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Where to look for penstock.toml: there or in a folder above.
    #[arg(long, value_name = "PATH", default_value = ".")]
    project: PathBuf,
    /// One group; all by default.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Leave alone what has fewer files than this.
    #[arg(long, value_name = "N", default_value_t = 2)]
    least: usize,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Compact(compact) => compact_all(compact),
    }
}

fn compact_all(arguments: &Compact) -> Result<(), Failure> {
    let environment = Environment::find_and_load(&arguments.project, &arguments.env);
    let environment = environment.map_err(Failure::input)?;
    let Some(place) = &environment.offline else {
        return Err(Failure::Input(format!(
            "environment `{}` keeps no history of features: it has no `offline`",
            environment.name
        )));
    };
    let done = super::features::runtime()?.block_on(async {
        let store = Arc::new(OfflineStore::open(place)?);
        let mut compaction = Compaction::new(Arc::clone(&store));
        let groups = match &arguments.group {
            Some(group) => vec![group.clone()],
            None => store.groups().await?,
        };
        let mut done = Vec::new();
        for group in groups {
            let is_due = |files: &[OfflineFile]| files.len() >= arguments.least;
            let compacted = compaction.compact(&group, is_due).await?;
            done.push((group, compacted));
        }
        Ok(done)
    });
    let done = done.map_err(|error: crate::store::StoreError| Failure::work(error))?;
    if arguments.json {
        let shown = done.iter().map(|(group, done)| {
            json!({"group": group, "files_before": done.before, "files_after": done.after, "repeated_rows": done.repeated})
        });
        show::json(&shown.collect::<Vec<_>>());
        return Ok(());
    }
    for (group, done) in done {
        say!(
            "{group}: {} files made to {}, {} rows were there twice",
            show::count(done.before),
            show::count(done.after),
            show::count(done.repeated)
        );
    }
    Ok(())
}
