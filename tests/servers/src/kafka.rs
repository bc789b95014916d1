//! Apache Kafka: one node that is broker and controller (KRaft), and its tools.
//!
//! Data survive a stop and a kill. After a kill a new start takes some seconds more, for the controller must give the
//! old broker up first ([`SESSION_MS`]).

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::http::connect;
use crate::{Place, Run, Server, Service};

/// What the class path is made of: the broker, of its tools only themselves (with all that they could use they would
/// bring a web server), and a log on standard error.
const POM: &str = include_str!("kafka-pom.xml");

const SETTINGS: &str = include_str!("kafka.properties");

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// How long the controller waits for a broker that says nothing, in milliseconds.
const SESSION_MS: u32 = 3000;

/// A Kafka.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kafka;

impl Kafka {
    /// The one user whom the listener with SASL/PLAIN knows, and the password.
    pub const USER: (&str, &str) = ("penstock", "not-to-be-shown");
}

impl Service for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn version(&self) -> &'static str {
        "4.3.1"
    }

    fn about(&self) -> &'static str {
        "Apache Kafka, one node"
    }

    fn install(&self, folder: &Path, run: &mut Run<'_>) -> Result<()> {
        let pom = folder.join("pom.xml");
        fs::write(&pom, POM.replace("KAFKA_VERSION", self.version()))
            .with_context(|| format!("cannot write {}", pom.display()))?;
        let libraries = folder.join("libs");
        run(Command::new("mvn")
            .args(["--batch-mode", "--quiet", "--no-transfer-progress"])
            .arg("--file")
            .arg(&pom)
            .args([COPY, "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", libraries.display())))?;
        ensure!(libraries.is_dir(), "Maven copied nothing");
        Ok(())
    }

    fn ports(&self) -> usize {
        // For clients, for clients with SASL/PLAIN, and the controller's.
        3
    }

    fn prepare(&self, place: &Place) -> Result<()> {
        let settings = place.folder.join("server.properties");
        let (user, password) = Self::USER;
        let text = SETTINGS
            .replace("PLAIN_PORT", &place.ports[0].to_string())
            .replace("SASL_PORT", &place.ports[1].to_string())
            .replace("CONTROLLER_PORT", &place.ports[2].to_string())
            .replace("SASL_USER", user)
            .replace("SASL_PASSWORD", password)
            .replace("SESSION_MS", &SESSION_MS.to_string())
            .replace("FOLDER", &place.folder.join("data").to_string_lossy());
        fs::write(&settings, text)
            .with_context(|| format!("cannot write {}", settings.display()))?;
        let mut format = java(&place.installed, "kafka.tools.StorageTool");
        format.args(["format", "--cluster-id=cGVuc3RvY2stdGVzdHMtMQ", "--config"]);
        place.run(format.arg(&settings))
    }

    fn command(&self, place: &Place) -> Result<Command> {
        let mut kafka = java(&place.installed, "kafka.Kafka");
        kafka.arg(place.folder.join("server.properties"));
        Ok(kafka)
    }

    fn answers(&self, ports: &[u16]) -> Result<()> {
        let brokers = brokers(ports[0])?;
        ensure!(brokers == [ports[0]], "the brokers are at {brokers:?}");
        Ok(())
    }

    fn variables(&self, ports: &[u16]) -> Vec<(&'static str, String)> {
        vec![
            ("KAFKA_BOOTSTRAP_SERVERS", format!("127.0.0.1:{}", ports[0])),
            (
                "KAFKA_SASL_BOOTSTRAP_SERVERS",
                format!("127.0.0.1:{}", ports[1]),
            ),
        ]
    }
}

impl Server<Kafka> {
    /// Where clients without credentials connect first: `127.0.0.1:12345`.
    pub fn bootstrap(&self) -> String {
        self.address()
    }

    /// Where clients that log in with SASL/PLAIN connect first, as [`Kafka::USER`].
    pub fn sasl_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.place().ports[1])
    }

    /// A tool of Kafka's by its class, such as `org.apache.kafka.tools.TopicCommand`, without arguments.
    pub fn tool(&self, class: &str) -> Command {
        java(&self.place().installed, class)
    }
}

fn java(installed: &Path, class: &str) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-XX:+UseSerialGC"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-cp")
        .arg(installed.join("libs").join("*"))
        .arg(class);
    java
}

/// Asks a broker for the ports of all brokers that the controller knows to be well: the request `Metadata`, version 4,
/// of <https://kafka.apache.org/protocol>. None are, for a moment, when it just starts.
fn brokers(port: u16) -> Result<Vec<u16>> {
    const METADATA: i16 = 3;
    const VERSION: i16 = 4;
    let mut connection = connect(port)?;
    let mut request = Vec::new();
    request.extend(METADATA.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(0_i32.to_be_bytes());
    // Without a name of the client.
    request.extend((-1_i16).to_be_bytes());
    // No topics, and none to be made.
    request.extend(0_i32.to_be_bytes());
    request.push(0);
    connection.write_all(&(request.len() as u32).to_be_bytes())?;
    connection.write_all(&request)?;
    let mut length = [0; 4];
    connection.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    ensure!(length < 100_000, "the answer has {length} bytes");
    let mut answer = vec![0; length as usize];
    connection.read_exact(&mut answer)?;
    read_brokers(&answer).context("the answer is not of the form of Kafka's")
}

/// Reads an answer: number of the request, throttling, then the brokers with number, host, port and rack.
fn read_brokers(answer: &[u8]) -> Option<Vec<u16>> {
    let mut rest = answer.get(8..)?;
    let count = i32::from_be_bytes(*take(&mut rest)?);
    let mut ports = Vec::new();
    for _ in 0..count {
        let _number: &[u8; 4] = take(&mut rest)?;
        skip_text(&mut rest)?;
        let port = i32::from_be_bytes(*take(&mut rest)?);
        ports.push(u16::try_from(port).ok()?);
        skip_text(&mut rest)?;
    }
    Some(ports)
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(taken)
}

/// A text of length -1 is none.
fn skip_text(rest: &mut &[u8]) -> Option<()> {
    let length = i16::from_be_bytes(*take(rest)?);
    *rest = rest.get(usize::try_from(length).unwrap_or(0)..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_read_from_an_answer() {
        // Of a Kafka 4.3.1 at port 21092.
        let answer = b"\0\0\0\x07\0\0\0\0\0\0\0\x01\0\0\0\x01\0\t127.0.0.1\0\0Rd\xff\xff\0\x16cGVuc3RvY2stdGVzdHMtMQ\0\0\0\x01\0\0\0\0";
        assert_eq!(read_brokers(answer), Some(vec![21092]));
        for end in 0..31 {
            assert_eq!(read_brokers(&answer[..end]), None, "{end}");
        }
    }
}
