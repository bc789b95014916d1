//! Windows against naive oracles, over random streams.
//!
//! In comes a stream, a shape, and some ways to run it; every run must tell the same to the bit,
//! and what the oracle of that kind tells. The oracles are written from the definitions in
//! `docs/pipelines.md` and must never share code with the windows they judge. Cases are random;
//! what fails is printed, shrunk, with the seed that brings it back.

mod again;
mod budgets;
mod costs;
mod drive;
mod failing;
mod merges;
pub(crate) mod offered;
mod oracle_aligned;
mod oracle_session;
mod oracle_unbounded;
mod partials;
mod resting;
mod stream;
mod told;
mod traced;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult};

use super::{Kind, Length, Panes, Shape};
use drive::{Plan, plans, run};
use oracle_aligned::{Aligned, Cuts};
use oracle_session::Sessions;
use oracle_unbounded::{Unbounded, lives};
use stream::{Stream, streams};
use told::Told;

/// How many random cases a property is tried on; `PENSTOCK_CASES` multiplies the usual number.
fn cases(usual: u32) -> Config {
    let times = std::env::var("PENSTOCK_CASES").map_or(Ok(1), |times| times.parse::<u32>());
    let times = times.expect("PENSTOCK_CASES is a whole number");
    Config {
        max_shrink_iters: 20_000,
        ..Config::with_cases(usual * times)
    }
}

/// Every way to run a stream tells what the oracle tells.
fn check(
    shape: &Shape,
    stream: &Stream,
    plans: &[Plan],
    odd: bool,
    oracle: &Told,
) -> TestCaseResult {
    let mut plain = run(shape, stream, &Plan::plain(), odd);
    plain.told.sort();
    if let Some(difference) = oracle_difference(oracle, &plain.told, stream) {
        prop_assert!(false, "the oracle, then the windows: {difference}");
    }
    prop_assert_eq!(plain.states, 0, "states are left");
    for plan in plans {
        let mut other = run(shape, stream, plan, odd);
        other.told.sort();
        if let Some(difference) = plain.told.difference(&other.told) {
            prop_assert!(false, "one batch, then {plan:?}: {difference}");
        }
        prop_assert_eq!(other.states, 0, "states are left with {:?}", plan);
    }
    Ok(())
}

fn oracle_difference(oracle: &Told, run: &Told, stream: &Stream) -> Option<String> {
    let mut oracle = oracle.clone();
    oracle.sort();
    oracle.difference_of_run(run, stream)
}

/// What holds in the end is what the oracle's last emissions say, when running values are emitted
/// after each batch.
fn check_per_batch(shape: &Shape, stream: &Stream, plan: &Plan, oracle: &Told) -> TestCaseResult {
    let shape = Shape {
        per_batch: true,
        ..shape.clone()
    };
    let ran = run(&shape, stream, plan, false);
    prop_assert_eq!(ran.states, 0, "states are left");
    let (told, oracle) = (ran.told.final_values(), oracle.final_values());
    if let Some(difference) = oracle_difference(&oracle, &told, stream) {
        prop_assert!(false, "the oracle, then the windows: {difference}");
    }
    Ok(())
}

fn lateness() -> impl Strategy<Value = i64> {
    prop_oneof![2 => Just(0), 2 => 1..30_i64, 1 => 30..300_i64]
}

/// Lengths of windows of all sorts.
fn lengths() -> impl Strategy<Value = Vec<Length>> {
    let hopping =
        (1..7_i64, prop::collection::btree_set(0..16_i64, 1..4)).prop_map(|(step, more)| {
            let length = |more| Length {
                panes: step + more,
                step,
                growing: false,
            };
            more.into_iter().map(length).collect()
        });
    let long = (1..3_i64).prop_map(|step| {
        vec![Length {
            panes: 60,
            step,
            growing: false,
        }]
    });
    let tumbling = prop::collection::btree_set(1..14_i64, 1..4).prop_map(|sizes| {
        let length = |panes| Length {
            panes,
            step: panes,
            growing: false,
        };
        sizes.into_iter().map(length).collect()
    });
    let growing =
        (1..4_i64, prop::collection::btree_set(1..7_i64, 1..4)).prop_map(|(step, parts)| {
            let length = |parts| Length {
                panes: step * parts,
                step,
                growing: parts > 1,
            };
            parts.into_iter().map(length).collect()
        });
    prop_oneof![4 => hopping, 1 => long, 3 => tumbling, 3 => growing]
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn tumbling_and_hopping_windows_are_the_oracles(
        stream in streams(true), lengths in lengths(), (pane, offset) in (1..13_i64, -6..7_i64),
        lateness in lateness(), odd in any::<bool>(), plans in prop::collection::vec(plans(), 3),
    ) {
        let shape = Shape {
            kind: Kind::Aligned {
                panes: Panes::new(pane, offset).unwrap(),
                lengths: lengths.clone(),
            },
            lateness,
            per_batch: false,
        };
        let cuts = Cuts::Even { size: pane, offset };
        let oracle = Aligned { cuts, lengths, lateness, revises: shape.revises(), odd };
        check(&shape, &stream, &plans, odd, &oracle.tell(&stream))?;
    }
}

/// Days of a time zone: its name, how many days a pane has, and the day around which streams are.
type Days = (&'static str, i64, i64);

/// Days around changes of clocks, and around one that Samoa left out: 2011-12-30.
fn days() -> impl Strategy<Value = Days> {
    let zone = prop::sample::select(vec![
        ("Pacific/Apia", 15_338),
        ("Europe/Zurich", 20_541),
        ("America/Sao_Paulo", 17_838),
        ("UTC", 0),
    ]);
    (zone, prop_oneof![3 => Just(1), 1 => 2..8_i64])
        .prop_map(|((name, day), each)| (name, each, day))
}

/// Around a day that was left out, windows that grow come out once where its bounds are, and others
/// that end there in the one order of all lanes.
#[test]
fn windows_that_end_at_a_day_that_was_left_out_come_in_order() {
    let day = 86_400_000_000;
    let stream = Stream::dense(4, 40, 6).at(15_334 * day, day / 24, 4_000);
    let zone = jiff::tz::TimeZoneDatabase::bundled()
        .get("Pacific/Apia")
        .unwrap();
    for (step, growing) in [(1, true), (1, false), (7, false)] {
        let length = |panes| Length {
            panes,
            step,
            growing,
        };
        let lengths: Vec<Length> = [7, 14].map(length).into();
        for lateness in [0, 3 * day] {
            let panes = Panes::days(zone.clone(), 1, 0).unwrap();
            let kind = Kind::Aligned {
                panes,
                lengths: lengths.clone(),
            };
            let shape = Shape {
                kind,
                lateness,
                per_batch: false,
            };
            let cuts = midnights(("Pacific/Apia", 1, 15_338));
            let revises = shape.revises();
            let oracle = Aligned {
                cuts,
                lengths: lengths.clone(),
                lateness,
                revises,
                odd: false,
            };
            let lanes = |lanes| Plan {
                lanes,
                ..Plan::plain()
            };
            let told = oracle.tell(&stream);
            check(&shape, &stream, &[lanes(2), lanes(3)], false, &told).unwrap();
        }
    }
}

/// Local midnights of a zone, every so many days, for some years around a day. Here a midnight that
/// does not exist is as far after the gap as it is inside, which for midnights is its end.
fn midnights((name, each, day): Days) -> Cuts {
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap();
    let start = |number: i64| {
        let days = jiff::Span::new().days(number * each);
        let date = jiff::civil::date(1970, 1, 1).checked_add(days).unwrap();
        let midnight = date.to_zoned(zone.clone()).unwrap();
        midnight.timestamp().as_microsecond()
    };
    let first = (day - 2_000) / each;
    let starts = (first..(day + 2_000) / each).map(start).collect();
    Cuts::Listed { first, starts }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn windows_of_days_are_the_oracles(
        stream in streams(true), lengths in lengths(), days in days(), lateness in lateness(),
        odd in any::<bool>(), plans in prop::collection::vec(plans(), 3),
    ) {
        let hour = 3_600_000_000;
        let (name, each, day) = days;
        let zone = jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap();
        let stream = stream.at(day * 24 * hour, 3 * hour, 4_000);
        let lateness = lateness * 3 * hour;
        let shape = Shape {
            kind: Kind::Aligned {
                panes: Panes::days(zone, each, 0).unwrap(),
                lengths: lengths.clone(),
            },
            lateness,
            per_batch: false,
        };
        let cuts = midnights(days);
        let oracle = Aligned { cuts, lengths, lateness, revises: shape.revises(), odd };
        check(&shape, &stream, &plans, odd, &oracle.tell(&stream))?;
    }

    #[test]
    fn running_values_of_days_end_as_the_oracles(
        stream in streams(true), days in days(), lateness in lateness(), plan in plans(),
    ) {
        let hour = 3_600_000_000;
        let (name, each, day) = days;
        let zone = jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap();
        let stream = stream.at(day * 24 * hour, 3 * hour, 4_000);
        let lateness = lateness * 3 * hour;
        let lengths = vec![Length { panes: 1, step: 1, growing: false }];
        let kind = Kind::Aligned {
            panes: Panes::days(zone, each, 0).unwrap(),
            lengths: lengths.clone(),
        };
        let shape = Shape { kind, lateness, per_batch: false };
        let cuts = midnights(days);
        let oracle = Aligned { cuts, lengths, lateness, revises: true, odd: false };
        check_per_batch(&shape, &stream, &plan, &oracle.tell(&stream))?;
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn sessions_are_the_oracles(
        stream in streams(true), gap in 1..40_i64, every in prop::option::of(1..40_i64),
        lateness in lateness(), odd in any::<bool>(), plans in prop::collection::vec(plans(), 3),
    ) {
        let shape = Shape { kind: Kind::Session { gap, every }, lateness, per_batch: false };
        let oracle = Sessions { gap, every, lateness, revises: shape.revises(), odd };
        check(&shape, &stream, &plans, odd, &oracle.tell(&stream))?;
    }

    #[test]
    fn unbounded_windows_are_the_oracles(
        stream in streams(true), ttl in 1..200_i64, every in 1..60_i64, odd in any::<bool>(),
        plans in prop::collection::vec(plans(), 3),
    ) {
        let kind = Kind::Unbounded { ttl, every: Some(Panes::new(every, 0).unwrap()) };
        let shape = Shape { kind, lateness: 0, per_batch: false };
        let oracle = Unbounded { ttl, every, odd };
        check(&shape, &stream, &plans, odd, &oracle.tell(&stream))?;
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn running_values_of_tumbling_windows_end_as_the_oracles(
        stream in streams(true), (pane, offset) in (1..60_i64, -6..7_i64), lateness in lateness(),
        plan in plans(),
    ) {
        let lengths = vec![Length { panes: 1, step: 1, growing: false }];
        let kind = Kind::Aligned {
            panes: Panes::new(pane, offset).unwrap(),
            lengths: lengths.clone(),
        };
        let shape = Shape { kind, lateness, per_batch: false };
        let cuts = Cuts::Even { size: pane, offset };
        let oracle = Aligned { cuts, lengths, lateness, revises: true, odd: false };
        check_per_batch(&shape, &stream, &plan, &oracle.tell(&stream))?;
    }

    #[test]
    fn running_values_of_sessions_end_as_the_oracles(
        stream in streams(true), gap in 1..40_i64, lateness in lateness(), plan in plans(),
    ) {
        let shape = Shape { kind: Kind::Session { gap, every: None }, lateness, per_batch: false };
        let oracle = Sessions { gap, every: None, lateness, revises: true, odd: false };
        check_per_batch(&shape, &stream, &plan, &oracle.tell(&stream))?;
    }

    #[test]
    fn running_values_of_unbounded_windows_end_as_the_oracles(
        stream in streams(false), ttl in 1..200_i64, plan in plans(),
    ) {
        let kind = Kind::Unbounded { ttl, every: None };
        let shape = Shape { kind, lateness: 0, per_batch: true };
        let mut ran = run(&shape, &stream, &plan, false);
        ran.told.late.sort_unstable();
        ran.told.rejected.sort_unstable();
        prop_assert_eq!(ran.states, 0, "states are left");
        let (lives, oracle) = lives(ttl, &stream);
        prop_assert_eq!(&oracle.late, &ran.told.late);
        prop_assert_eq!(&oracle.rejected, &ran.told.rejected);
        prop_assert_eq!(oracle.applied, ran.told.applied);
        for (key, life, is_last) in lives {
            // A row is in one life, so its first row tells which life a trace is of.
            let first = life.trace.split(',').next();
            let emitted = ran.told.emitted.iter().filter_map(|row| row.output.as_ref().map(|output| (row, output)));
            let of_life = emitted.filter(|(_, output)| output.state.trace.split(',').next() == first);
            let of_life: Vec<_> = of_life.collect();
            for (row, output) in &of_life {
                prop_assert_eq!(row.key, key);
                prop_assert!(life.trace.starts_with(&output.state.trace));
            }
            let last = of_life.last().map(|(_, output)| &output.state);
            // What ended before its batch did is never seen whole.
            prop_assert!(!is_last || last == Some(&life), "{life:?} and {last:?}");
        }
    }
}
