//! The history of features after a rollback: the files keep what the wrong version wrote, and it counts no more.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{UInt32Type, UInt64Type};
use arrow::util::display::array_value_to_string;
use penstock::store::offline::OfflineStore;

use super::versions::{WINDOW, Wrong, beginning_with, swap, until_all_have, version};
use crate::live::pipeline::Pipeline;
use crate::live::topic::Topic;
use crate::support::HOST;

const RUN: &str = "lanes = 2\ncommit_every = \"5ms\"";

/// The text of key, event time and window.
type Of = [String; 3];
/// Epoch and sequence, and the values.
type Write = ((u64, u64), Vec<String>);

/// A pipeline with a history, whose version has something to say of every other window.
fn with_history(topic: &Topic, name: &str) -> Pipeline {
    let store = ("store\"\noffline = \"history", "");
    let pipeline = Pipeline::with_store(topic, name, WINDOW, RUN, store);
    beginning_with(version(0, Wrong::IsSilentAtTimes), pipeline)
}

/// The last write of each, of all or of those that count.
fn last_writes(pipeline: &Pipeline, with_taken_back: bool) -> BTreeMap<Of, Vec<String>> {
    let place = penstock::config::StorePlace::Folder(pipeline.folder.path("history"));
    let store = OfflineStore::open(&place).unwrap();
    let mut found = BTreeMap::<Of, Write>::new();
    HOST.io.block_on(async {
        let taken_back = store.taken_back("totals").await.unwrap();
        for file in store.files("key").await.unwrap() {
            let rows = store.read(&file.name).await.unwrap();
            let column = |name: &str| rows.column_by_name(name).unwrap();
            let lanes = column("_lane").as_primitive::<UInt32Type>();
            let epochs = column("_epoch").as_primitive::<UInt64Type>();
            let sequences = column("_sequence").as_primitive::<UInt64Type>();
            for row in 0..rows.num_rows() {
                let (lane, epoch) = (lanes.value(row), epochs.value(row));
                let is_taken_back = taken_back.iter().any(|it| it.has("totals", lane, epoch));
                if is_taken_back && !with_taken_back {
                    continue;
                }
                let text = |name: &str| array_value_to_string(column(name), row).unwrap();
                let fields = rows.schema_ref().fields().iter();
                let features = fields.filter(|field| field.name().contains('@'));
                let values = features.map(|field| text(field.name())).collect();
                let order = (epoch, sequences.value(row));
                let write = found.entry(["key", "_event_time", "_window"].map(text));
                let write = write.or_insert_with(|| (order, Vec::new()));
                if order >= write.0 {
                    *write = (order, values);
                }
            }
        }
    });
    let last = found.into_iter();
    last.map(|(of, (_, values))| (of, values)).collect()
}

#[test]
fn what_only_the_wrong_version_wrote_counts_no_more() {
    let mut topic = Topic::new("taken-back-history", 2, 10);
    let disturbed = with_history(&topic, "taken-back-history");
    topic.write(1_000);
    let mut process = disturbed.start_with_all(&topic, "one");
    disturbed.catch_up(&topic, &mut [&mut process]);
    swap(&disturbed, "wrong.wasm", version(1_000_000, Wrong::Nothing));
    topic.write(3_000);
    disturbed.catch_up(&topic, &mut [&mut process]);
    // At the end everything is written, and the history does not hear of the way back, as its place takes no more.
    process.stop();
    let away = disturbed.folder.path("history/_taken_back");
    std::fs::write(&away, "in the way").unwrap();
    let back = ["rollback", "totals", "--reason", "it says too much"];
    disturbed.folder.penstock(&back).fine();
    let mut process = disturbed.start_with_all(&topic, "one");
    until_all_have(&disturbed, 1);
    topic.write(500);
    disturbed.catch_up(&topic, &mut [&mut process]);
    process.stop();
    std::fs::remove_file(away).unwrap();
    // Whoever opens the lanes next says it.
    let mut process = disturbed.start_with_all(&topic, "one");
    topic.write(100);
    disturbed.catch_up(&topic, &mut [&mut process]);
    process.stop();

    let undisturbed = with_history(&topic, "taken-back-history-undisturbed");
    undisturbed.finish(&topic, "one");
    let expected = last_writes(&undisturbed, true);
    let found = last_writes(&disturbed, false);
    assert!(expected.len() > 100, "{} windows", expected.len());
    let wrong = found.iter().find(|it| expected.get(it.0) != Some(it.1));
    assert_eq!(wrong, None);
    assert_eq!(found.len(), expected.len());
    // The files have more.
    assert!(last_writes(&disturbed, true).len() > expected.len());
}
