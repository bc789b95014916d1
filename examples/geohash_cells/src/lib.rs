//! The geohash cell that an event happened in: the mapper before a count per cell.
//!
//! A geohash names a rectangle on the map with letters and digits; each further character cuts it
//! into 32. It is in the public domain, by Gustavo Niemeyer (<https://en.wikipedia.org/wiki/Geohash>).
//! Six characters are cells of about 1.2 by 0.6 kilometres.

use penstock_sdk::prelude::*;
use serde::Deserialize;

/// The pipeline's configuration: `{ precision = 6 }`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default = "usual_precision")]
    precision: u8,
}

fn usual_precision() -> u8 {
    6
}

/// Where something happened.
#[derive(Row)]
pub struct Place<'a> {
    latitude: f64,
    longitude: f64,
    kind: Option<&'a str>,
}

/// The cell, and what happened.
#[derive(Row, Debug, PartialEq)]
pub struct Cell<'a> {
    cell: String,
    kind: Option<&'a str>,
}

/// The mapper.
#[derive(Default)]
pub struct GeohashCells {
    precision: u8,
}

impl Mapper for GeohashCells {
    type Row<'a> = Place<'a>;
    type Output<'a> = Cell<'a>;

    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        let Settings { precision } =
            serde_json::from_str(config.json()).map_err(|error| config.wrong(error))?;
        if !(1..=12).contains(&precision) {
            return Err(config.wrong(format!(
                "`precision` is {precision}, and a geohash has 1 to 12 characters"
            )));
        }
        Ok(Self { precision })
    }

    fn map<'a>(&'a self, place: Place<'a>) -> Result<Cell<'a>, Reject> {
        // A NaN is in no range.
        if !(-90.0..=90.0).contains(&place.latitude) {
            return Err(Reject::new("latitude", "not from -90 to 90 degrees"));
        }
        if !(-180.0..=180.0).contains(&place.longitude) {
            return Err(Reject::new("longitude", "not from -180 to 180 degrees"));
        }
        Ok(Cell {
            cell: geohash(place.latitude, place.longitude, self.precision),
            kind: place.kind,
        })
    }
}

/// The digits, without the letters that look like others.
const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// The geohash of a place: bits of longitude and latitude take turns, five to a character, and each
/// says in which half of what is left the place lies.
fn geohash(latitude: f64, longitude: f64, precision: u8) -> String {
    let mut ranges = [(-180.0, 180.0), (-90.0, 90.0)];
    let mut turn = 0;
    let mut cell = String::with_capacity(precision.into());
    for _ in 0..precision {
        let mut digit = 0;
        for _ in 0..5 {
            let (low, high) = &mut ranges[turn];
            let middle = (*low + *high) / 2.0;
            let is_upper = [longitude, latitude][turn] >= middle;
            if is_upper {
                *low = middle;
            } else {
                *high = middle;
            }
            digit = digit << 1 | usize::from(is_upper);
            turn ^= 1;
        }
        cell.push(DIGITS[digit].into());
    }
    cell
}

export_mapper!(GeohashCells);

#[cfg(test)]
mod tests {
    use penstock_sdk::testing::NativeMapper;

    use super::*;

    fn place(latitude: f64, longitude: f64) -> Place<'static> {
        Place {
            latitude,
            longitude,
            kind: Some("offer"),
        }
    }

    #[test]
    fn known_places_have_known_cells() {
        for (latitude, longitude, known) in [
            (57.64911, 10.40744, "u4pruydqqvj"),
            (42.6, -5.6, "ezs42"),
            (48.8566, 2.3522, "u09tvw0"),
            (0.0, 0.0, "s00000"),
            (-90.0, -180.0, "000000"),
            (90.0, 180.0, "zzzzzz"),
        ] {
            assert_eq!(geohash(latitude, longitude, known.len() as u8), known);
        }
    }

    #[test]
    fn the_precision_comes_from_the_configuration() {
        for (config, length) in [("{}", 6), (r#"{"precision":3}"#, 3)] {
            let mapper = NativeMapper::<GeohashCells>::open(config).unwrap();
            let mapped = mapper.map([place(57.64911, 10.40744)]);
            let cell = "u4pruydqqvj"[..length].to_owned();
            let kind = Some("offer");
            assert_eq!(mapped.rows, [Cell { cell, kind }]);
        }
        for wrong in [
            r#"{"precision":0}"#,
            r#"{"precision":13}"#,
            r#"{"digits":6}"#,
        ] {
            let opened = NativeMapper::<GeohashCells>::open(wrong);
            assert!(
                matches!(opened.err(), Some(Failure::BadConfig(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn what_is_no_place_is_rejected() {
        let mapper = NativeMapper::<GeohashCells>::open("{}").unwrap();
        let mapped = mapper.map([
            place(90.1, 0.0),
            place(f64::NAN, 0.0),
            place(1.0, 1.0),
            place(0.0, -180.5),
            place(0.0, f64::INFINITY),
        ]);
        assert_eq!(mapped.source_row, [2]);
        let rejects = mapped.rejects.iter();
        let rejects: Vec<_> = rejects
            .map(|reject| (reject.row, reject.code.as_str()))
            .collect();
        assert_eq!(
            rejects,
            [
                (0, "latitude"),
                (1, "latitude"),
                (3, "longitude"),
                (4, "longitude")
            ]
        );
    }
}
