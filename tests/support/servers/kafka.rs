//! Kafka: one broker that all tests of this process share, and what they do with its tools.

use std::io::Write;
use std::process::{Output, Stdio};
use std::sync::LazyLock;

use penstock_servers::{Kafka, Server};

/// The broker for tests that leave it alone, each with topics and groups of its own names. It starts at the first use.
/// Whoever stops or freezes a broker starts an own one.
pub(crate) static SHARED: LazyLock<Server<Kafka>> = LazyLock::new(|| super::start(Kafka));

/// Runs a tool of Kafka's with these lines as its input.
pub(crate) fn tool(kafka: &Server<Kafka>, class: &str, arguments: &[&str], lines: &str) -> Output {
    let mut tool = kafka
        .tool(&format!("org.apache.kafka.tools.{class}"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a Java, for Kafka runs");
    let mut input = tool.stdin.take().expect("it was piped just above");
    // A tool that ends without reading says why on its own.
    let _ = input.write_all(lines.as_bytes());
    drop(input);
    tool.wait_with_output().expect("its output is readable")
}

/// As [`tool`], on the listener without credentials, and it must succeed. Gives what it printed.
#[track_caller]
pub(crate) fn done(kafka: &Server<Kafka>, class: &str, arguments: &[&str], lines: &str) -> String {
    let bootstrap = kafka.bootstrap();
    let arguments = [&["--bootstrap-server", &bootstrap], arguments].concat();
    let output = tool(kafka, class, &arguments, lines);
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{class}: {printed}{errors}");
    printed
}

/// Makes a topic.
#[track_caller]
pub(crate) fn make_topic(kafka: &Server<Kafka>, topic: &str, partitions: u32) {
    let partitions = partitions.to_string();
    let arguments = ["--create", "--topic", topic, "--partitions", &partitions];
    done(kafka, "TopicCommand", &arguments, "");
}
