//! A mapper that makes an entry for each rider of a shared ride: none, one or several.
//!
//! With any configuration at all, entries have a time of their own.

use penstock_sdk::contract::{Mapped, MapperSpec, Opening};
use penstock_sdk::native::{Batch, MapByRows, Mapping};
use penstock_sdk::prelude::*;

/// A ride; every column may be null.
#[derive(Row)]
pub struct Ride<'a> {
    at: Option<Timestamp>,
    city: Option<&'a str>,
    riders: Option<Vec<Option<i64>>>,
    amount: Option<f64>,
    note: Option<&'a str>,
    shift_s: Option<i64>,
}

/// What one rider owes.
#[derive(Row)]
pub struct Entry<'a> {
    city: Option<&'a str>,
    rider: Option<i64>,
    amount: Option<f64>,
    note: Option<&'a str>,
}

/// The same, at a time of its own.
#[derive(Row)]
pub struct TimedEntry<'a> {
    note: Option<&'a str>,
    at: Option<Timestamp<Second>>,
    city: Option<&'a str>,
    rider: Option<i64>,
    amount: Option<f64>,
}

fn riders(ride: &mut Ride<'_>) -> Result<Vec<Option<i64>>, Reject> {
    match ride.note {
        Some("bad") => Err(Reject::new("bad-note", "a note that says `bad`")),
        _ => Ok(ride.riders.take().unwrap_or_default()),
    }
}

/// Entries keep the time of their ride.
#[derive(Default)]
pub struct Split;

impl Mapper for Split {
    type Row<'a> = Ride<'a>;
    type Output<'a> = Vec<Entry<'a>>;

    fn map<'a>(&'a self, mut ride: Ride<'a>) -> Result<Vec<Entry<'a>>, Reject> {
        let riders = riders(&mut ride)?.into_iter();
        let entry = |rider| Entry {
            city: ride.city,
            rider,
            amount: ride.amount,
            note: ride.note,
        };
        Ok(riders.map(entry).collect())
    }
}

/// Entries are `shift_s` seconds later than their ride, or at no time if that is null.
#[derive(Default)]
pub struct SplitTimed;

impl Mapper for SplitTimed {
    type Row<'a> = Ride<'a>;
    type Output<'a> = Vec<TimedEntry<'a>>;

    fn open(_config: &Config<'_>) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn map<'a>(&'a self, mut ride: Ride<'a>) -> Result<Vec<TimedEntry<'a>>, Reject> {
        let riders = riders(&mut ride)?.into_iter();
        let at = ride.at.zip(ride.shift_s);
        let at = at.map(|(at, shift)| at.value().div_euclid(1_000_000).saturating_add(shift));
        let entry = |rider| TimedEntry {
            note: ride.note,
            at: at.map(Timestamp::new),
            city: ride.city,
            rider,
            amount: ride.amount,
        };
        Ok(riders.map(entry).collect())
    }
}

/// One or the other.
pub enum Splitter {
    /// Without configuration.
    Kept(MapByRows<Split>),
    /// With one.
    Timed(MapByRows<SplitTimed>),
}

impl Mapping for Splitter {
    fn open(opening: &Opening) -> Result<(Self, MapperSpec), Failure> {
        if opening.config == "{}" {
            let (mapper, spec) = MapByRows::open(opening)?;
            return Ok((Self::Kept(mapper), spec));
        }
        let (mapper, spec) = MapByRows::open(opening)?;
        Ok((Self::Timed(mapper), spec))
    }

    fn map(&self, event: u32, input: Batch<'_>) -> Result<Mapped, Failure> {
        metrics::count("calls", 1);
        match self {
            Self::Kept(mapper) => mapper.map(event, input),
            Self::Timed(mapper) => mapper.map(event, input),
        }
    }
}

export_mapper!(@ Splitter);
