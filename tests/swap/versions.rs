//! Versions of transforms that are made without a compiler, and pipelines that are told to go over to them.

use std::path::PathBuf;

use penstock::store::dynamodb::DynamoDbStore;
use serde_json::Value;

use crate::live::pipeline::{Pipeline, wait};
use crate::live::topic::Topic;
use crate::support::servers::dynamodb::{SHARED, settings, table};
use crate::support::{HOST, transform};

/// The mark before the knobs in the guest `versioned`.
const MARK: u64 = 0x5eed_ba5e_0dd5_ca1e;

/// What a version of the guest `versioned` does wrong, or otherwise than usual.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wrong {
    Nothing,
    TrapsAtOnce,
    TrapsLater,
    NeverAnswers,
    TakesMemory,
    DoesNotOpen,
    MigrationTraps,
    MigrationNeverAnswers,
    MigrationLosesRows,
    MigrationAddsRows,
    MigrationTakesMemory,
    MigrationTrapsAfterTheTrial,
    /// It has nothing to say of windows with an odd number of rows.
    IsSilentAtTimes,
    FinishTraps,
    MergeTraps,
    /// The sum of each window that it finishes is what it adds to rows: so that each output says who made it.
    Signs,
}

/// Windows whose features the guest `versioned` has.
pub(super) const WINDOW: &str = "kind = \"tumbling\"\nsize = \"1m\"\nallowed_lateness = \"2m\"";

/// The bytes of a transform with a section that means nothing: another version that does the same.
pub(super) fn same_but(name: &str, number: u8) -> Vec<u8> {
    let mut bytes = std::fs::read(transform(name)).unwrap();
    // A custom section (WebAssembly, "Custom Section"): 0, its size, the length of its name, the name, its contents.
    bytes.extend([0, 3, 1, b'v', number]);
    bytes
}

/// The bytes of a version of the guest `versioned` that adds something to the amount of each row.
pub(super) fn version(adds: u64, wrong: Wrong) -> Vec<u8> {
    of_guest("versioned", adds, wrong)
}

/// The same of the guest `successor`, whose states are others.
pub(super) fn successor(adds: u64, wrong: Wrong) -> Vec<u8> {
    of_guest("successor", adds, wrong)
}

fn of_guest(guest: &str, adds: u64, wrong: Wrong) -> Vec<u8> {
    let mut bytes = std::fs::read(transform(guest)).unwrap();
    let mark = MARK.to_le_bytes();
    let mut places = (0..bytes.len() - 24).filter(|at| bytes[*at..].starts_with(&mark));
    let place = places.next().expect("the mark is in its data");
    assert_eq!(places.next(), None, "the mark is there once");
    let wrong: u64 = match wrong {
        Wrong::Nothing => 0,
        Wrong::TrapsAtOnce => 1,
        Wrong::TrapsLater => 2,
        Wrong::NeverAnswers => 3,
        Wrong::TakesMemory => 4,
        Wrong::DoesNotOpen => 5,
        Wrong::MigrationTraps => 6,
        Wrong::MigrationNeverAnswers => 7,
        Wrong::MigrationLosesRows => 8,
        Wrong::MigrationAddsRows => 9,
        Wrong::MigrationTakesMemory => 10,
        Wrong::MigrationTrapsAfterTheTrial => 11,
        Wrong::IsSilentAtTimes => 12,
        Wrong::FinishTraps => 13,
        Wrong::MergeTraps => 14,
        Wrong::Signs => 15,
    };
    bytes[place + 8..place + 16].copy_from_slice(&adds.to_le_bytes());
    bytes[place + 16..place + 24].copy_from_slice(&wrong.to_le_bytes());
    bytes
}

/// A pipeline that begins with a version of the guest `versioned`.
pub(super) fn pipeline(topic: &Topic, group: &str, adds: u64, run: &str) -> Pipeline {
    let begin = version(adds, Wrong::Nothing);
    beginning_with(begin, Pipeline::over(topic, group, WINDOW, run))
}

/// A pipeline that begins with a transform, and whose features go to a table of its name.
pub(super) fn with_table(topic: &Topic, name: &str, run: &str, begin: Vec<u8>) -> Pipeline {
    HOST.io.block_on(DynamoDbStore::init(&table(name))).unwrap();
    let store = format!("dynamodb://{name}\"\nstate = \"state");
    let settings = settings(&format!("http://127.0.0.1:{}", SHARED.port()));
    let pipeline = Pipeline::with_store(topic, name, WINDOW, run, (&store, &settings));
    beginning_with(begin, pipeline)
}

/// A pipeline with another transform, which looks often which one is wanted.
pub(super) fn beginning_with(begin: Vec<u8>, pipeline: Pipeline) -> Pipeline {
    let text = pipeline.folder.text("pipeline.toml");
    let text = text.replace(
        &format!("{:?}", transform("ledger")),
        &format!("{:?}", pipeline.folder.write("begin.wasm", begin)),
    );
    let text = text.replace("validation = { max = 3000.0 }\n", "");
    pipeline
        .folder
        .write("pipeline.toml", text + "[swap]\nlook_every = \"50ms\"\n");
    pipeline
}

/// Asks for a version, and does not wait.
pub(super) fn ask(pipeline: &Pipeline, name: &str, bytes: Vec<u8>) -> u64 {
    let file: PathBuf = pipeline.folder.write(name, bytes);
    ask_for(pipeline, file.to_str().unwrap(), &[])
}

/// Asks for a component by its file or its version, with more options, and does not wait.
pub(super) fn ask_for(pipeline: &Pipeline, component: &str, more: &[&str]) -> u64 {
    let swap = ["swap", "totals", component, "--wait", "0s", "--json"];
    let asked = pipeline.folder.penstock(&[&swap[..], more].concat());
    number(&json(&asked.fine())["generation"])
}

/// Asks for a version, and waits until all lanes have it.
pub(super) fn swap(pipeline: &Pipeline, name: &str, bytes: Vec<u8>) -> u64 {
    let number = ask(pipeline, name, bytes);
    until_all_have(pipeline, number);
    number
}

/// Waits until every lane has committed as this generation.
pub(super) fn until_all_have(pipeline: &Pipeline, number: u64) {
    let mut last = Vec::new();
    wait(
        || {
            last = generations(pipeline);
            !last.is_empty() && last.iter().all(|it| *it == number)
        },
        || format!("all lanes have generation {number}"),
    );
}

/// Whether a line of [`Pipeline::store`] is a sum of a version that adds a million to each amount.
pub(super) fn is_wrong(line: &str) -> bool {
    let mut numbers = line.split(|char: char| !char.is_ascii_digit() && char != '.');
    line.contains("sum") && numbers.any(|it| it.find('.').is_some_and(|digits| digits >= 7))
}

/// The generation of each lane's last commit.
pub(super) fn generations(pipeline: &Pipeline) -> Vec<u64> {
    let status = json(
        &pipeline
            .folder
            .penstock(&["status", "totals", "--json"])
            .fine(),
    );
    let lanes = status["lanes"].as_array().unwrap().iter();
    lanes.map(|lane| number(&lane["generation"])).collect()
}

/// The generations that there were: what became of each, and why.
pub(super) fn history(pipeline: &Pipeline) -> Vec<(u64, String, String)> {
    let history = json(
        &pipeline
            .folder
            .penstock(&["history", "totals", "--json"])
            .fine(),
    );
    let all = history.as_array().unwrap().iter();
    all.map(|it| {
        let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        (number(&it["generation"]), text("fate"), text("reason"))
    })
    .collect()
}

/// What hosts have to say about a generation, in order.
pub(super) fn notes(pipeline: &Pipeline, generation: u64) -> Vec<String> {
    let history = (pipeline.folder).penstock(&["history", "totals", "--json"]);
    let history = json(&history.fine());
    let mut all = history.as_array().unwrap().iter();
    let it = all.find(|it| number(&it["generation"]) == generation);
    let notes = it.unwrap()["notes"].as_array().unwrap().iter();
    let texts = notes.map(|note| note["text"].as_str().unwrap().to_owned());
    texts.collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
