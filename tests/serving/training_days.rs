//! Which days of the history training sets read.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::array::cast::AsArray;
use arrow::datatypes::Float64Type;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::json;

use super::program::Serving;
use super::put::{PUT, declared};
use super::training;
use crate::support::Folder;

/// Hours of the days that values and rows are of.
const HOURS: RangeInclusive<i64> = 0..=10 * 24 - 1;
/// For how many hours `fast` is of use.
const TTL: i64 = 36;
const AIRPORTS: [&str; 3] = ["SFO", "LAX", "JFK"];

/// A write of both features: airport, hour, and the values.
type Write = (usize, i64, f64);

fn time(hour: i64) -> String {
    format!("2020-03-{:02}T{:02}:30:00Z", 1 + hour / 24, hour % 24)
}

/// Random writes, which are put one after the other.
fn filled(random: &mut Pcg64) -> (Folder, Vec<Write>) {
    let store = "offline = \"history\"\nstore = \"store\"";
    let folder = declared(store, "serving = { anyone = \"write\" }");
    folder.write(
        "days.toml",
        "group = \"airport\"\nentity = [\"origin\"]\n[[feature]]\nname = \"slow\"\ntype = \"float64\"\n\
         [[feature]]\nname = \"fast\"\ntype = \"float64\"\nttl = \"36h\"\n",
    );
    folder.penstock(&["features", "apply", "days.toml"]).fine();
    let serving = Serving::start(&folder);
    let mut writes = Vec::new();
    for number in 0..30 {
        let each = (0..AIRPORTS.len()).map(|at| (at, random.random_range(HOURS)));
        let rows: Vec<Write> = each
            .map(|(at, hour)| (at, hour, f64::from(number * 10) + at as f64))
            .collect();
        let values: Vec<f64> = rows.iter().map(|row| row.2).collect();
        let times: Vec<String> = rows.iter().map(|row| time(row.1)).collect();
        let features = ["slow", "fast"].map(|name| json!({"feature": name, "values": values}));
        let body = json!({"entities": AIRPORTS, "event_times": times, "features": features});
        let (code, answer) = serving.post(PUT, &body);
        assert_eq!(code, 200, "{answer}");
        writes.extend(rows);
    }
    serving.stop();
    (folder, writes)
}

/// What a row gets, by looking at all writes: of the newest hour the last.
fn oracle(writes: &[Write], (airport, hour): (usize, i64), ttl: Option<i64>) -> Option<f64> {
    let known = writes.iter().filter(|it| it.0 == airport && it.1 <= hour);
    let (_, at, value) = known.max_by_key(|it| it.1)?;
    ttl.is_none_or(|ttl| hour - at < ttl).then_some(*value)
}

fn values(rows: &RecordBatch, feature: &str) -> Vec<Option<f64>> {
    let column = rows.column_by_name(feature).unwrap();
    column.as_primitive::<Float64Type>().iter().collect()
}

/// The files of days of March that are not within.
fn files_outside(folder: &Folder, days: RangeInclusive<i64>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for day in std::fs::read_dir(folder.path("history/airport")).unwrap() {
        let day = day.unwrap();
        let name = day.file_name().into_string().unwrap();
        let number: i64 = name.strip_prefix("2020-03-").unwrap().parse().unwrap();
        if !days.contains(&number) {
            let files = std::fs::read_dir(day.path()).unwrap();
            found.extend(files.map(|file| file.unwrap().path()));
        }
    }
    found
}

#[test]
fn only_days_that_rows_may_need_are_read_and_they_get_the_same() {
    if !training::is_built() {
        return;
    }
    let mut random = Pcg64::seed_from_u64(6);
    let (folder, writes) = filled(&mut random);
    // Rows of the 6th and 7th.
    let hours = 5 * 24..=7 * 24 - 1;
    let ends = [(0, *hours.start()), (1, *hours.end())];
    let drawn = (0..60).map(|_| {
        (
            random.random_range(0..3),
            random.random_range(hours.clone()),
        )
    });
    let rows: Vec<(usize, i64)> = ends.into_iter().chain(drawn).collect();
    let spine = |rows: &[(usize, i64)]| {
        let times: Vec<String> = rows.iter().map(|row| time(row.1)).collect();
        let rows = rows.iter().zip(&times);
        let rows = rows.map(|((airport, _), time)| (AIRPORTS[*airport], time.as_str()));
        training::spine(&folder, &rows.collect::<Vec<_>>());
    };
    let expected = |rows: &[(usize, i64)], ttl: Option<i64>| -> Vec<Option<f64>> {
        rows.iter().map(|row| oracle(&writes, *row, ttl)).collect()
    };
    spine(&rows);
    let check = |feature: &str, ttl: Option<i64>| {
        let made = training::made(&folder, feature, &[]);
        assert_eq!(values(&made, feature), expected(&rows, ttl), "{feature}");
    };
    check("slow", None);
    check("fast", Some(TTL));
    // Whatever lies in files of later days, and of earlier ones that are past the TTL.
    let damage = |files: Vec<PathBuf>| {
        assert!(!files.is_empty());
        for file in files {
            std::fs::write(file, "no Parquet").unwrap();
        }
    };
    damage(files_outside(&folder, 1..=7));
    check("slow", None);
    check("fast", Some(TTL));
    let arguments = [&training::ARGUMENTS[..], &["slow,fast"]].concat();
    folder.penstock(&arguments).fine();
    damage(files_outside(&folder, 4..=10));
    check("fast", Some(TTL));
    folder.penstock(&arguments).fails(1, &["it is no Parquet"]);
    let asked = [&training::ARGUMENTS[..], &["fast"]].concat();
    for outside in [3 * 24, 8 * 24] {
        spine(&[(0, 5 * 24), (0, outside)]);
        folder.penstock(&asked).fails(1, &["it is no Parquet"]);
    }
}

#[test]
fn rows_from_before_a_feature_was_there_have_none_of_its_values() {
    if !training::is_built() {
        return;
    }
    let (folder, _) = filled(&mut Pcg64::seed_from_u64(7));
    training::spine(&folder, &[("SFO", "2019-01-01T00:00:00Z")]);
    for feature in ["slow", "fast"] {
        let made = training::made(&folder, feature, &[]);
        assert_eq!(values(&made, feature), [None]);
    }
}
