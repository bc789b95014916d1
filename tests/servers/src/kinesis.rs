//! Kinesis: `kinesis-local` of npm, one program of Node.js. It knows resharding and enhanced fan-out, and never
//! throttles.
//!
//! It keeps what it has in a file: when it is asked to end, and every second, so a kill loses up to a second.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::{Place, Run, Server, Service, http};

/// A Kinesis.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kinesis;

/// What takes half a second of its own accord.
const SLOW: [&str; 9] = [
    "CREATE_STREAM",
    "DELETE_STREAM",
    "REGISTER_STREAM_CONSUMER",
    "DEREGISTER_STREAM_CONSUMER",
    "START_STREAM_ENCRYPTION",
    "STOP_STREAM_ENCRYPTION",
    "MERGE_SHARDS",
    "SPLIT_SHARD",
    "UPDATE_SHARD_COUNT",
];

impl Service for Kinesis {
    fn name(&self) -> &'static str {
        "kinesis"
    }

    fn version(&self) -> &'static str {
        "0.6.2"
    }

    fn about(&self) -> &'static str {
        "Kinesis (kinesis-local)"
    }

    fn install(&self, folder: &Path, run: &mut Run<'_>) -> Result<()> {
        let package = format!("kinesis-local@{}", self.version());
        run(&mut npm_install(folder, &package))
    }

    fn ports(&self) -> usize {
        // With TLS, too, which cannot be turned off.
        2
    }

    fn command(&self, place: &Place) -> Result<Command> {
        let mut node = Command::new("node");
        // It looks for its certificate in its own folder.
        node.arg("main.js")
            .current_dir(place.installed.join("node_modules/kinesis-local"))
            .env("KINESIS_MOCK_PLAIN_PORT", place.ports[0].to_string())
            .env("KINESIS_MOCK_TLS_PORT", place.ports[1].to_string())
            .env("LOG_LEVEL", "WARN")
            .env("SHOULD_PERSIST_DATA", "true")
            .env("PERSIST_PATH", place.folder.join("data"))
            .env("PERSIST_INTERVAL", "1s")
            .envs(SLOW.map(|what| (format!("{what}_DURATION"), "10ms")));
        Ok(node)
    }

    fn answers(&self, ports: &[u16]) -> Result<()> {
        call(ports[0], "ListStreams", "{}").map(|_| ())
    }

    fn variables(&self, ports: &[u16]) -> Vec<(&'static str, String)> {
        let endpoint = format!("http://127.0.0.1:{}", ports[0]);
        vec![("AWS_ENDPOINT_URL_KINESIS", endpoint)]
    }
}

impl Server<Kinesis> {
    /// Calls an action of the API, such as `CreateStream`, with JSON, and gives the JSON that it answers.
    ///
    /// # Errors
    ///
    /// If the action fails; with the answer.
    pub fn call(&self, action: &str, json: &str) -> Result<String> {
        call(self.port(), action, json)
    }
}

fn call(port: u16, action: &str, json: &str) -> Result<String> {
    http::call(port, "kinesis", &format!("Kinesis_20131202.{action}"), json)
}

/// Installs one package of npm without running anything of it.
pub(crate) fn npm_install(folder: &Path, package: &str) -> Command {
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"])
        .args(["--loglevel", "error", "--prefix"])
        .arg(folder)
        .arg(package);
    npm
}
