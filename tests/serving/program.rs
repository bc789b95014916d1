//! `penstock serve` in a process of its own, and who asks it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use penstock::serve::grpc::{FeatureClient, client};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Folder, HOST};

/// A `penstock serve` at work.
pub(super) struct Serving {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub(super) rest: String,
    pub(super) grpc: String,
}

impl Serving {
    /// Serves the store of the folder's environment, over both protocols on ports that are free.
    pub(super) fn start(folder: &Folder) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
            .args(["serve", "--listen", "127.0.0.1:0", "--grpc", "127.0.0.1:0"])
            .current_dir(folder.path("."))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut address = |start: &str| {
            let mut line = String::new();
            stderr.read_line(&mut line).unwrap();
            let rest = line
                .strip_prefix(start)
                .unwrap_or_else(|| panic!("it said {line:?}"));
            let end = rest.find(": ").unwrap_or(rest.trim_end().len());
            rest[..end].to_owned()
        };
        let rest = address("serving features on ");
        let grpc = address("serving features over gRPC on ");
        Self {
            child,
            stderr,
            rest,
            grpc,
        }
    }

    /// What a request is answered with, as code and JSON.
    pub(super) fn ask(
        &self,
        request: impl FnOnce(reqwest::Client) -> reqwest::RequestBuilder,
    ) -> (u16, Value) {
        HOST.io.block_on(async {
            let answer = request(reqwest::Client::new()).send().await.unwrap();
            let code = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
            (code, body)
        })
    }

    pub(super) fn get(&self, path: &str) -> (u16, Value) {
        self.ask(|client| client.get(format!("http://{}{path}", self.rest)))
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask(|client| json_to(client.post(format!("http://{}{path}", self.rest)), body))
    }

    pub(super) fn client(&self) -> FeatureClient {
        client(&self.grpc).unwrap()
    }

    /// Ends it as a power cut would.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and gives what it said.
    pub(super) fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.stderr, &mut said).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{said}");
        said
    }
}

impl Drop for Serving {
    /// A test that fails leaves nothing behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request with a JSON body.
pub(super) fn json_to(request: reqwest::RequestBuilder, body: &Value) -> reqwest::RequestBuilder {
    let request = request.header("content-type", "application/json");
    request.body(body.to_string())
}
