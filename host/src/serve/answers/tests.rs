//! Answers against what a slower way gives, over a store in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeListArray,
    Float32Array, Float64Array, Int8Array, Int64Array, LargeStringArray, ListArray, StringArray,
    TimestampMicrosecondArray, UInt16Array,
};
use arrow::datatypes::{DataType, Field, Float32Type};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::columns::{STALE, Style, VALUE, Values, WRITTEN};
use super::*;
use crate::pipeline::telemetry::by_hand::ByHand;
use crate::store::{
    Declaration, FeatureBatch, FeatureColumn, FeatureName, FeatureReader, ItemPlace, Items,
};

/// A store that is a map.
#[derive(Default)]
struct Shelf {
    declarations: Vec<Declaration>,
    items: Mutex<BTreeMap<String, Bytes>>,
    looks: AtomicUsize,
    /// How often declarations were asked for.
    listed: AtomicUsize,
    /// Reading never ends.
    hangs: bool,
}

impl FeatureReader for Shelf {
    fn declarations<'a>(
        &'a self,
        group: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Declaration>, StoreError>> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        let declarations = self.declarations.iter();
        let found = declarations.filter(|it| group.is_none_or(|group| it.group == group));
        let found = found.cloned().collect();
        async { Ok(found) }.boxed()
    }

    fn find<'a>(
        &'a self,
        _: &'a str,
        _: &'a [FeatureName],
    ) -> BoxFuture<'a, Result<Vec<Arc<Declaration>>, StoreError>> {
        unreachable!("answers resolve names themselves")
    }

    fn items<'a>(
        &'a self,
        places: &'a [ItemPlace<'a>],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        self.looks.fetch_add(places.len(), Ordering::Relaxed);
        if self.hangs {
            return futures::future::pending().boxed();
        }
        let items = self.items.lock().unwrap();
        let found = places.iter().map(|it| items.get(it.entity).cloned());
        let found = found.collect();
        async { Ok(found) }.boxed()
    }
}

impl PutStore for Shelf {
    fn put(&self, _: crate::store::PutBatch) -> BoxFuture<'_, Result<(), StoreError>> {
        unreachable!("nothing is put on a shelf")
    }
}

fn declaration(feature: &str, version: u32, data_type: &DataType) -> Declaration {
    Declaration {
        group: "g".into(),
        feature: feature.into(),
        version,
        pipeline: "p".into(),
        window: "10m".into(),
        entity: vec!["key".into()],
        data_type: data_type.clone(),
        document: r#"{"freshness": "10s"}"#.into(),
    }
}

/// Three entities, `a`, `b` and `c`; a column of values of each type, of which the second is null.
fn shelf(columns: &[(&str, ArrayRef)], event_time: i64) -> Shelf {
    let entities: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let features: Vec<FeatureColumn<'_>> = columns
        .iter()
        .map(|(name, values)| FeatureColumn {
            name,
            version: 1,
            values,
        })
        .collect();
    let items = Items::encode(&FeatureBatch {
        group: "g",
        pipeline: "p",
        window: "10m",
        keys: &[entities],
        event_time: &TimestampMicrosecondArray::from(vec![event_time; 3]),
        epoch: 1,
        first_sequence: 0,
        features: &features,
    })
    .unwrap();
    let items = items.iter().map(|(entity, item)| {
        let entity = String::from_utf8(entity.to_vec()).unwrap();
        (entity, Bytes::copy_from_slice(item))
    });
    let declarations = columns.iter();
    Shelf {
        declarations: declarations
            .map(|(name, values)| declaration(name, 1, values.data_type()))
            .collect(),
        items: Mutex::new(items.collect()),
        ..Shelf::default()
    }
}

fn answers(shelf: Arc<Shelf>, settings: &Serving, clock: Arc<ByHand>) -> Answers {
    let access = Access::open(settings, &["127.0.0.1:0"]).unwrap();
    Answers::new(shelf, settings, access, clock, Arc::default())
}

fn ask(features: &[&str], entities: &[&str], style: Style) -> BatchGet {
    let owned = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect();
    BatchGet {
        group: "g".into(),
        entities: owned(entities),
        features: owned(features),
        style,
    }
}

fn get(answers: &Answers, asked: &BatchGet) -> Result<Answer, Refusal> {
    let caller = answers.caller(None).unwrap();
    futures::executor::block_on(answers.batch_get(&caller, asked))
}

fn every_type() -> Vec<(&'static str, ArrayRef)> {
    let item = || Arc::new(Field::new("item", DataType::Float32, true));
    let lists = vec![
        Some(vec![Some(1.5_f32), None, Some(-2.0)]),
        None,
        Some(vec![]),
    ];
    let fixed = vec![
        Some(vec![Some(1.0_f32), Some(2.0)]),
        None,
        Some(vec![Some(3.0), Some(4.0)]),
    ];
    let words = ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![Some(3)]),
    ]);
    vec![
        (
            "bool",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        (
            "int8",
            Arc::new(Int8Array::from(vec![Some(-7), None, Some(127)])),
        ),
        (
            "int64",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(1)])),
        ),
        (
            "uint16",
            Arc::new(UInt16Array::from(vec![Some(65_535), None, Some(1)])),
        ),
        (
            "float32",
            Arc::new(Float32Array::from(vec![Some(1.5), None, Some(f32::NAN)])),
        ),
        (
            "float64",
            Arc::new(Float64Array::from(vec![Some(0.1), None, Some(1e300)])),
        ),
        (
            "text",
            Arc::new(StringArray::from(vec![Some("ä\"\n"), None, Some("")])),
        ),
        (
            "long_text",
            Arc::new(LargeStringArray::from(vec![Some("x"), None, Some("y")])),
        ),
        (
            "blob",
            Arc::new(BinaryArray::from(vec![
                Some(&b"\0\xff"[..]),
                None,
                Some(b""),
            ])),
        ),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(11_353), None, Some(-1)])),
        ),
        (
            "time",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_500_000), None, Some(-1)])
                    .with_timezone("UTC"),
            ),
        ),
        (
            "money",
            Arc::new(
                Decimal128Array::from(vec![Some(150), None, Some(-1)])
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
        ),
        (
            "vector",
            Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists)),
        ),
        (
            "fixed_vector",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(fixed, 2)),
        ),
        ("ints", Arc::new(words)),
        ("none_at_all", Arc::new(ListArray::new_null(item(), 3))),
    ]
}

#[test]
fn values_of_every_type_are_those_that_were_written() {
    let columns = every_type();
    let shelf = Arc::new(shelf(&columns, 1_000));
    let answers = answers(shelf, &Serving::default(), Arc::default());
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let asked = ask(&names, &["c", "nobody", "a", "b"], Style::Plain);
    let answer = get(&answers, &asked).unwrap();
    for (column, (name, written)) in answer.columns.iter().zip(&columns) {
        let there = if *name == "none_at_all" {
            WRITTEN
        } else {
            WRITTEN | VALUE
        };
        assert_eq!(column.states, [there, 0, there, WRITTEN], "{name}");
        assert_eq!(column.event_times, [1_000, 0, 1_000, 1_000]);
        assert_eq!(column.feature.name, *name);
        let shown = crate::text::json_texts(written).unwrap();
        match &column.values {
            Values::Bools(values) => assert_eq!(values[..], [false, false, true, false]),
            Values::Ints(values) => match *name {
                "int8" => assert_eq!(values[..], [127, 0, -7, 0]),
                "int64" => assert_eq!(values[..], [1, 0, i64::MIN, 0]),
                "day" => assert_eq!(values[..], [-1, 0, 11_353, 0]),
                "time" => assert_eq!(values[..], [-1, 0, 1_500_000, 0]),
                other => panic!("{other}"),
            },
            Values::UInts(values) => assert_eq!(values[..], [1, 0, 65_535, 0]),
            Values::Floats(values) => assert!(values[0].is_nan() && values[2] == 1.5),
            Values::Doubles(values) => assert_eq!(values[..], [1e300, 0.0, 0.1, 0.0]),
            Values::Texts(values) => match *name {
                "text" => assert_eq!(values[..], ["", "", "ä\"\n", ""]),
                _ => assert_eq!(values[..], ["y", "", "x", ""]),
            },
            Values::Blobs(values) => assert_eq!(values[2], [0, 0xff]),
            Values::Vectors { lengths, floats } => match *name {
                "vector" => {
                    assert_eq!(lengths[..], [0, 0, 3, 0]);
                    assert!(floats[0] == 1.5 && floats[1].is_nan() && floats[2] == -2.0);
                }
                "fixed_vector" => {
                    assert_eq!(lengths[..], [2, 0, 2, 0]);
                    assert_eq!(floats[..], [3.0, 4.0, 1.0, 2.0]);
                }
                _ => assert_eq!(lengths[..], [0; 4]),
            },
            Values::Json(values) => {
                assert_eq!([&values[0], &values[2]], [&shown[2], &shown[0]], "{name}");
            }
        }
    }
    // As people read them, which JSON answers are made of.
    let answer = get(&answers, &ask(&names, &["a", "b"], Style::Shown)).unwrap();
    for (column, (name, written)) in answer.columns.iter().zip(&columns) {
        if let Values::Json(values) = &column.values {
            let shown = crate::text::json_texts(written).unwrap();
            let there = *name != "none_at_all";
            assert!(!there || values[0] == shown[0], "{name}: {values:?}");
        }
    }
}

#[test]
fn an_item_is_read_once_for_all_its_features() {
    let columns = every_type();
    let shelf = Arc::new(shelf(&columns, 0));
    let answers = answers(Arc::clone(&shelf), &Serving::default(), Arc::default());
    let entities = ["a", "b", "nobody"];
    let asked = ask(&["int64", "text", "int64@1"], &entities, Style::Plain);
    get(&answers, &asked).unwrap();
    assert_eq!(shelf.looks.load(Ordering::Relaxed), 3);
}

#[test]
fn what_is_past_its_time_to_live_is_as_if_it_had_never_been_written() {
    let mut shelf = shelf(&every_type(), 5_000_000);
    for declaration in &mut shelf.declarations {
        declaration.document = r#"{"ttl": "10s"}"#.into();
    }
    let clock = Arc::new(ByHand::default());
    let answers = answers(Arc::new(shelf), &Serving::default(), Arc::clone(&clock));
    let names = ["int64", "text", "float64", "bool"];
    let asked = ask(&names, &["a", "b", "nobody"], Style::Plain);
    clock.pass(Duration::from_micros(14_999_999));
    assert_eq!(get(&answers, &asked).unwrap().columns[0].states, [3, 1, 0]);
    clock.pass(Duration::from_micros(1));
    let gone = get(&answers, &asked).unwrap();
    let nobody = get(&answers, &ask(&names, &["x", "y", "z"], Style::Plain)).unwrap();
    for (gone, nobody) in gone.columns.iter().zip(&nobody.columns) {
        assert_eq!(gone.states, nobody.states);
        assert_eq!(gone.event_times, nobody.event_times);
        assert_eq!(gone.values, nobody.values);
    }
}

#[test]
fn what_is_older_than_its_objective_is_stale() {
    let columns = every_type();
    let shelf = Arc::new(shelf(&columns, 5_000_000));
    let clock = Arc::new(ByHand::default());
    let answers = answers(shelf, &Serving::default(), Arc::clone(&clock));
    let asked = ask(&["int64"], &["a", "b", "nobody"], Style::Plain);
    clock.pass(Duration::from_secs(15));
    let answer = get(&answers, &asked).unwrap();
    assert_eq!(answer.columns[0].ages_ms, [10_000, 10_000, 0]);
    assert_eq!(answer.columns[0].states, [3, 1, 0]);
    clock.pass(Duration::from_micros(1));
    let answer = get(&answers, &asked).unwrap();
    assert_eq!(answer.columns[0].states, [3 | STALE, 1 | STALE, 0]);
}

#[test]
fn the_greatest_version_is_meant_unless_one_is_named() {
    let mut shelf = shelf(&every_type(), 0);
    let newer = declaration("int64", 2, &DataType::Int64);
    shelf.declarations.push(newer);
    let answers = answers(Arc::new(shelf), &Serving::default(), Arc::default());
    let asked = ask(&["int64", "int64@1", "int64@2"], &["a"], Style::Plain);
    let answer = get(&answers, &asked).unwrap();
    let versions: Vec<u32> = answer.columns.iter().map(|it| it.feature.version).collect();
    assert_eq!(versions, [2, 1, 2]);
    assert_eq!(answer.columns[0].states, [0]);
}

#[test]
fn bad_requests_are_refused_with_what_to_do() {
    let answers = answers(
        Arc::new(shelf(&every_type(), 0)),
        &Serving::default(),
        Arc::default(),
    );
    let long = "x".repeat(LONGEST_ENTITY + 1);
    let many: Vec<&str> = vec!["a"; MOST_ENTITIES + 1];
    let wide: Vec<&str> = vec!["int64"; 51];
    let cases: [(&[&str], &[&str], Kind, &str); 8] = [
        (&["int46"], &["a"], Kind::NotFound, "did you mean `int64`"),
        (&["int64@9"], &["a"], Kind::NotFound, "int64@1"),
        (&[], &["a"], Kind::Invalid, "no features"),
        (&["int64"], &[], Kind::Invalid, "no entities"),
        (
            &["int64"],
            &["a", ""],
            Kind::Invalid,
            "entity 1 has 0 bytes",
        ),
        (&["int64"], &[&long], Kind::Invalid, "1 to 2048 bytes"),
        (&["int64"], &many, Kind::Invalid, "several requests"),
        (&wide, &many[..1_000], Kind::Invalid, "50000 values"),
    ];
    for (features, entities, kind, says) in cases {
        let refusal = get(&answers, &ask(features, entities, Style::Plain)).unwrap_err();
        assert_eq!(refusal.kind, kind, "{refusal}");
        assert!(refusal.message.contains(says), "{refusal}");
    }
    let mut elsewhere = ask(&["int64"], &["a"], Style::Plain);
    elsewhere.group = "h".into();
    assert_eq!(get(&answers, &elsewhere).unwrap_err().kind, Kind::NotFound);
}

#[test]
fn an_answer_of_too_many_bytes_is_refused_and_a_smaller_one_given() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![
        Some("x".repeat(1 << 20)),
        None,
        None,
    ]));
    let shelf = Arc::new(shelf(&[("text", text)], 0));
    let answers = answers(shelf, &Serving::default(), Arc::default());
    let ask_for = |entities: usize, features: usize| {
        let asked = ask(&vec!["text"; features], &vec!["a"; entities], Style::Plain);
        get(&answers, &asked)
    };
    for (entities, features) in [(64, 1), (16, 4)] {
        let refusal = ask_for(entities, features).unwrap_err();
        assert_eq!(refusal.kind, Kind::TooLarge);
        assert!(refusal.message.contains("fewer entities"), "{refusal}");
    }
    let answer = ask_for(63, 1).unwrap();
    assert_eq!(answer.columns[0].states, [3; 63]);
}

#[test]
fn an_unknown_group_is_looked_for_once_a_second_however_many_ask() {
    let shelf = Arc::new(shelf(&every_type(), 0));
    let clock = Arc::new(ByHand::default());
    let answers = answers(Arc::clone(&shelf), &Serving::default(), Arc::clone(&clock));
    let mut asked = ask(&["int64"], &["a"], Style::Plain);
    asked.group = "h".into();
    let times = || shelf.listed.load(Ordering::Relaxed);
    for _ in 0..5 {
        assert_eq!(get(&answers, &asked).unwrap_err().kind, Kind::NotFound);
    }
    assert_eq!(times(), 1);
    // It may have been declared since.
    clock.pass(Duration::from_secs(1));
    assert_eq!(get(&answers, &asked).unwrap_err().kind, Kind::NotFound);
    assert_eq!(times(), 2);
    // Names that nobody will ask for again do not fill the memory.
    for name in 0..5_000 {
        asked.group = name.to_string();
        get(&answers, &asked).unwrap_err();
    }
    assert!(answers.catalogue.unknown() <= catalogue::MOST_UNKNOWN);
}

#[test]
fn who_is_one_too_many_is_turned_away_and_who_takes_too_long_is_left() {
    let settings = Serving {
        max_in_flight: 1,
        deadline: 50_000,
        ..Serving::default()
    };
    let shelf = Shelf {
        hangs: true,
        ..shelf(&every_type(), 0)
    };
    let answers = answers(Arc::new(shelf), &settings, Arc::default());
    let asked = ask(&["int64"], &["a"], Style::Plain);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let caller = answers.caller(None).unwrap();
        let ask = |limit| answers.within(limit, answers.batch_get(&caller, &asked));
        let (first, second) = tokio::join!(ask(Some(Duration::from_millis(5))), ask(None));
        assert_eq!(first.unwrap_err().kind, Kind::DeadlineExceeded);
        assert_eq!(second.unwrap_err().kind, Kind::Overloaded);
        // There is room again.
        let late = ask(Some(Duration::from_secs(3_600))).await.unwrap_err();
        assert_eq!(late.kind, Kind::DeadlineExceeded);
        assert!(late.message.contains("is 50 ms"), "{late}");
    });
}

#[test]
fn a_damaged_item_is_a_failure_of_the_store_and_says_nothing_of_it() {
    let shelf = shelf(&every_type(), 0);
    let broken = Bytes::from_static(&[1, 0xff, 0xff]);
    shelf.items.lock().unwrap().insert("a".into(), broken);
    let answers = answers(Arc::new(shelf), &Serving::default(), Arc::default());
    let refusal = get(&answers, &ask(&["int64"], &["a"], Style::Plain)).unwrap_err();
    assert_eq!(refusal.kind, Kind::Unavailable);
}
