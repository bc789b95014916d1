//! A real S3 API on a free port of this machine: the server of `moto`, a Python package.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;

use super::HOST;

/// The program; `cargo xtask test` sees to it that there is one.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a file");
    let target = own
        .ancestors()
        .nth(3)
        .expect("three folders up is the target folder");
    let installed = target.join("servers/moto/bin/moto_server");
    if installed.exists() {
        return installed;
    }
    "moto_server".into()
}

/// A server that ends with this value. It holds what it was given in memory.
pub(crate) struct MotoServer {
    child: Child,
    pub(crate) port: u16,
}

impl MotoServer {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// One that asks for right credentials after so many requests. It knows none, so none are right.
    pub(crate) fn start_locking_after(requests: u32) -> Self {
        Self::start_with(&[("INITIAL_NO_AUTH_ACTION_COUNT", &requests.to_string())])
    }

    fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program());
        command
            .args(["-H", "127.0.0.1", "-p", "0"])
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("moto_server does not start ({error}): run `cargo xtask test` once, which installs it")
        });
        // The server chooses a free port and says which; it answers from then on.
        let mut told = BufReader::new(child.stderr.take().expect("it was piped just above"));
        let mut seen = String::new();
        let port = loop {
            let mut line = String::new();
            let read = told.read_line(&mut line).expect("its output is readable");
            seen.push_str(&line);
            assert!(read > 0, "moto_server ended at its start:\n{seen}");
            if let Some((_, rest)) = line.split_once("http://127.0.0.1:") {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break digits.parse().expect("a port is a number");
            }
        };
        // Its log must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        Self { child, port }
    }

    /// Makes a bucket.
    pub(crate) fn bucket(&self, name: &str) {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).expect("it is up");
        let request = format!(
            "PUT /{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
    }

    /// Writes an object.
    pub(crate) fn put(&self, bucket: &str, key: &str, contents: &[u8]) {
        put(self.port, bucket, key, contents);
    }
}

impl Drop for MotoServer {
    fn drop(&mut self) {
        // One that has ended already is no reason to fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes an object to the server at `port`, as the owner of what is there.
pub(crate) fn put(port: u16, bucket: &str, key: &str, contents: &[u8]) {
    let store = AmazonS3Builder::new()
        .with_endpoint(format!("http://127.0.0.1:{port}"))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(bucket)
        .with_access_key_id("AKIAEXAMPLE")
        .with_secret_access_key("not-to-be-shown")
        .build()
        .expect("the options are right");
    let contents = contents.to_vec().into();
    let put = HOST.io.block_on(store.put(&Path::from(key), contents));
    put.unwrap_or_else(|error| panic!("{bucket}/{key}: {error}"));
}

/// The options of an environment for an S3 server at `port`.
pub(crate) fn options(port: u16) -> String {
    format!(
        "[environments.local.object_store]\naws_endpoint = \"http://127.0.0.1:{port}\"\naws_allow_http = \"true\"\naws_region = \"us-east-1\"\naws_access_key_id = \"AKIAEXAMPLE\"\naws_secret_access_key = \"not-to-be-shown\"\ntimeout = \"2s\"\n"
    )
}
