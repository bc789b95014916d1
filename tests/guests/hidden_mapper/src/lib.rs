//! A mapper that hands on entries, and remembers what it must not, as its configuration says.

use std::sync::atomic::{AtomicU64, Ordering};

use penstock_sdk::contract::{Mapped, MapperSpec, Opening};
use penstock_sdk::native::{Batch, MapByRows, Mapping};
use penstock_sdk::prelude::*;

/// Rows that this instance has seen.
static SEEN: AtomicU64 = AtomicU64::new(0);
/// Rows that this instance has seen in the call at hand.
static IN_CALL: AtomicU64 = AtomicU64::new(0);

/// An entry, before and after.
#[derive(Row)]
pub struct Entry<'a> {
    city: Option<&'a str>,
    amount: Option<f64>,
}

/// Where it remembers.
#[derive(Default, Clone, Copy, PartialEq)]
enum Where {
    #[default]
    Nowhere,
    /// Every third row of the instance is left out.
    Instance,
    /// The first row of a call is left out.
    Call,
}

/// The mapper of rows.
#[derive(Default)]
pub struct Rows {
    remembers: Where,
}

impl Mapper for Rows {
    type Row<'a> = Entry<'a>;
    type Output<'a> = Option<Entry<'a>>;

    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        let places = [("instance", Where::Instance), ("call", Where::Call)];
        let mut places = places.into_iter();
        let asked = places.find(|(name, _)| config.json().contains(name));
        Ok(Self {
            remembers: asked.map_or(Where::Nowhere, |(_, place)| place),
        })
    }

    fn map<'a>(&'a self, entry: Entry<'a>) -> Result<Option<Entry<'a>>, Reject> {
        let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
        let in_call = IN_CALL.fetch_add(1, Ordering::Relaxed) + 1;
        let is_lost = match self.remembers {
            Where::Nowhere => false,
            Where::Instance => seen.is_multiple_of(3),
            Where::Call => in_call == 1,
        };
        Ok((!is_lost).then_some(entry))
    }
}

/// The mapper of batches, which knows where a call begins. Its name is one that the parts of an export
/// might have, too: the two must not meet.
pub struct Place(MapByRows<Rows>);

impl Mapping for Place {
    fn open(opening: &Opening) -> Result<(Self, MapperSpec), Failure> {
        let (mapper, spec) = MapByRows::open(opening)?;
        Ok((Self(mapper), spec))
    }

    fn map(&self, event: u32, input: Batch<'_>) -> Result<Mapped, Failure> {
        IN_CALL.store(0, Ordering::Relaxed);
        self.0.map(event, input)
    }
}

export_mapper!(@ Place);
