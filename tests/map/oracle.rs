//! What must come of rides that are split into an entry for each rider.

use std::collections::BTreeMap;

use crate::windows::oracle::{Expected, Row, judge, merge};

/// A ride; every column may be null.
#[derive(Debug, Clone)]
pub(super) struct Ride {
    pub(super) at: Option<i64>,
    pub(super) city: Option<String>,
    pub(super) riders: Option<Vec<Option<i64>>>,
    pub(super) amount: Option<f64>,
    pub(super) note: Option<String>,
    /// How much later the entries are than the ride, where they have times of their own.
    pub(super) shift_s: Option<i64>,
}

/// Where rides, and the entries that they became, must end.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ended {
    pub(super) windows: Expected,
    pub(super) rows_in: u64,
    pub(super) filtered: u64,
    pub(super) mapped: u64,
    pub(super) rows_out: u64,
    pub(super) untimed: u64,
    /// How many rejects and late entries there are of a line, by split, position and code.
    pub(super) refused: BTreeMap<(usize, usize, String), u64>,
}

/// How time is cut, all in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    pub(super) size: i64,
    pub(super) offset: i64,
    pub(super) disorder: i64,
    /// Whether entries have times of their own.
    pub(super) shifted: bool,
}

/// The first and the one after the last event time that there is.
const YEARS: std::ops::Range<i64> = -62_135_596_800_000_000..247_090_953_600_000_000;

pub(super) fn ended(splits: &[Vec<Ride>], time: Time) -> Ended {
    let mut ended = Ended::default();
    let mut windows = Expected::default();
    let untimed = merge(
        splits,
        |ride| ride.at,
        time.disorder,
        |ride, at, watermark| {
            let mut refuse = |code: &str| {
                let place = (ride.split, ride.position, code.to_owned());
                *ended.refused.entry(place).or_default() += 1;
            };
            ended.rows_in += 1;
            if ride.item.note.as_deref() == Some("bad") {
                return refuse("bad-note");
            }
            let riders = ride.item.riders.clone().unwrap_or_default();
            ended.filtered += u64::from(riders.is_empty());
            ended.mapped += u64::from(!riders.is_empty());
            for rider in riders {
                ended.rows_out += 1;
                let shifted = || Some(at.div_euclid(1_000_000).saturating_add(ride.item.shift_s?));
                let at = match time.shifted {
                    false => Some(at),
                    true => shifted().map(|seconds| seconds.saturating_mul(1_000_000)),
                };
                let Some(at) = at.filter(|at| YEARS.contains(at)) else {
                    ended.untimed += 1;
                    let code = if at.is_some() {
                        "event_time_out_of_range"
                    } else {
                        "null_event_time"
                    };
                    refuse(code);
                    continue;
                };
                let entry = Row {
                    at: Some(at),
                    city: ride.item.city.clone(),
                    rider,
                    amount: ride.item.amount,
                    note: ride.item.note.clone(),
                };
                let judged = judge(&entry, at, watermark, time.size, time.offset, &mut windows);
                if let Some(code) = judged {
                    refuse(code);
                }
            }
        },
    );
    for (split, rides) in splits.iter().enumerate() {
        for (position, _) in rides
            .iter()
            .enumerate()
            .filter(|(_, ride)| ride.at.is_none())
        {
            let place = (split, position, "null_event_time".to_owned());
            ended.refused.insert(place, 1);
        }
    }
    windows.null_event_time = untimed;
    ended.windows = windows;
    ended
}
