//! S3: the server of `moto`, a Python package. Its conditional puts are atomic. It holds all objects in memory, so a
//! stop or a kill loses them.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::{Place, Run, Server, Service, http};

/// What the server of `moto[server]` needs for S3 alone: a third of the whole.
const PACKAGES: [&str; 3] = ["moto[s3]==5.2.1", "flask==3.1.3", "flask-cors==6.0.5"];

/// An S3.
#[derive(Debug, Clone, Copy, Default)]
pub struct S3 {
    locks_after: Option<u32>,
}

impl S3 {
    /// One that asks for right credentials after so many requests. It knows none, so none are right.
    pub fn locking_after(requests: u32) -> Self {
        Self {
            locks_after: Some(requests),
        }
    }
}

impl Service for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn version(&self) -> &'static str {
        "5.2.1"
    }

    fn about(&self) -> &'static str {
        "S3 (moto)"
    }

    fn install(&self, folder: &Path, run: &mut Run<'_>) -> Result<()> {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let options = ["-m", "pip", "install", "--quiet"];
        run(Command::new(folder.join("bin/python"))
            .args(options)
            .arg("--disable-pip-version-check")
            .args(PACKAGES))
    }

    fn command(&self, place: &Place) -> Result<Command> {
        // Not bin/moto_server, whose first line names the folder that it was installed in before that was renamed.
        let mut python = Command::new(place.installed.join("bin/python"));
        python
            .args(["-m", "moto.server", "-H", "127.0.0.1"])
            .args(["-p", &place.ports[0].to_string()]);
        if let Some(requests) = self.locks_after {
            python.env("INITIAL_NO_AUTH_ACTION_COUNT", requests.to_string());
        }
        Ok(python)
    }

    fn answers(&self, ports: &[u16]) -> Result<()> {
        // A question about a bucket would count among the requests after which it locks.
        http::request(ports[0], "GET", "/moto-api/data.json", "", b"").map(|_| ())
    }

    fn variables(&self, ports: &[u16]) -> Vec<(&'static str, String)> {
        let endpoint = format!("http://127.0.0.1:{}", ports[0]);
        vec![
            ("AWS_ENDPOINT_URL_S3", endpoint),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ]
    }
}

impl Server<S3> {
    /// Makes a bucket.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub fn make_bucket(&self, name: &str) -> Result<()> {
        http::request(self.port(), "PUT", &format!("/{name}"), "", b"").map(|_| ())
    }
}
