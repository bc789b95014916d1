//! The suite of promises: the same for every backend.

use std::sync::Arc;

use penstock::store::{Before, Cached, FeatureName, FeatureReader, ItemPlace, Items, Order};
use rand::seq::SliceRandom as _;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::backends::{At, Backend, GROUP, Oracle, PIPELINE, Row, declaration, items, number};
use crate::support::HOST;

const HOUR: i64 = 3_600_000_000;

#[test]
fn the_newest_wins_under_eight_writers_with_shuffled_and_repeated_writes() {
    const WRITERS: u32 = 8;
    Backend::each("newest", WRITERS, |backend| {
        backend.declare(&[
            declaration("a", 1, "10m", ""),
            declaration("a", 2, "10m", ""),
            declaration("b", 1, "10m", ""),
        ]);
        let mut random = Pcg64::seed_from_u64(7);
        let mut oracle = Oracle::default();
        let mut writes: Vec<(u32, Items)> = Vec::new();
        for number in 0..400u64 {
            // Some write all features, some only those of a newer version: items hold attributes of different orders.
            let features: &[(&str, u32)] = match random.random_range(0..3) {
                0 => &[("a", 1), ("b", 1)],
                1 => &[("a", 2), ("b", 1)],
                _ => &[("a", 2)],
            };
            let entity = format!("e{}", random.random_range(0..12));
            let event_time = random.random_range(0..6);
            let epoch = random.random_range(1..3);
            let value = random.random_bool(0.8).then(|| number.cast_signed());
            let order = Order {
                event_time,
                epoch,
                sequence: number,
            };
            for (name, version) in features {
                oracle.write(&entity, &format!("{name}@{version}"), order, value);
            }
            let rows = [(entity.as_str(), event_time, value)];
            let items = items("10m", features, (epoch, number), &rows);
            let lane = random.random_range(0..WRITERS);
            writes.push((lane, items.clone()));
            if random.random_bool(0.3) {
                writes.push((random.random_range(0..WRITERS), items));
            }
        }
        writes.shuffle(&mut random);
        HOST.io.block_on(async {
            let writers = (0..WRITERS).map(|lane| {
                let mine = writes.iter().filter(|(of, _)| *of == lane);
                let mine: Vec<Items> = mine.map(|(_, items)| items.clone()).collect();
                let store = Arc::clone(&backend.writers[lane as usize]);
                tokio::spawn(async move {
                    for (at, items) in mine.into_iter().enumerate() {
                        store.write(lane, items).await.unwrap();
                        // Others come in between.
                        if at % 3 == 0 {
                            store.flush_lane(PIPELINE, lane).await.unwrap();
                        }
                    }
                    store.flush_lane(PIPELINE, lane).await.unwrap();
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.unwrap();
            }
        });
        for ((entity, attribute), expected) in &oracle.0 {
            let found = backend.value(entity, attribute);
            assert_eq!(
                found.as_ref(),
                Some(expected),
                "{}: {entity} {attribute}",
                backend.name
            );
        }
    });
}

#[test]
fn a_correction_of_one_length_is_not_blocked_by_another() {
    Backend::each("lengths", 1, |backend| {
        backend.declare(&[
            declaration("short", 1, "10m", ""),
            declaration("long", 1, "1h", ""),
        ]);
        backend.write(
            0,
            items("1h", &[("long", 1)], (1, 0), &[("e", 600, Some(60))]),
        );
        backend.write(
            0,
            items("10m", &[("short", 1)], (1, 1), &[("e", 100, Some(10))]),
        );
        backend.flush();
        // A correction of the short one, at a time at which the long one is newer.
        backend.write(
            0,
            items("10m", &[("short", 1)], (1, 2), &[("e", 100, Some(11))]),
        );
        assert_eq!(backend.value("e", "short").unwrap().1, Some(11));
        assert_eq!(backend.value("e", "long").unwrap().1, Some(60));
    });
}

#[test]
fn a_value_that_fails_its_validation_leaves_no_old_one_under_a_new_time() {
    Backend::each("invalid", 2, |backend| {
        backend.declare(&[declaration("f", 1, "10m", "")]);
        let at = |time, value| [("e", time, value)];
        let old = items("10m", &[("f", 1)], (1, 0), &at(100, Some(1)));
        backend.write(0, old.clone());
        backend.flush();
        backend.write(0, items("10m", &[("f", 1)], (1, 1), &at(200, None)));
        backend.flush();
        // The old value once more, by another writer.
        backend.write(1, old);
        let order = Order {
            event_time: 200,
            epoch: 1,
            sequence: 1,
        };
        assert_eq!(backend.value("e", "f"), Some((order, None)));
        // And a rollback's value of the same time, under a higher epoch.
        backend.write(1, items("10m", &[("f", 1)], (2, 0), &at(200, Some(3))));
        assert_eq!(backend.value("e", "f").unwrap().1, Some(3));
    });
}

#[test]
fn what_is_past_its_ttl_is_as_if_it_had_never_been_written() {
    Backend::each("ttl", 1, |backend| {
        backend.declare(&[
            declaration("brief", 1, "10m", r#"{"ttl":"1h"}"#),
            declaration("brief", 2, "10m", r#"{"ttl":"2h"}"#),
            declaration("ever", 1, "1h", ""),
        ]);
        // The service removes what is past its TTL by its own clock, so that it must not be past by that.
        let now = HOST.io.block_on(async { backend.reader.unix() });
        let rows = [("e", now, Some(1))];
        backend.write(
            0,
            items("10m", &[("brief", 1), ("brief", 2)], (1, 0), &rows),
        );
        backend.write(0, items("1h", &[("ever", 1)], (1, 1), &rows));
        assert!(backend.value("e", "brief@1").is_some());
        let names = ["brief@1", "brief@2", "ever"].map(FeatureName::parse);
        for (later, there) in [
            (HOUR - 1, [true, true, true]),
            (HOUR, [false, true, true]),
            (2 * HOUR, [false, false, true]),
            (9999 * HOUR, [false, false, true]),
        ] {
            let reader = At {
                reader: Arc::clone(&backend.reader),
                unix: now + later,
            };
            let found = HOST.io.block_on(reader.get(GROUP, "e", &names)).unwrap();
            let found: Vec<bool> = found.iter().map(Option::is_some).collect();
            assert_eq!(found, there, "{}: after {later} µs", backend.name);
        }
    });
}

#[test]
fn a_hundred_entities_and_fifty_features_are_answered_in_the_order_asked() {
    Backend::each("batch", 2, |backend| {
        let names: Vec<String> = (0..50).map(|number| format!("f{number:02}")).collect();
        let windows = ["10m", "1h"];
        let declared: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, name)| declaration(name, 1, windows[at % 2], ""))
            .collect();
        backend.declare(&declared);
        let entities: Vec<String> = (0..100).map(|number| format!("e{number}")).collect();
        for (of, window) in windows.iter().enumerate() {
            for (at, name) in names.iter().enumerate().filter(|(at, _)| at % 2 == of) {
                // Every tenth entity has none of them.
                let rows: Vec<Row<'_>> = entities
                    .iter()
                    .enumerate()
                    .filter(|(entity, _)| entity % 10 != 9)
                    .map(|(entity, name)| (name.as_str(), 5, Some((entity * 100 + at) as i64)))
                    .collect();
                let sequence = 1000 * at as u64;
                backend.write(of as u32, items(window, &[(name, 1)], (1, sequence), &rows));
            }
        }
        backend.flush();
        // Backwards, and the first one twice.
        let mut asked: Vec<&str> = entities.iter().rev().map(String::as_str).collect();
        asked.push("e0");
        let features: Vec<FeatureName> = names
            .iter()
            .rev()
            .map(|name| FeatureName::parse(name))
            .collect();
        let cached = Cached::new(
            Arc::clone(&backend.writers[0]),
            1 << 24,
            std::time::Duration::MAX,
        );
        for reader in [&*backend.writers[0] as &dyn FeatureReader, &cached, &cached] {
            let found = HOST
                .io
                .block_on(reader.batch_get(GROUP, &asked, &features))
                .unwrap();
            assert_eq!(found.len(), 101);
            for (entity, values) in asked.iter().zip(found) {
                let entity: usize = entity[1..].parse().unwrap();
                let values: Vec<Option<i64>> = values
                    .iter()
                    .map(|value| {
                        value
                            .as_ref()
                            .map(|value| number(value.value.as_ref().unwrap()))
                    })
                    .collect();
                let expected: Vec<Option<i64>> = (0..50)
                    .rev()
                    .map(|at| (entity % 10 != 9).then_some((entity * 100 + at) as i64))
                    .collect();
                assert_eq!(values, expected, "{}: {entity}", backend.name);
            }
        }
        assert_eq!(cached.figures().misses.get(), 200);
        assert!(cached.figures().hit_rate().unwrap() > 0.4);
    });
}

#[test]
fn a_hundred_thousand_entities_are_all_there() {
    // The table takes a request for each: a tenth of them is enough to fill its pages and the memory of the lanes.
    for (backend, entities) in [
        (Backend::embedded(2), 100_000),
        (Backend::table("many", 2), 10_000),
    ] {
        backend.declare(&[declaration("f", 1, "10m", "")]);
        let names: Vec<String> = (0..entities)
            .map(|number| format!("entity-{number}"))
            .collect();
        for (at, chunk) in names.chunks(5_000).enumerate() {
            let first = at * 5_000;
            let rows: Vec<Row<'_>> = chunk
                .iter()
                .enumerate()
                .map(|(at, name)| (name.as_str(), 7, Some((first + at) as i64)))
                .collect();
            backend.write(
                at as u32 % 2,
                items("10m", &[("f", 1)], (1, first as u64), &rows),
            );
        }
        backend.flush();
        let feature = [FeatureName::parse("f")];
        for (at, chunk) in names.chunks(1_000).enumerate() {
            let asked: Vec<&str> = chunk.iter().map(String::as_str).collect();
            let reader = &backend.writers[0];
            let found = HOST
                .io
                .block_on(reader.batch_get(GROUP, &asked, &feature))
                .unwrap();
            for (number, values) in found.iter().enumerate() {
                let value = values[0].as_ref().unwrap().value.as_ref().unwrap();
                assert_eq!(
                    self::number(value),
                    (at * 1_000 + number) as i64,
                    "{}",
                    backend.name
                );
            }
        }
    }
}

#[test]
fn epochs_rise_whoever_takes_them() {
    Backend::each("epochs", 2, |backend| {
        HOST.io.block_on(async {
            let (one, other) = (&backend.writers[0], &backend.writers[1]);
            assert_eq!(one.begin_epoch(PIPELINE).await.unwrap(), 1);
            assert_eq!(other.begin_epoch(PIPELINE).await.unwrap(), 2);
            assert_eq!(one.begin_epoch("another").await.unwrap(), 1);
            if backend.name == "dynamodb" {
                one.raise_epoch(PIPELINE, 9).await.unwrap();
                one.raise_epoch(PIPELINE, 4).await.unwrap();
                assert_eq!(other.begin_epoch(PIPELINE).await.unwrap(), 10);
            }
        });
    });
}

#[test]
fn what_is_taken_back_from_a_table_is_as_it_was() {
    let backend = Backend::table("taken-back", 1);
    backend.declare(&[
        declaration("a", 1, "10m", "{}"),
        declaration("b", 1, "10m", "{}"),
    ]);
    let mut draw = Pcg64::seed_from_u64(11);
    let entities: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let mut write = |epoch: u64, writes: u64, oracle: &mut Oracle| {
        for number in 0..writes {
            let entity = &entities[draw.random_range(0..entities.len())];
            let feature = ["a", "b"][draw.random_range(0..2)];
            let time = draw.random_range(0..50);
            let value = draw.random_bool(0.9).then_some(time * 10 + epoch as i64);
            let row = [(entity.as_str(), time, value)];
            backend.write(0, items("10m", &[(feature, 1)], (epoch, number), &row));
            let order = Order {
                event_time: time,
                epoch,
                sequence: number,
            };
            oracle.write(entity, feature, order, value);
        }
    };
    let mut oracle = Oracle::default();
    write(1, 60, &mut oracle);
    backend.flush();
    let keep = |entity: &String| {
        let place = ItemPlace {
            group: GROUP,
            pipeline: PIPELINE,
            window: "10m",
            entity,
        };
        let found = HOST.io.block_on(backend.reader.items(&[place])).unwrap();
        Before {
            group: GROUP.to_owned(),
            pipeline: PIPELINE.to_owned(),
            window: "10m".to_owned(),
            entity: entity.clone(),
            item: found.into_iter().next().unwrap(),
        }
    };
    let before: Vec<Before> = entities.iter().map(keep).collect();
    // Some of it is sent, and some is not yet.
    write(2, 60, &mut Oracle::default());
    backend.flush();
    write(2, 20, &mut Oracle::default());
    let take_back = || {
        let taken = backend.writers[0].take_back((PIPELINE, 0), &before, 1);
        HOST.io.block_on(taken).unwrap();
    };
    take_back();
    let check = |oracle: &Oracle| {
        for entity in &entities {
            for feature in ["a", "b"] {
                let key = (entity.clone(), feature.to_owned());
                let value = backend.value(entity, feature);
                assert_eq!(value, oracle.0.get(&key).copied(), "{entity} {feature}");
            }
        }
    };
    check(&oracle);
    take_back();
    check(&oracle);
    // What is written from then on counts, also where it is older than what was taken back.
    write(3, 40, &mut oracle);
    check(&oracle);
}
