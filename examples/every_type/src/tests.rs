//! Values of every type go in and come out again.

use penstock_sdk::testing::Native;

use super::*;

fn nothing() -> Values {
    let last = Last::default();
    values(last)
}

fn values(last: Last) -> Values {
    let columns = penstock_sdk::testing::columns(std::iter::once(Echo {
        count: 0,
        ..last.echo()
    }));
    // The row has the output's columns but for the count, which is the first two buffers.
    let columns = penstock_sdk::contract::Columns {
        rows: columns.rows,
        buffers: columns.buffers[2..].to_vec(),
    };
    penstock_sdk::testing::read::<Values>(&columns).remove(0)
}

fn some() -> Last {
    let place = Place {
        name: Some("Zürich".to_owned()),
        point: Some(Point { x: -0.0, y: None }),
        visits: vec![Some(1), None, Some(i32::MIN)],
    };
    Last {
        count: 1,
        boolean: Some(true),
        int8: Some(i8::MIN),
        int16: Some(i16::MIN),
        int32: Some(i32::MIN),
        int64: Some(i64::MIN),
        uint8: Some(u8::MAX),
        uint16: Some(u16::MAX),
        uint32: Some(u32::MAX),
        uint64: Some(u64::MAX),
        float16: Some(Float16::from_f32(-1.5)),
        float32: Some(f32::MIN_POSITIVE),
        float64: Some(f64::NEG_INFINITY),
        decimal128: Some(Decimal(-99_999_999_999_999_999_999)),
        decimal256: Some(Decimal256([0xfe; 32])),
        date32: Some(Date(-1)),
        date64: Some(DateMillis(86_400_000)),
        time_s: Some(TimeOfDay::new(86_399)),
        time_ms: Some(TimeOfDay::new(86_399_999)),
        time_us: Some(TimeOfDay::new(86_399_999_999)),
        time_ns: Some(TimeOfDay::new(86_399_999_999_999)),
        timestamp_s: Some(Timestamp::new(-1)),
        timestamp_ms: Some(Timestamp::new(-2)),
        timestamp_us: Some(Timestamp::new(i64::MAX)),
        timestamp_ns: Some(Timestamp::new(i64::MIN)),
        timestamp_paris: Some(Timestamp::new(3)),
        timestamp_no_zone: Some(Timestamp::new(4)),
        duration_s: Some(Duration::new(-5)),
        duration_ms: Some(Duration::new(6)),
        duration_us: Some(Duration::new(7)),
        duration_ns: Some(Duration::new(8)),
        fixed_binary: Some(*b"fixed"),
        utf8: Some(String::new()),
        binary: Some(Bytes(vec![0, 255])),
        large_utf8: Some("größer".to_owned()),
        large_binary: Some(Bytes(Vec::new())),
        list: Some(vec![Some(1), None]),
        list_utf8: Some(vec![None, Some("a".to_owned()), Some(String::new())]),
        list_of_lists: Some(vec![None, Some(Vec::new()), Some(vec![Some(true), None])]),
        large_list: Some(Vec::new()),
        place: Some(place.clone()),
        places: Some(vec![Some(place), None, Some(Place::default())]),
    }
}

#[test]
fn every_type_comes_back() {
    let mut window = Native::<EveryType>::open("{}").unwrap();
    let rejects = window.accumulate([values(some())]);
    assert_eq!(rejects, []);
    assert_eq!(window.finish(), [some().echo()]);
}

#[test]
fn a_null_leaves_the_last_value_in_place() {
    let mut window = Native::<EveryType>::open("{}").unwrap();
    window.accumulate([values(some())]);
    window.accumulate([nothing(), nothing()]);
    assert_eq!(
        window.finish(),
        [Echo {
            count: 3,
            ..some().echo()
        }]
    );
}

#[test]
fn nothing_but_nulls_is_nothing_but_nulls() {
    let mut window = Native::<EveryType>::open("{}").unwrap();
    window.accumulate([nothing()]);
    assert_eq!(
        window.finish(),
        [Echo {
            count: 1,
            ..Last::default().echo()
        }]
    );
}
