//! Every sort of column comes back to the bit, and the bytes are those of the layout.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, TimeUnit};
use proptest::prelude::*;

use super::*;

/// A column of every sort that states may have, with nulls and with what is easily lost.
fn columns_of_all_sorts() -> Vec<ArrayRef> {
    let nan = f64::from_bits(0x7ff8_0000_dead_beef);
    let list = vec![Some(vec![Some(1), None]), None, Some(vec![])];
    let point = Fields::from(vec![Field::new("x", DataType::Float32, true)]);
    let points: ArrayRef = Arc::new(Float32Array::from(vec![Some(-0.0), None, Some(1.5)]));
    let places = vec![true, false, true];
    vec![
        Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(-1)])),
        Arc::new(UInt8Array::from(vec![0, 255, 7])),
        Arc::new(Float64Array::from(vec![-0.0, nan, f64::NEG_INFINITY])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        Arc::new(StringArray::from(vec![Some(""), None, Some("zürich\\0")])),
        Arc::new(LargeStringArray::from(vec!["a", "b", "c"])),
        Arc::new(StringViewArray::from(vec![
            "a",
            "more than twelve bytes",
            "",
        ])),
        Arc::new(BinaryArray::from_opt_vec(vec![
            Some(&[0, 255, 0]),
            None,
            Some(&[7; 40]),
        ])),
        Arc::new(FixedSizeBinaryArray::try_from_iter([[1_u8, 2], [0, 0], [9, 9]].iter()).unwrap()),
        Arc::new(TimestampMicrosecondArray::from(vec![0, -1, 5]).with_timezone("Europe/Zurich")),
        Arc::new(Date32Array::from(vec![0, -1, 20_000])),
        Arc::new(Time64NanosecondArray::from(vec![0, 1, 86_399_999_999_999])),
        Arc::new(DurationMillisecondArray::from(vec![0, -1, 5])),
        Arc::new(
            Decimal128Array::from(vec![1, -1, i128::from(i64::MAX)])
                .with_precision_and_scale(30, 3)
                .unwrap(),
        ),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(list)),
        Arc::new(StructArray::new(point, vec![points], Some(places.into()))),
        Arc::new(NullArray::new(3)),
    ]
}

fn schema(columns: &[ArrayRef]) -> SchemaRef {
    let field = |(at, column): (usize, &ArrayRef)| {
        Field::new(format!("c{at}"), column.data_type().clone(), true)
    };
    Arc::new(Schema::new(
        columns.iter().enumerate().map(field).collect::<Vec<_>>(),
    ))
}

fn key_schema() -> Schema {
    Schema::new(vec![
        Field::new("city", DataType::Utf8, false),
        Field::new("day", DataType::Timestamp(TimeUnit::Second, None), false),
    ])
}

fn keys(names: &[&str]) -> Vec<ArrayRef> {
    let days = TimestampSecondArray::from_iter_values(0..names.len() as i64);
    vec![Arc::new(StringArray::from(names.to_vec())), Arc::new(days)]
}

fn changes(ids: Vec<RecordId>, names: &[&str], states: Vec<ArrayRef>) -> Changes {
    let mut facts = crate::window::state::records::Facts::default();
    (0..ids.len()).for_each(|at| facts.push(|out| out.extend_from_slice(&[at as u8, 9][..at])));
    Changes {
        records: Records {
            keys: keys(names),
            has_state: vec![true; ids.len()],
            ids,
            facts,
            states,
        },
        gone_keys: keys(&[]),
        gone: Vec::new(),
        schedule: Schedule {
            keys: keys(&[]),
            ..Schedule::default()
        },
        progress: Progress::START,
    }
}

fn encoded(codec: &Codec, changes: &Changes) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut encoded = BTreeMap::new();
    codec
        .encode(changes, |edit| match edit {
            Edit::Put(key, value) => {
                encoded.insert(key.to_vec(), value.to_vec());
            }
            Edit::Remove(_) => unreachable!("nothing is gone"),
        })
        .unwrap();
    encoded
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn columns_of_every_sort_come_back_to_the_bit() {
    let states = columns_of_all_sorts();
    let codec = Codec::new(&key_schema(), &schema(&states)).unwrap();
    let ids = vec![RecordId::Pane(-1), RecordId::Pane(0), RecordId::Pane(1)];
    let encoded = encoded(
        &codec,
        &changes(ids.clone(), &["a", "b", "c"], states.clone()),
    );
    let pairs = encoded.iter().map(|(key, value)| (&key[..], &value[..]));
    let records = codec.decode(pairs).unwrap();
    assert_eq!(records.ids, ids);
    assert_eq!(records.keys, keys(&["a", "b", "c"]));
    assert_eq!(
        (0..3)
            .map(|at| records.facts.get(at).to_vec())
            .collect::<Vec<_>>(),
        [vec![], vec![1], vec![2, 9]]
    );
    for (before, after) in states.iter().zip(&records.states) {
        assert_eq!(before.data_type(), after.data_type());
        assert_eq!(&format!("{before:?}"), &format!("{after:?}"));
    }
    let floats = |columns: &[ArrayRef]| -> Vec<u64> {
        let floats = columns[2].as_any().downcast_ref::<Float64Array>().unwrap();
        floats
            .values()
            .iter()
            .map(|float| float.to_bits())
            .collect()
    };
    assert_eq!(floats(&states), floats(&records.states));
}

/// Whoever changes these bytes raises [`Codec::LAYOUT`]: state that is out there has them.
#[test]
fn the_bytes_are_those_of_the_layout() {
    let states = columns_of_all_sorts();
    let codec = Codec::new(&key_schema(), &schema(&states)).unwrap();
    let ids = vec![
        RecordId::Pane(-1),
        RecordId::Revision(3, 2),
        RecordId::Session(5),
    ];
    let mut text = String::new();
    for (key, value) in encoded(&codec, &changes(ids, &["a", "b", "c"], states)) {
        text.push_str(&format!("{}\n{}\n", hex(&key), hex(&value)));
    }
    let progress = Progress {
        watermark: -1,
        closed: 2,
        next_session: 3,
    };
    text.push_str(&hex(&progress.encode()));
    let expected = include_str!("layout-1.txt");
    assert_eq!(text.trim(), expected.trim());
    assert_eq!(Progress::decode(&progress.encode()).unwrap(), progress);
}

#[test]
fn what_breaks_the_layout_is_refused() {
    let states: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1]))];
    let codec = Codec::new(&key_schema(), &schema(&states)).unwrap();
    let good = encoded(&codec, &changes(vec![RecordId::Life], &["a"], states));
    let (key, value) = good.first_key_value().unwrap();
    let kind = key.len() - ID_BYTES;
    let mut unknown = key.clone();
    unknown[kind] = 9;
    let with = |key: &[u8], value: &[u8]| codec.decode([(key, value)]).unwrap_err().to_string();
    assert!(with(&key[..5], value).contains("its key is too short"));
    assert!(with(&unknown, value).contains("its kind is 9"));
    assert!(with(key, &value[..1]).contains("its value is too short"));
    assert!(with(key, &[1, 200]).contains("its value is too short"));
    assert!(with(key, &[7, 0]).contains("whether it has a state is not said"));
    assert!(Progress::decode(&[0; 23]).is_err());
}

#[test]
fn a_type_without_a_row_format_is_named() {
    let interval = DataType::Union(
        arrow::datatypes::UnionFields::empty(),
        arrow::datatypes::UnionMode::Sparse,
    );
    let state = Arc::new(Schema::new(vec![Field::new("when", interval, true)]));
    if let Err(error) = Codec::new(&key_schema(), &state) {
        assert!(
            error.to_string().contains("the state column \"when\""),
            "{error}"
        );
    }
}

proptest! {
    /// Records of one key lie together, and no other key's are among them.
    #[test]
    fn a_key_is_the_beginning_of_its_own_records_alone(
        a in ("[\\x00a]{0,3}", -2..3_i64), b in ("[\\x00a]{0,3}", -2..3_i64), number in any::<i64>(),
    ) {
        let codec = Codec::new(&key_schema(), &Arc::new(Schema::empty())).unwrap();
        let columns = |key: &(String, i64)| -> Vec<ArrayRef> {
            let day = TimestampSecondArray::from(vec![key.1]);
            vec![Arc::new(StringArray::from(vec![key.0.clone()])), Arc::new(day)]
        };
        let prefix = |key| codec.prefixes(&columns(key)).unwrap().remove(0);
        let mut record = Vec::new();
        put_key(&prefix(&a)[1..], RecordId::Pane(number), &mut record);
        prop_assert_eq!(record.starts_with(&prefix(&b)), a == b);
        prop_assert_eq!(split_key(&record).unwrap(), (&prefix(&a)[1..], RecordId::Pane(number)));
        prop_assert_eq!(prefix(&a).cmp(&prefix(&b)), a.cmp(&b));
    }
}
