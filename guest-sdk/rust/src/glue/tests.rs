//! Whole calls: folds cut anywhere, rejects without a trace, nulls, large types, migration, and
//! hosts that lay things out wrongly.

use proptest::prelude::*;

use super::*;
use crate::contract::{Event, Schema};
use crate::prelude::*;
use crate::schema::schema_of;
use crate::testing::{Native, columns, read};
use crate::value::{Record, field};

#[derive(Row, Clone, Debug)]
struct Fare {
    amount: i64,
    note: Option<String>,
}

#[derive(State, Clone, Debug, Default, PartialEq)]
struct Total {
    sum: i64,
    last: Option<String>,
    seen: Vec<i64>,
}

#[derive(Output, Debug, PartialEq)]
struct Report {
    total: i64,
    window_length: i64,
}

/// Spoils the state before it rejects, and what it rejects depends on the state.
#[derive(Default)]
struct Fares;

impl Window for Fares {
    type Row<'a> = Fare;
    type State = Total;
    type Output = Vec<Report>;
    const STATE_VERSION: u32 = 3;

    fn accumulate(&self, total: &mut Total, fare: Fare) -> Result<(), Reject> {
        total.sum += fare.amount;
        total.seen.push(fare.amount);
        total.last = fare.note.or(total.last.take());
        if total.sum < 0 {
            return Err(Reject::new(
                "overdrawn",
                format!("{} below zero", -total.sum),
            ));
        }
        Ok(())
    }

    fn merge(&self, mut earlier: Total, later: Total) -> Total {
        earlier.sum += later.sum;
        earlier.seen.extend(later.seen);
        earlier.last = later.last.or(earlier.last);
        earlier
    }

    fn finish(&self, total: &Total, bounds: Bounds) -> Vec<Report> {
        total
            .seen
            .iter()
            .map(|&total| Report {
                total,
                window_length: bounds.length(),
            })
            .collect()
    }
}

/// The same, by hand and row by row.
fn oracle(rows: &[(u32, Option<i64>, Option<String>)], groups: u32) -> (Vec<Total>, Vec<u32>) {
    let mut totals = vec![Total::default(); groups as usize];
    let mut rejected = Vec::new();
    for (row, (group, amount, note)) in (0..).zip(rows) {
        let total = &mut totals[*group as usize];
        match amount {
            Some(amount) if total.sum + amount >= 0 => {
                total.sum += amount;
                total.seen.push(*amount);
                total.last = note.clone().or(total.last.take());
            }
            _ => rejected.push(row),
        }
    }
    (totals, rejected)
}

#[derive(Output)]
struct NullableFare {
    amount: Option<i64>,
    note: Option<String>,
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_bytes_and_rejects_leave_no_trace(
        rows in prop::collection::vec(
            (0u32..5, prop::option::weighted(0.9, -9i64..10), any::<Option<String>>()),
            0..80,
        ),
        cuts in prop::collection::vec(0usize..80, 0..5),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).chain([0, rows.len()]).collect();
        cuts.sort_unstable();
        let mut cut_up = Native::<Fares>::open("{}").unwrap();
        for _ in 1..5 {
            cut_up.add_group(());
        }
        let mut rejected = Vec::new();
        for cut in cuts.windows(2) {
            let part = &rows[cut[0]..cut[1]];
            let groups: Vec<u32> = part.iter().map(|(group, ..)| *group).collect();
            let part = columns(part.iter().map(|(_, amount, note)| NullableFare { amount: *amount, note: note.clone() }));
            for reject in cut_up.accumulate_columns(&part, &groups) {
                prop_assert_eq!(reject.code == "null", rows[cut[0] + reject.row as usize].1.is_none());
                rejected.push(cut[0] as u32 + reject.row);
            }
        }
        let (totals, expected) = oracle(&rows, 5);
        prop_assert_eq!(&rejected, &expected);
        prop_assert_eq!(states::write(cut_up.states().iter()), states::write(totals.iter()));
    }
}

fn nullable_event<'a, R: Record<'a>>() -> Event {
    let mut schema = schema_of::<R>();
    schema.iter_mut().for_each(|field| field.nullable = true);
    Event {
        name: "fares".to_owned(),
        schema,
    }
}

fn opening(event: Event, key: Schema) -> Opening {
    Opening {
        config: "{}".to_owned(),
        events: vec![event],
        key,
        options: Vec::new(),
    }
}

fn driver_key() -> Schema {
    vec![field("city", "u", false, 0), field("driver", "l", false, 0)]
}

#[test]
fn the_spec_says_what_the_records_say() {
    let (_, spec) =
        ByRows::<Fares>::open(&opening(nullable_event::<Fare>(), driver_key())).unwrap();
    assert_eq!(spec.needs[0].event, "fares");
    assert_eq!(spec.needs[0].columns, ["amount", "note"]);
    assert_eq!((spec.state_version, spec.migrates_from), (3, vec![]));
    assert_eq!(spec.state, schema_of::<Total>());
    assert_eq!(spec.output, schema_of::<Report>());
    assert_eq!(read::<Total>(&spec.initial), [Total::default()]);
}

#[test]
fn a_configuration_is_refused_by_a_transform_without_one() {
    assert!(Native::<Fares>::open(" { } ").is_ok());
    let Err(Failure::BadConfig(message)) = Native::<Fares>::open(r#"{"limit": 3}"#) else {
        panic!("refused")
    };
    assert_eq!(
        message,
        r#"this transform takes no configuration, but was given {"limit": 3}: remove `config` from the pipeline"#
    );
}

#[test]
fn an_output_may_not_be_called_like_the_key() {
    let key = vec![field("total", "l", false, 0)];
    let Err(Failure::BadInput(message)) =
        ByRows::<Fares>::open(&opening(nullable_event::<Fare>(), key))
    else {
        panic!("refused")
    };
    assert_eq!(
        message,
        "the transform's output has a column `total`, which the host adds itself: rename the field, or remove it"
    );
}

#[test]
fn finish_gives_as_many_rows_as_it_likes() {
    let mut window = Native::<Fares>::open("{}").unwrap();
    window.add_group(());
    window.accumulate_into([1, 2].map(|amount| (1, Fare { amount, note: None })));
    let reports = window.finish();
    assert_eq!(
        reports,
        [1, 2].map(|total| Report {
            total,
            window_length: 600_000_000
        })
    );
}

#[test]
fn a_null_deep_inside_is_named() {
    #[derive(State, Clone, Default)]
    struct Stop {
        street: String,
        floor: Option<i32>,
    }
    #[derive(State, Clone, Default)]
    struct Ride {
        stops: Vec<Stop>,
    }
    #[derive(Default)]
    struct Rides;
    impl Window for Rides {
        type Row<'a> = Ride;
        type State = Ride;
        type Output = Ride;
        fn accumulate(&self, state: &mut Ride, ride: Ride) -> Result<(), Reject> {
            state.stops.extend(ride.stops);
            Ok(())
        }
        fn merge(&self, _: Ride, later: Ride) -> Ride {
            later
        }
        fn finish(&self, ride: &Ride, _: Bounds) -> Ride {
            ride.clone()
        }
    }
    #[derive(Output)]
    struct NullableStop {
        street: Option<String>,
        floor: Option<i32>,
    }
    #[derive(Output)]
    struct NullableRide {
        stops: Option<Vec<Option<NullableStop>>>,
    }
    let stop = |street: Option<&str>| {
        Some(NullableStop {
            street: street.map(str::to_owned),
            floor: None,
        })
    };
    let rides = [
        Some(vec![stop(Some("a")), stop(Some("b"))]),
        Some(vec![stop(Some("a")), stop(None)]),
        Some(vec![None]),
        None,
        Some(vec![]),
    ];
    let mut window = Native::<Rides>::open("{}").unwrap();
    let rejects = window.accumulate_columns(
        &columns(rides.into_iter().map(|stops| NullableRide { stops })),
        &[0; 5],
    );
    let found: Vec<_> = rejects
        .iter()
        .map(|reject| (reject.row, reject.code.as_str(), reject.detail.as_str()))
        .collect();
    let expected = [
        (1, "null", "column `stops.item.street` is null"),
        (2, "null", "column `stops.item` is null"),
        (3, "null", "column `stops` is null"),
    ];
    assert_eq!(found, expected);
    assert_eq!(window.finish()[0].stops.len(), 2);
}

#[test]
fn only_groups_with_a_row_that_counts_come_back_when_rows_are_rejected() {
    let (transform, _) = ByRows::<Fares>::open(&opening(nullable_event::<Fare>(), vec![])).unwrap();
    let rows = columns(
        [1, -5, 2]
            .map(|amount| Fare { amount, note: None })
            .into_iter(),
    );
    let states = states::write([Total::default(), Total::default(), Total::default()].iter());
    let slices = |columns: &Columns| columns.buffers.clone();
    let (rows, states) = (slices(&rows), slices(&states));
    let (rows, states): (Vec<&[u8]>, Vec<&[u8]>) = (
        rows.iter().map(Vec::as_slice).collect(),
        states.iter().map(Vec::as_slice).collect(),
    );
    let updated = transform
        .accumulate(
            0,
            Batch {
                rows: 3,
                buffers: &rows,
            },
            [0u32, 1, 2].as_slice().into(),
            Batch {
                rows: 3,
                buffers: &[],
            },
            Batch {
                rows: 3,
                buffers: &states,
            },
        )
        .unwrap();
    assert_eq!(updated.changed, Some(vec![0, 0, 0, 0, 2, 0, 0, 0]));
    let sums: Vec<i64> = read::<Total>(&updated.states)
        .iter()
        .map(|total| total.sum)
        .collect();
    assert_eq!(sums, [1, 2]);
}

#[test]
fn large_types_are_read_like_small_ones() {
    let schema = vec![field("note", "U", true, 0), field("amount", "l", true, 0)];
    let event = Event {
        name: "fares".to_owned(),
        schema,
    };
    let (transform, _) = ByRows::<Fares>::open(&opening(event, vec![])).unwrap();
    let amounts: Vec<u8> = [5i64, 6].iter().flat_map(|n| n.to_le_bytes()).collect();
    let offsets: Vec<u8> = [0i64, 3, 7].iter().flat_map(|n| n.to_le_bytes()).collect();
    let states = states::write(std::iter::once(&Total::default()));
    let states: Vec<&[u8]> = states.buffers.iter().map(Vec::as_slice).collect();
    let updated = transform
        .accumulate(
            0,
            Batch {
                rows: 2,
                buffers: &[&[], &amounts, &[], &offsets, "yesnöx".as_bytes()],
            },
            [0u32, 0].as_slice().into(),
            Batch {
                rows: 1,
                buffers: &[],
            },
            Batch {
                rows: 1,
                buffers: &states,
            },
        )
        .unwrap();
    let total = &read::<Total>(&updated.states)[0];
    assert_eq!((total.sum, total.last.as_deref()), (11, Some("nöx")));
}

#[test]
fn a_host_that_breaks_the_contract_gets_a_failure() {
    let (transform, _) = ByRows::<Fares>::open(&opening(nullable_event::<Fare>(), vec![])).unwrap();
    let state = states::write(std::iter::once(&Total::default()));
    let states: Vec<&[u8]> = state.buffers.iter().map(Vec::as_slice).collect();
    let one = 1i64.to_le_bytes();
    let call = |input: &[&[u8]], groups: &[u32]| {
        let states = Batch {
            rows: 1,
            buffers: &states,
        };
        let input = Batch {
            rows: 1,
            buffers: input,
        };
        let keys = Batch {
            rows: 1,
            buffers: &[],
        };
        match transform.accumulate(0, input, groups.into(), keys, states) {
            Err(Failure::Internal(message)) => message,
            other => panic!("{other:?}"),
        }
    };
    let good: [&[u8]; 5] = [&[], &one, &[], &[0, 0, 0, 0, 1, 0, 0, 0], b"x"];
    assert_eq!(
        call(&good, &[1]),
        "the host put a row into group 1, but sent 1 groups"
    );
    assert_eq!(
        call(&good, &[0, 0]),
        "the host sent 2 group numbers for 1 rows"
    );
    assert_eq!(
        call(&good[..3], &[0]),
        "the host broke the contract in column `note`: a buffer is missing"
    );
    let with = |number: usize, bytes: &'static [u8]| {
        let mut buffers = good;
        buffers[number] = bytes;
        call(&buffers, &[0])
    };
    assert!(with(0, &[1, 1]).contains("`amount`: 2 bytes of validity do not fit 1 values"));
    assert!(with(1, &[1]).contains("`amount`: 1 bytes of values do not fit 1 values"));
    assert!(with(3, &[0, 0, 0, 0]).contains("`note`: 4 bytes of offsets do not fit 1 values"));
    assert!(with(3, &[1, 0, 0, 0, 1, 0, 0, 0]).contains("its offsets do not rise from 0"));
    assert!(
        with(3, &[0, 0, 0, 0, 2, 0, 0, 0])
            .contains("its last offset is not the length of its bytes")
    );
    assert!(with(4, &[0xff]).contains("its bytes are not UTF-8"));
}

#[test]
fn a_transform_that_sees_its_key() {
    use crate::KeyedWindow;

    #[derive(Row)]
    struct Driver<'a> {
        driver: i64,
        city: &'a str,
    }
    #[derive(State, Clone, Default)]
    struct Seen {
        rows: u64,
    }
    #[derive(Output, Debug, PartialEq)]
    struct Named {
        name: String,
        rows: u64,
    }
    #[derive(Default)]
    struct Keyed;
    impl KeyedWindow for Keyed {
        type Key<'a> = Driver<'a>;
        type Row<'a> = Fare;
        type State = Seen;
        type Output = Named;
        fn accumulate(&self, key: Driver<'_>, seen: &mut Seen, fare: Fare) -> Result<(), Reject> {
            if fare.amount == key.driver {
                return Err(Reject::new("own", "the driver's own"));
            }
            seen.rows += 1;
            Ok(())
        }
        fn merge(&self, earlier: Seen, later: Seen) -> Seen {
            Seen {
                rows: earlier.rows + later.rows,
            }
        }
        fn finish(&self, key: Driver<'_>, seen: &Seen, _: Bounds) -> Named {
            Named {
                name: format!("{} {}", key.city, key.driver),
                rows: seen.rows,
            }
        }
    }
    let mut window = Native::<Keyed>::open("{}").unwrap();
    let groups =
        [("Rome", 7), ("Bern", 8)].map(|(city, driver)| window.add_group(Driver { driver, city }));
    let rejects = window.accumulate_into(
        [7, 8]
            .into_iter()
            .flat_map(|amount| groups.map(|group| (group, Fare { amount, note: None }))),
    );
    assert_eq!(
        rejects.iter().map(|reject| reject.row).collect::<Vec<_>>(),
        [0, 3]
    );
    window.merge(groups[0], groups[1]);
    let named = |name: &str, rows| Named {
        name: name.to_owned(),
        rows,
    };
    assert_eq!(window.finish(), [named("Rome 7", 2), named("Bern 8", 0)]);

    // The key's columns are found by name, and one that is missing is refused.
    assert!(ByRows::<Keyed>::open(&opening(nullable_event::<Fare>(), driver_key())).is_ok());
    let Err(Failure::BadInput(message)) = ByRows::<Keyed>::open(&opening(
        nullable_event::<Fare>(),
        driver_key()[..1].to_vec(),
    )) else {
        panic!("refused")
    };
    assert!(message.starts_with("the pipeline's key has no column `driver`, which the transform expects as int64; there are: `city`."), "{message}");
}

#[derive(State)]
struct TotalOfOne {
    amount: i32,
}

impl Migrate<Total> for Fares {
    const FROM: &'static [u32] = &[1];
    fn migrate(&self, old: OldStates<'_>) -> Result<Vec<Total>, Failure> {
        assert_eq!(old.version(), 1);
        old.map(|old: TotalOfOne| Total {
            sum: i64::from(old.amount),
            ..Total::default()
        })
    }
}

export_window!(Fares, migrating);

#[test]
fn old_states_are_taken_over() {
    let (transform, _) = ByRows::<Fares>::open(&opening(nullable_event::<Fare>(), vec![])).unwrap();
    let old = columns([3, 4].map(|amount| TotalOfOne { amount }).into_iter());
    let buffers: Vec<&[u8]> = old.buffers.iter().map(Vec::as_slice).collect();
    let new = transform
        .migrate(
            1,
            &schema_of::<TotalOfOne>(),
            Batch {
                rows: 2,
                buffers: &buffers,
            },
        )
        .unwrap();
    assert_eq!(
        read::<Total>(&new)
            .iter()
            .map(|total| total.sum)
            .collect::<Vec<_>>(),
        [3, 4]
    );
    let refused = |schema: &[_], buffers: &[&[u8]], why: &str| match transform.migrate(
        1,
        schema,
        Batch { rows: 2, buffers },
    ) {
        Err(Failure::BadInput(message)) => assert!(message.contains(why), "{message}"),
        _ => panic!("it must be refused: {why}"),
    };
    let null = "the state of version 1 has a null in column `amount`, in row 1";
    refused(&schema_of::<TotalOfOne>(), &[&[1], buffers[1]], null);
    let missing = "the state of version 1 has no column `amount`";
    refused(&[], &[], missing);
}

#[test]
fn a_columnar_window_gives_the_same() {
    #[derive(Default)]
    struct Columnar;
    impl ColumnarWindow for Columnar {
        type Key<'a> = ();
        type Row<'a> = Fare;
        type State = Total;
        type Output = Vec<Report>;
        fn accumulate<'a>(
            &self,
            rows: &Rows<'a, Fare>,
            totals: &mut StateColumns<Total>,
            rejects: &mut Rejects,
        ) -> Result<(), Failure> {
            for (row, &group) in rows.groups().iter().enumerate() {
                let group = group as usize;
                match rows.row(row) {
                    Ok(fare) if totals.sum[group] + fare.amount >= 0 => {
                        totals.sum[group] += fare.amount;
                        totals.seen[group].push(fare.amount);
                        totals.last[group] = fare.note.or(totals.last[group].take());
                    }
                    Ok(_) => rejects.add(row, Reject::new("overdrawn", "below zero")),
                    Err(null) => rejects.add(row, null),
                }
            }
            Ok(())
        }
        fn merge(&self, earlier: Total, later: Total) -> Total {
            Fares.merge(earlier, later)
        }
        fn finish(&self, (): (), total: &Total, bounds: Bounds) -> Vec<Report> {
            Fares.finish(total, bounds)
        }
    }
    export_window!(columnar Columnar);
    let fares = || {
        [3, -4, 2, -5, 1].map(|amount| {
            (
                0,
                Fare {
                    amount,
                    note: Some(amount.to_string()),
                },
            )
        })
    };
    let mut by_columns = crate::testing::NativeColumnar::<Columnar>::open("{}").unwrap();
    let mut by_rows = Native::<Fares>::open("{}").unwrap();
    let rows = |rejects: Vec<crate::contract::Reject>| {
        rejects
            .into_iter()
            .map(|reject| reject.row)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        rows(by_columns.accumulate_into(fares())),
        rows(by_rows.accumulate_into(fares()))
    );
    assert_eq!(by_columns.states(), by_rows.states());
}
