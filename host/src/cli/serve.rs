//! `penstock serve`: answers models with features, from the store of an environment.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Failure;
use super::run::{announce, refused};
use super::signals::Signals;
use crate::clock::{Clock, SystemClock};
use crate::config::{
    CacheSettings, DEFAULT_ENVIRONMENT, Environment, FeaturePlace, Serving, StoreOptions,
};
use crate::pipeline::telemetry::Telemetry;
use crate::serve::{Answering, Opening, ServedFeatures, Server, USUAL_FEATURES};
use crate::store::OpenStores;

/// Serves the features of a store to models, over REST and gRPC, until it is stopped.
///
/// Pipelines that write to the store may run meanwhile, here or elsewhere: `penstock run` serves likewise
/// what `serving` of its environment says. Who may read and write what is said there too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  penstock serve                                     the environment `local`, REST on 127.0.0.1:8470
  penstock serve --env production --listen 0.0.0.0:8470 --grpc 0.0.0.0:8471
  penstock serve --store s3://acme-penstock/production --grpc 127.0.0.1:8471

  curl -s localhost:8470/v1/groups/driver/batch-get -H 'Content-Type: application/json' \\
    -d '{\"entities\": [\"42\", \"43\"], \"features\": [\"driver_accept_proportion_10m\"]}'
  grpcurl -plaintext -d '{\"group\": \"driver\", \"entities\": [\"42\"], \"features\": [\"driver_accept_proportion_10m\"]}' \\
    localhost:8471 penstock.v1.Features/BatchGet

GET /openapi.json describes REST, and gRPC describes itself by reflection. On an address that other machines reach,
`serving` of the environment must have tokens, or say who may read without one.")]
pub(super) struct Arguments {
    /// The environment whose store to serve.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENVIRONMENT)]
    env: String,
    /// Where to look for penstock.toml: there or in a folder above.
    #[arg(long, value_name = "PATH", default_value = ".")]
    project: PathBuf,
    /// The store's folder, its URL, or dynamodb://TABLE, which are opened with variables such as AWS_REGION; penstock.toml is not looked for then.
    #[arg(long, value_name = "FOLDER")]
    store: Option<String>,
    /// Where to answer over REST, in place of what the environment's `serving` says.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where to answer over gRPC, likewise. Nowhere unless one of the two says so.
    #[arg(long, value_name = "HOST:PORT")]
    grpc: Option<String>,
}

/// How often a server looks whether it was asked to stop.
const GLANCE: Duration = Duration::from_millis(200);

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (place, settings, cache, offline) = match &arguments.store {
        Some(text) => {
            let place = FeaturePlace::of(text, &StoreOptions::default());
            (place, Serving::default(), CacheSettings::default(), None)
        }
        None => {
            let environment = Environment::find_and_load(&arguments.project, &arguments.env);
            let environment = environment.map_err(Failure::input)?;
            let place = environment.features().map_err(Failure::input)?;
            let settings = environment.serving.unwrap_or_default();
            (place, settings, environment.cache, environment.offline)
        }
    };
    let listen = arguments.listen.clone().or(settings.listen);
    let settings = Serving {
        listen: Some(listen.unwrap_or_else(|| USUAL_FEATURES.to_owned())),
        grpc: arguments.grpc.clone().or(settings.grpc),
        ..settings
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("serve")
        .enable_all()
        .build()
        .map_err(|error| Failure::work(format!("cannot start threads: {error}")))?;
    let signals = Signals::catch_on(runtime.handle())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let telemetry = Arc::new(Telemetry::new(Arc::clone(&clock)));
    let stores = Arc::new(OpenStores::default());
    let store = Opening::new(stores, place, cache, offline, Arc::clone(&telemetry));
    let what = Answering {
        operations: None,
        telemetry,
        stopping: signals.stopping(),
        is_run: false,
        admin: None,
        features: Some(ServedFeatures {
            settings,
            store: Arc::new(store),
        }),
    };
    let server = Server::start(runtime.handle(), what).map_err(refused)?;
    announce(&server);
    wait(&signals.stop_work(), clock.as_ref());
    server.close();
    runtime.shutdown_background();
    Ok(())
}

fn wait(stop: &AtomicBool, clock: &dyn Clock) {
    while !stop.load(Ordering::Relaxed) {
        clock.wait(clock.now() + GLANCE, stop);
    }
}
