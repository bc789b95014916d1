//! Messages of the first stage come back as the partial states that they were, and anything else is refused.

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, Int64Type};
use proptest::prelude::*;

use super::*;
use crate::pipeline::live::partial::{Body, placed, streams};
use crate::pipeline::plan::{Plan, WindowPlan, Work};
use crate::pipeline::state_room::StateRoom;
use crate::sink::kafka::Published;
use crate::source::{Origin, Origins};
use crate::transform::WindowedSpec;
use crate::window::{Kind, Length, Panes, Partials, Shape, TakenPartials};

const SIZE: i64 = 60;

fn layout(pipeline: &str, state_version: u32) -> Arc<Layout> {
    let fields = |fields: Vec<Field>| Arc::new(Schema::new(fields));
    let state = fields(vec![
        Field::new("sum", DataType::Float64, false),
        Field::new("note", DataType::Utf8, true),
    ]);
    let initial: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![0.0])),
        Arc::new(StringArray::new_null(1)),
    ];
    let windows = WindowPlan {
        spec: WindowedSpec {
            columns: Vec::new(),
            initial: RecordBatch::try_new(Arc::clone(&state), initial).unwrap(),
            output: Arc::clone(&state),
            state,
            state_version,
            migrates_from: Vec::new(),
        },
        shape: Shape {
            kind: Kind::Aligned {
                panes: Panes::new(SIZE, 0).unwrap(),
                lengths: vec![Length {
                    panes: 1,
                    step: 1,
                    growing: false,
                }],
            },
            lateness: 0,
            per_batch: false,
        },
        lengths: vec![SIZE],
    };
    let key = fields(vec![Field::new("key", DataType::Int64, false)]);
    let plan = Plan {
        pipeline: pipeline.to_owned(),
        source: Arc::clone(&key),
        input: Vec::new(),
        key: vec![0],
        key_schema: key,
        work: Work::Partials(windows.clone()),
        call_bytes: 1,
        call_groups: 1,
        room: Arc::new(StateRoom::new(&crate::config::Limits::default())),
    };
    Arc::new(Layout::of(&plan, &windows, "tumbling 1m").unwrap())
}

/// Keys, and how many rows each has.
fn taken(groups: &[(i64, u64)]) -> TakenPartials {
    let starts: Vec<i64> = groups
        .iter()
        .map(|(key, _)| key.rem_euclid(7) * SIZE)
        .collect();
    let keys = Int64Array::from_iter_values(groups.iter().map(|(key, _)| *key));
    let sums = Float64Array::from_iter_values(groups.iter().map(|(key, _)| *key as f64 / 3.0));
    let notes: StringArray = groups
        .iter()
        .map(|(key, _)| (key % 3 != 0).then(|| format!("note {key}")))
        .collect();
    TakenPartials {
        keys: vec![Arc::new(keys)],
        panes: starts.iter().map(|start| start / SIZE).collect(),
        partials: Partials {
            states: vec![Arc::new(sums), Arc::new(notes)],
            rows: groups.iter().map(|(_, rows)| *rows).collect(),
        },
        least: starts.clone(),
        greatest: starts.iter().map(|start| start + SIZE - 1).collect(),
    }
}

fn value(layout: &Layout, (lane, sequence): (u32, u64), what: What<'_>) -> Vec<u8> {
    let body = Body {
        pipeline: layout.pipeline(),
        digest: *layout.digest(),
        lane,
        lanes: 2,
        begun: 5,
        generation: 1,
        what,
    };
    placed(Published { epoch: 1, sequence }, &body.encode())
}

fn batch(values: &[Vec<u8>]) -> LaneBatch {
    let times = arrow::array::TimestampMicrosecondArray::from(vec![0; values.len()]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times.with_timezone("UTC")),
        Arc::new(BinaryArray::from_iter_values(values)),
    ];
    let mut origins = Origins::default();
    let first = Origin {
        split: 0,
        position: 100,
    };
    origins.push(0, first);
    LaneBatch {
        rows: RecordBatch::try_new(source_columns(), columns).unwrap(),
        event_times: vec![0; values.len()].into(),
        watermarks: None,
        picked: None,
        source_row: None,
        sequences: 0..values.len() as u64,
        origins: Arc::new(origins),
        watermark: 0,
        place: None,
        unreached: None,
    }
}

fn assembly(layout: &Arc<Layout>) -> Assembly {
    let kept = serde_json::Value::Null;
    Assembly::new(Arc::clone(layout), false, kept).unwrap()
}

fn refusal(layout: &Arc<Layout>, values: &[Vec<u8>]) -> String {
    let assembled = assembly(layout).assemble(&batch(values));
    let error = assembled.err().expect("it is refused").to_string();
    assert!(error.contains("offset 10"), "{error}");
    error
}

proptest! {
    #[test]
    fn partial_states_come_back_from_all_partitions(
        groups in prop::collection::vec((-50..50_i64, 1..9_u64), 1..60), partitions in 1..6_u32,
    ) {
        let layout = layout("rides", 1);
        let taken = taken(&groups);
        let mut found = Vec::new();
        let mut partition_of = std::collections::BTreeMap::new();
        for (sequence, (partition, stream)) in (0..).zip(streams(&taken, &layout, partitions).unwrap()) {
            prop_assert!(partition < partitions);
            let marker = |lane, watermark| {
                let is_idle = false;
                value(&layout, (lane, sequence), What::Marker { watermark, is_idle })
            };
            let partials = value(&layout, (1, sequence + 1), What::Partials(&stream));
            // The same once more, and nothing comes of it.
            let values = [marker(0, 30), marker(1, 20), partials.clone(), partials, marker(0, 40)];
            let assembled = assembly(&layout).assemble(&batch(&values)).unwrap();
            let rows = assembled.rows;
            prop_assert_eq!(rows.watermark, 20);
            let watermarks = rows.watermarks.unwrap();
            prop_assert!(watermarks.iter().all(|watermark| *watermark == 20));
            prop_assert!(assembled.source_row.iter().all(|row| *row == 2));
            let partials = rows.partials.unwrap();
            let keys = rows.keys[0].as_primitive::<Int64Type>();
            let sums = partials.states[0].as_primitive::<Float64Type>();
            let notes = partials.states[1].as_string::<i32>();
            for row in 0..keys.len() {
                let key = keys.value(row);
                prop_assert_eq!(*partition_of.entry(key).or_insert(partition), partition);
                prop_assert_eq!(sums.value(row), key as f64 / 3.0);
                prop_assert_eq!(notes.is_null(row), key % 3 == 0);
                prop_assert_eq!(rows.event_times[row], key.rem_euclid(7) * SIZE);
                found.push((key, partials.rows[row]));
            }
        }
        let mut expected = groups;
        expected.sort_unstable();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn damage_is_refused_or_other_states_and_never_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let layout = layout("rides", 1);
        let (_, stream) = streams(&taken(&[(1, 2), (8, 3)]), &layout, 1).unwrap().remove(0);
        let mut damaged = value(&layout, (0, 0), What::Partials(&stream));
        for (at, byte) in changes {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        if let Some(cut) = cut {
            damaged.truncate(cut.index(damaged.len()));
        }
        let _ = assembly(&layout).assemble(&batch(&[damaged]));
    }
}

#[test]
fn what_is_of_another_making_is_refused() {
    let mine = layout("rides", 1);
    let good = |layout: &Arc<Layout>| {
        let (_, stream) = streams(&taken(&[(1, 2)]), layout, 1).unwrap().remove(0);
        value(layout, (0, 0), What::Partials(&stream))
    };
    let other = good(&layout("rides", 2));
    assert!(refusal(&mine, &[other]).contains("another schema"));
    let other = good(&layout("walks", 1));
    assert!(refusal(&mine, &[other]).contains("of pipeline `walks`"));
    let refused = refusal(&mine, &[b"{}".to_vec()]);
    assert!(
        refused.contains("not one of a pipeline's partial states"),
        "{refused}"
    );
    assert!(refusal(&mine, &[vec![3, 0]]).contains("layout 3"));
    let empty = value(&mine, (0, 0), What::Partials(b"no stream"));
    assert!(refusal(&mine, &[empty]).contains("not one of"));
}

#[test]
fn partial_states_that_cannot_be_are_refused() {
    let layout = layout("rides", 1);
    let refused = |change: fn(&mut TakenPartials)| {
        let mut taken = taken(&[(1, 2), (2, 1)]);
        change(&mut taken);
        let (_, stream) = streams(&taken, &layout, 1).unwrap().remove(0);
        refusal(&layout, &[value(&layout, (0, 0), What::Partials(&stream))])
    };
    let told = refused(|taken| taken.partials.rows = vec![1, 0].into());
    assert!(told.contains("has no rows"), "{told}");
    let told = refused(|taken| taken.least[1] -= 1);
    assert!(told.contains("not in its pane 2"), "{told}");
    let told = refused(|taken| taken.panes[0] = i64::MAX);
    assert!(told.contains("not in its pane"), "{told}");
    let told = refused(|taken| taken.partials.rows = vec![u64::MAX, u64::MAX].into());
    assert!(told.contains("more rows than there can be"), "{told}");
}

#[test]
fn what_was_taken_is_known_after_a_restart() {
    let layout = layout("rides", 1);
    let (_, stream) = streams(&taken(&[(1, 2)]), &layout, 1).unwrap().remove(0);
    let partials = value(&layout, (0, 7), What::Partials(&stream));
    let mut first = assembly(&layout);
    let taken = first
        .assemble(&batch(std::slice::from_ref(&partials)))
        .unwrap();
    assert_eq!(taken.rows.len(), 1);
    let mut second = Assembly::new(Arc::clone(&layout), false, first.kept()).unwrap();
    let again = second.assemble(&batch(&[partials])).unwrap();
    assert_eq!(again.rows.len(), 0);
    let kept = serde_json::json!({"lanes": "many"});
    assert!(Assembly::new(layout, false, kept).is_err());
}

#[test]
fn fuzz_partial_states() {
    let layout = layout("rides", 1);
    let groups = taken(&[(1, 2), (9, 1), (-3, 5)]);
    let mut seeds: Vec<Vec<u8>> = streams(&groups, &layout, 2)
        .unwrap()
        .into_iter()
        .map(|(_, stream)| value(&layout, (1, 7), What::Partials(&stream)))
        .collect();
    let (watermark, is_idle) = (30, true);
    seeds.push(value(&layout, (0, 1), What::Marker { watermark, is_idle }));
    let before = seeds.clone();
    crate::fuzz::run("partial_states", seeds, |input| {
        // Beside some that are good, and after them.
        let values: Vec<Vec<u8>> = before.iter().cloned().chain([input.to_vec()]).collect();
        let Ok(assembled) = assembly(&layout).assemble(&batch(&values)) else {
            return;
        };
        let partials = assembled.rows.partials.expect("there are no rows");
        assert_eq!(assembled.source_row.len(), partials.rows.len());
        for column in partials.states.iter().chain(&assembled.rows.keys) {
            column
                .to_data()
                .validate_full()
                .expect("decoders check what they give");
        }
    });
}
