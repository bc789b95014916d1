//! The registry goes away while a pipeline is asked to go over to another version: it stays what it was, or goes over,
//! and says which and why.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use penstock_servers::{S3, Server};

use super::versions::{Wrong, ask_for, generations, history, pipeline, until_all_have, version};
use crate::live::pipeline::{Pipeline, wait};
use crate::live::topic::Topic;
use crate::support::proxy::{Fate, Proxy};
use crate::support::servers::s3;

const RUN: &str = "lanes = 1\ncommit_every = \"5ms\"";

/// Pushes a version of the transform that adds something, signed by `ci.key` where it says so.
fn push(pipeline: &Pipeline, name: &str, adds: u64, more: &[&str]) {
    let file = format!("{adds}.wasm");
    pipeline.folder.write(&file, version(adds, Wrong::Nothing));
    let push = ["push", file.as_str(), name].into_iter();
    let push: Vec<&str> = push.chain(more.iter().copied()).collect();
    pipeline.folder.penstock(&push).fine();
}

/// What became of a generation, and why.
fn fate_of(pipeline: &Pipeline, number: u64) -> (String, String) {
    let mut history = history(pipeline).into_iter();
    let found = history.find(|it| it.0 == number);
    let (_, fate, reason) = found.expect("it was asked for");
    (fate, reason)
}

#[test]
fn a_version_that_was_asked_for_is_gone_over_to_without_the_registry() {
    let mut topic = Topic::new("registry-away", 1, 31);
    let pipeline = pipeline(&topic, "registry-away", 0, RUN);
    topic.write(300);
    let mut process = pipeline.start_with_all(&topic, "one");
    pipeline.catch_up(&topic, &mut [&mut process]);
    let registry = pipeline.folder.path(".penstock/registry");

    // While a host is at work.
    push(&pipeline, "totals@2", 2, &[]);
    let number = ask_for(&pipeline, "totals@2", &[]);
    fs::remove_dir_all(&registry).unwrap();
    until_all_have(&pipeline, number);
    topic.write(300);
    pipeline.catch_up(&topic, &mut [&mut process]);
    process.stop();

    // While none is.
    push(&pipeline, "totals@3", 3, &[]);
    let number = ask_for(&pipeline, "totals@3", &[]);
    fs::remove_dir_all(&registry).unwrap();
    topic.write(300);
    let mut process = pipeline.start_with_all(&topic, "one");
    until_all_have(&pipeline, number);
    pipeline.catch_up(&topic, &mut [&mut process]);
    process.stop();
    assert_eq!(fate_of(&pipeline, number).0, "running");
}

/// A pipeline whose hosts want signatures, and see a registry on S3 through a proxy. Whoever operates it, in the
/// environment `operator`, sees it directly; the environment `careless` wants no signatures.
struct Signed {
    pipeline: Pipeline,
    is_away: Arc<AtomicBool>,
    proxy: Proxy,
    _server: Server<S3>,
}

impl Signed {
    fn new(topic: &Topic, group: &str) -> Self {
        let server = s3::start();
        server.make_bucket("transforms").unwrap();
        let is_away = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_away);
        let proxy = Proxy::by(server.port(), move || match seen.load(Ordering::Relaxed) {
            true => Fate::Refuse(503),
            false => Fate::Pass,
        });
        let pipeline = pipeline(topic, group, 0, RUN);
        let key = pipeline.folder.penstock(&["keygen", "ci.key"]).fine();
        let trust = format!("required = true\nkeys = {{ ci = \"{}\" }}\n", key.trim());
        let place = "store = \"store\"\nregistry = \"s3://transforms/all\"\n";
        let hosts = pipeline.folder.text("penstock.toml");
        let hosts = hosts.replace("store = \"store\"\n", place);
        let operator = s3::options(server.port()).replace("local", "operator");
        pipeline.folder.write(
            "penstock.toml",
            format!(
                "{hosts}{}[environments.local.signatures]\n{trust}\
                 [environments.operator]\n{place}{operator}[environments.operator.signatures]\n{trust}\
                 [environments.careless]\nstore = \"store\"\n",
                s3::options(proxy.port)
            ),
        );
        Self {
            pipeline,
            is_away,
            proxy,
            _server: server,
        }
    }

    fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    /// Pushes a version, signed, and asks for it.
    fn ask(&self, name: &str, adds: u64) -> u64 {
        const OPERATOR: [&str; 2] = ["--env", "operator"];
        let signed = [&["--sign", "ci.key"][..], &OPERATOR].concat();
        push(&self.pipeline, name, adds, &signed);
        ask_for(&self.pipeline, name, &OPERATOR)
    }
}

#[test]
fn where_signatures_are_required_a_registry_that_stays_away_refuses_and_one_that_comes_back_does_not()
 {
    let mut topic = Topic::new("registry-away-signed", 1, 32);
    let signed = Signed::new(&topic, "registry-away-signed");
    let pipeline = &signed.pipeline;
    topic.write(300);
    let mut process = pipeline.start_with_all(&topic, "one");
    pipeline.catch_up(&topic, &mut [&mut process]);

    signed.set_away(true);
    let refused = signed.ask("totals@2", 2);
    wait(
        || {
            process.is_alive();
            fate_of(pipeline, refused).0 == "refused"
        },
        || "a version that nobody can vouch for is refused".to_owned(),
    );
    let (_, reason) = fate_of(pipeline, refused);
    assert!(reason.contains("the registry of transforms"), "{reason}");
    topic.write(300);
    pipeline.catch_up(&topic, &mut [&mut process]);
    assert_eq!(generations(pipeline), [1]);

    // It comes back while the host is at it.
    let asked_before = signed.proxy.connections();
    let wanted = signed.ask("totals@3", 3);
    wait(
        || signed.proxy.connections() > asked_before,
        || "the registry is asked".to_owned(),
    );
    signed.set_away(false);
    until_all_have(pipeline, wanted);
    assert_eq!(fate_of(pipeline, wanted).0, "running");
    topic.write(300);
    pipeline.catch_up(&topic, &mut [&mut process]);
    process.stop();

    // Whoever starts believes the store no more than whoever runs.
    signed.set_away(true);
    let never = pipeline.start("one");
    never.fails(1, &["the registry of transforms"]);
    assert_eq!(fate_of(pipeline, wanted).0, "running");
    signed.set_away(false);
    let mut process = pipeline.start_with_all(&topic, "one");
    topic.write(300);
    pipeline.catch_up(&topic, &mut [&mut process]);
    assert_eq!(generations(pipeline), [wanted]);

    // What was at work needs no registry to be gone back to.
    let wrong = signed.ask("totals@4", 4);
    until_all_have(pipeline, wrong);
    signed.set_away(true);
    let back = ["rollback", "totals", "--reason", "it is wrong"];
    pipeline.folder.penstock(&back).fine();
    until_all_have(pipeline, wanted);
    topic.write(300);
    pipeline.catch_up(&topic, &mut [&mut process]);
    process.stop();
}

#[test]
fn a_version_whose_name_has_come_to_mean_something_else_is_refused_at_a_start() {
    let mut topic = Topic::new("registry-rewritten", 1, 34);
    let pipeline = pipeline(&topic, "registry-rewritten", 0, RUN);
    push(&pipeline, "totals@1", 1, &[]);
    push(&pipeline, "totals@2", 2, &[]);
    let text = pipeline.folder.text("pipeline.toml");
    let line = text.lines().find(|line| line.starts_with("transform"));
    let text = text.replace(line.unwrap(), "transform = \"totals@1\"");
    pipeline.folder.write("pipeline.toml", text);
    topic.write(300);
    let mut process = pipeline.start_with_all(&topic, "one");
    pipeline.catch_up(&topic, &mut [&mut process]);
    process.stop();
    let version = |number: u32| {
        let path = format!(".penstock/registry/versions/totals/{number}/version.json");
        pipeline.folder.path(&path)
    };
    fs::copy(version(2), version(1)).unwrap();
    let says = [
        "totals@1 is sha256:",
        "in generation 1",
        "a version never changes",
    ];
    pipeline.start("one").fails(2, &says);
    assert_eq!(history(&pipeline).len(), 1);
}

#[test]
fn what_is_not_from_the_registry_is_refused_where_signatures_are_required() {
    let mut topic = Topic::new("registry-unsigned", 1, 33);
    let signed = Signed::new(&topic, "registry-unsigned");
    let pipeline = &signed.pipeline;
    topic.write(300);
    let mut process = pipeline.start_with_all(&topic, "one");
    pipeline.catch_up(&topic, &mut [&mut process]);
    pipeline
        .folder
        .write("two.wasm", version(2, Wrong::Nothing));
    let swap = ["swap", "totals", "two.wasm", "--wait", "60s"];
    pipeline.folder.penstock(&swap).fails(2, &["signatures"]);
    assert_eq!(history(pipeline).len(), 1);
    // Somebody who may write to the store has it written there all the same.
    let swap = [&swap[..], &["--env", "careless"]].concat();
    let says = ["generation 2 was refused", "it is not from the registry"];
    pipeline.folder.penstock(&swap).fails(2, &says);
    process.is_alive();
    assert_eq!(generations(pipeline), [1]);
    process.stop();
}
