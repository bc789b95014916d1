//! Whole calls of mappers: against an oracle, nulls, and what a columnar mapper must not do.

use proptest::prelude::*;

use super::*;
use crate::contract::Event;
use crate::native::MapByColumns;
use crate::prelude::*;
use crate::testing::{MappedBatch, NativeColumnarMapper, NativeMapper, columns};

#[derive(Row, Clone, Debug)]
struct Trip<'a> {
    fare: i64,
    stops: Vec<&'a str>,
    note: Option<&'a str>,
}

#[derive(Row, Clone, Debug, PartialEq)]
struct Stop<'a> {
    fare: i64,
    city: &'a str,
    note: Option<&'a str>,
}

/// A row for each stop; fares below zero are rejected, and so is a null.
#[derive(Default)]
struct Stops;

fn negative(fare: i64) -> Reject {
    Reject::new("negative", format!("a fare of {fare}"))
}

impl Mapper for Stops {
    type Row<'a> = Trip<'a>;
    type Output<'a> = Vec<Stop<'a>>;

    fn map<'a>(&'a self, trip: Trip<'a>) -> Result<Vec<Stop<'a>>, Reject> {
        let Trip { fare, stops, note } = trip;
        if fare < 0 {
            return Err(negative(fare));
        }
        let stops = stops.into_iter();
        Ok(stops.map(|city| Stop { fare, city, note }).collect())
    }
}

/// The same over columns; or, if so configured, one thing that it must not do.
#[derive(Default)]
struct StopsByColumns {
    misdeed: String,
}

impl ColumnarMapper for StopsByColumns {
    type Row<'a> = Trip<'a>;
    type Output<'a> = Stop<'a>;

    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        let misdeed = config.json().trim_matches(['{', '}']).to_owned();
        Ok(Self { misdeed })
    }

    fn map<'a>(
        &self,
        rows: &EventRows<'a, Trip<'a>>,
        mapped: &mut MappedRows<'a, Stop<'a>>,
        rejects: &mut Rejects,
    ) -> Result<(), Failure> {
        for row in 0..rows.len() {
            match rows.row(row) {
                Err(null) => rejects.add(row, null),
                Ok(trip) if trip.fare < 0 => rejects.add(row, negative(trip.fare)),
                Ok(Trip { fare, stops, note }) => stops
                    .into_iter()
                    .for_each(|city| mapped.push(row, &Stop { fare, city, note })),
            }
        }
        let stop = Stop {
            fare: 1,
            city: "",
            note: None,
        };
        match self.misdeed.as_str() {
            "backwards" => [1, 0]
                .map(|row| mapped.push(row, &stop))
                .into_iter()
                .collect(),
            "beyond" => mapped.push(rows.len(), &stop),
            "both" => {
                mapped.push(rows.len() - 1, &stop);
                rejects.add(rows.len() - 1, negative(0));
            }
            _ => {}
        }
        Ok(())
    }
}

type Written = (Option<i64>, Vec<String>, Option<String>);

/// The columns of rows some of which have a null where the mapper wants none.
fn written(rows: &[Written]) -> Columns {
    #[derive(Row)]
    struct Offered<'a> {
        fare: Option<i64>,
        stops: Vec<&'a str>,
        note: Option<&'a str>,
    }
    columns(rows.iter().map(|(fare, stops, note)| Offered {
        fare: *fare,
        stops: stops.iter().map(String::as_str).collect(),
        note: note.as_deref(),
    }))
}

/// Row, fare and city of each stop; row and code of each reject.
type Ended = (Vec<(u32, i64, String)>, Vec<(u32, &'static str)>);

/// The same, by hand.
fn oracle(rows: &[Written]) -> Ended {
    let (mut mapped, mut rejected) = (Vec::new(), Vec::new());
    for (row, (fare, stops, _)) in (0..).zip(rows) {
        match fare {
            None => rejected.push((row, "null")),
            Some(fare) if *fare < 0 => rejected.push((row, "negative")),
            Some(fare) => mapped.extend(stops.iter().map(|city| (row, *fare, city.clone()))),
        }
    }
    (mapped, rejected)
}

fn agree(found: &MappedBatch<Stop<'static>>, rows: &[Written]) {
    let (mapped, rejected) = oracle(rows);
    let found_rows = found.rows.iter().zip(&found.source_row);
    let found_rows: Vec<_> = found_rows
        .map(|(stop, row)| (*row, stop.fare, stop.city.to_owned()))
        .collect();
    assert_eq!(found_rows, mapped);
    for (stop, row) in found.rows.iter().zip(&found.source_row) {
        assert_eq!(stop.note, rows[*row as usize].2.as_deref());
    }
    let found_rejects = found.rejects.iter();
    let found_rejects: Vec<_> = found_rejects
        .map(|reject| (reject.row, reject.code.as_str()))
        .collect();
    assert_eq!(found_rejects, rejected);
}

proptest! {
    #[test]
    fn both_forms_agree_with_an_oracle_however_rows_are_cut(
        rows in prop::collection::vec(
            (
                prop::option::weighted(0.9, -2..9_i64),
                prop::collection::vec("[a-zé]{0,3}", 0..4),
                prop::option::of("[a-z]{0,2}"),
            ),
            0..40,
        ),
        cut in 1..40_usize,
    ) {
        let by_rows = NativeMapper::<Stops>::open("{}").unwrap();
        let by_columns = NativeColumnarMapper::<StopsByColumns>::open("{}").unwrap();
        for rows in std::iter::once(rows.as_slice()).chain(rows.chunks(cut)) {
            let input = written(rows);
            let mapped = by_rows.map_columns(&input);
            agree(&mapped, rows);
            prop_assert_eq!(mapped, by_columns.map_columns(&input));
        }
    }
}

#[test]
fn an_option_filters() {
    #[derive(Row)]
    struct Number {
        n: i64,
    }
    #[derive(Output, Debug, PartialEq)]
    struct Square {
        square: i64,
    }
    #[derive(Default)]
    struct Squares;
    impl Mapper for Squares {
        type Row<'a> = Number;
        type Output<'a> = Option<Square>;
        fn map(&self, Number { n }: Number) -> Result<Option<Square>, Reject> {
            Ok((n % 2 == 0).then_some(Square { square: n * n }))
        }
    }
    let squares = NativeMapper::<Squares>::open("{}").unwrap();
    let mapped = squares.map([1, 2, 3, 4].map(|n| Number { n }));
    assert_eq!(mapped.rows, [4, 16].map(|square| Square { square }));
    assert_eq!(mapped.source_row, [1, 3]);
}

#[test]
fn a_columnar_mapper_that_breaks_the_contract_is_told_so() {
    let row = (Some(1), Vec::new(), None);
    let input = written(&[row.clone(), row]);
    let slices: Vec<&[u8]> = input.buffers.iter().map(Vec::as_slice).collect();
    let opening = |misdeed: &str| Opening {
        config: format!("{{{misdeed}}}"),
        events: vec![Event {
            name: "trips".into(),
            schema: schema_of::<Trip<'_>>(),
        }],
        key: Vec::new(),
        options: Vec::new(),
    };
    for (misdeed, expected) in [
        ("backwards", "out of the order"),
        ("beyond", "named row 2, and there are 2 rows"),
        ("both", "rejected row 1 and mapped it too"),
    ] {
        let (mapper, _) = MapByColumns::<StopsByColumns>::open(&opening(misdeed)).unwrap();
        let batch = Batch {
            rows: 2,
            buffers: &slices,
        };
        let Err(Failure::Internal(message)) = mapper.map(0, batch) else {
            panic!("{misdeed} is let through");
        };
        assert!(message.contains(expected), "{message}");
    }
}
