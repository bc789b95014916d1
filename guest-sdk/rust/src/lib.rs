//! Write Penstock transforms in Rust.
//!
//! A transform computes features from a stream of events. Most are *window* transforms (the others,
//! [mappers](#mappers), come before them): the host sorts rows into groups (a key, in a slice of time), keeps a state for each group, and
//! asks for output when a window closes. What is left to write are three structs and three small
//! functions:
//!
//! ```
//! use penstock_sdk::prelude::*;
//!
//! /// The columns of the event that are wanted; the host decodes no others.
//! #[derive(Row)]
//! struct Offer {
//!     accepted: bool,
//! }
//!
//! /// What is remembered of a driver. The default is what every group starts from.
//! #[derive(State, Clone, Default)]
//! struct Counts {
//!     offers: u64,
//!     accepted: u64,
//! }
//!
//! /// The features. The host adds the key and the window.
//! #[derive(Output, Debug, PartialEq)]
//! struct Acceptance {
//!     driver_accept_proportion_10m: f64,
//!     driver_offers_10m: u64,
//! }
//!
//! #[derive(Default)]
//! struct DriverAcceptProportion;
//!
//! impl Window for DriverAcceptProportion {
//!     type Row<'a> = Offer;
//!     type State = Counts;
//!     type Output = Option<Acceptance>; // or the struct itself, or a Vec of it
//!
//!     /// Adds a row to a state.
//!     fn accumulate(&self, counts: &mut Counts, offer: Offer) -> Result<(), Reject> {
//!         counts.offers += 1;
//!         counts.accepted += u64::from(offer.accepted);
//!         Ok(())
//!     }
//!
//!     /// Combines the states of two slices of time.
//!     fn merge(&self, earlier: Counts, later: Counts) -> Counts {
//!         Counts {
//!             offers: earlier.offers + later.offers,
//!             accepted: earlier.accepted + later.accepted,
//!         }
//!     }
//!
//!     /// Turns the state of a closed window into output.
//!     fn finish(&self, counts: &Counts, _bounds: Bounds) -> Option<Acceptance> {
//!         (counts.offers > 0).then(|| Acceptance {
//!             driver_accept_proportion_10m: counts.accepted as f64 / counts.offers as f64,
//!             driver_offers_10m: counts.offers,
//!         })
//!     }
//! }
//!
//! export_window!(DriverAcceptProportion);
//!
//! // A unit test runs all of it natively, columns and all.
//! let mut window = testing::Native::<DriverAcceptProportion>::open("{}")?;
//! window.accumulate([true, true, false, true].map(|accepted| Offer { accepted }));
//! let expected = Acceptance { driver_accept_proportion_10m: 0.75, driver_offers_10m: 4 };
//! assert_eq!(window.finish(), [expected]);
//! # Ok::<(), Failure>(())
//! ```
//!
//! The crate is a `cdylib` (and an `rlib`, for its tests). Built for `wasm32-unknown-unknown` and
//! encoded as a component, it imports nothing but [`log`] and [`metrics`].
//!
//! # Columns
//!
//! A field of a struct is a column of the same name, or of the one in `#[column("name")]`. The types
//! are listed in [`types`]; `Option` makes a column nullable; structs and lists nest:
//!
//! ```
//! # use penstock_sdk::prelude::*;
//! #[derive(Row)]
//! struct Ride<'a> {
//!     #[column("fareAmount")]
//!     fare: Decimal<10, 2>,
//!     city: &'a str,               // borrowed from the batch: nothing is copied
//!     promotion: Option<&'a str>,  // may be null
//!     requested_at: Timestamp,     // microseconds, UTC
//!     stops: Vec<Stop>,
//! }
//!
//! #[derive(Row)]
//! struct Stop {
//!     latitude: f64,
//!     longitude: f64,
//! }
//! ```
//!
//! When the transform is opened, the columns that the source has are compared with the struct, and
//! one that is missing or of another type is refused by name, with what to do.
//!
//! # Rows that are refused
//!
//! Sources nearly always say that their columns may be null, and nearly never mean it. A field that
//! is no `Option` therefore takes such a column, and a row that is null there (or somewhere inside)
//! is rejected, alone, with the code `null` and the column's name. It never reaches `accumulate`.
//!
//! `accumulate` rejects a row by returning a [`Reject`]. Such a row leaves no trace in the state,
//! whatever was done to the state before: the SDK then computes it anew from the rows before, and
//! so the good path pays nothing for it. (This is one reason why `accumulate` must do the same
//! whenever it sees the same; the other is that the host replays rows after a crash.)
//!
//! # Mappers
//!
//! A [`Mapper`] stands before the windows: it derives columns, leaves rows out, and makes several of
//! one. It has no state, and is as short:
//!
//! ```
//! # use penstock_sdk::prelude::*;
//! #[derive(Row)]
//! struct Ride<'a> {
//!     driver: u64,
//!     fare: f64,
//!     stops: Vec<&'a str>,
//! }
//!
//! #[derive(Row, Debug, PartialEq)] // `Output` for one that borrows nothing from the row
//! struct Stop<'a> {
//!     driver: u64,
//!     city: &'a str,
//! }
//!
//! #[derive(Default)]
//! struct Stops;
//!
//! impl Mapper for Stops {
//!     type Row<'a> = Ride<'a>;
//!     type Output<'a> = Vec<Stop<'a>>; // or the struct itself, an Option of it or an array
//!
//!     fn map<'a>(&'a self, ride: Ride<'a>) -> Result<Vec<Stop<'a>>, Reject> {
//!         if ride.fare < 0.0 {
//!             return Err(Reject::new("negative-fare", format!("a fare of {}", ride.fare)));
//!         }
//!         let stops = ride.stops.into_iter();
//!         Ok(stops.map(|city| Stop { driver: ride.driver, city }).collect())
//!     }
//! }
//!
//! export_mapper!(Stops);
//!
//! let mapper = testing::NativeMapper::<Stops>::open("{}")?;
//! let ride = |fare, stops: &[&'static str]| Ride { driver: 7, fare, stops: stops.to_vec() };
//! let mapped = mapper.map([ride(9.5, &["Ulm", "Aalen"]), ride(4.0, &[]), ride(-1.0, &["Ulm"])]);
//! assert_eq!(mapped.rows, ["Ulm", "Aalen"].map(|city| Stop { driver: 7, city }));
//! assert_eq!(mapped.source_row, [0, 0]); // row 1 gave nothing: it was filtered
//! assert_eq!((mapped.rejects[0].row, mapped.rejects[0].code.as_str()), (2, "negative-fare"));
//! # Ok::<(), Failure>(())
//! ```
//!
//! A crate with both macros, `export_mapper!` and `export_window!`, becomes one component whose window
//! sees what its mapper makes of the event.
//!
//! # More
//!
//! - [`Window::open`] reads the pipeline's configuration.
//! - [`KeyedWindow`] is for transforms that look at the key of a group.
//! - [`Migrate`] takes over states of an older version of the transform.
//! - [`ColumnarWindow`] and [`ColumnarMapper`] are for those who want the loop over a batch themselves.
//! - [`log`] and [`metrics`] are for the operator. A panic is logged with its place, and the host
//!   then treats the call as failed.
//! - [`native`] runs a transform natively over raw buffers, for benchmarks.

// The derives name this crate, and its own tests use them.
#[cfg(test)]
extern crate self as penstock_sdk;

#[cfg(not(target_endian = "little"))]
compile_error!("the contract is little-endian, and so must be the machine");

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
#[doc(hidden)]
pub mod bindings;
mod buffers;
mod columnar;
#[cfg(doctest)]
mod compile_fail;
pub mod contract;
mod export;
mod glue;
pub mod log;
mod mapper;
pub mod metrics;
pub mod native;
mod old;
#[cfg(target_arch = "wasm32")]
mod panics;
mod quiet;
mod schema;
pub mod testing;
pub mod types;
mod value;
mod window;

pub use columnar::{ColumnarWindow, EventRows, Rejects, Rows, StateColumns};
pub use contract::Failure;
pub use mapper::{ColumnarMapper, IntoRows, MappedRows, Mapper};
pub use old::OldStates;
pub use penstock_sdk_derive::{Output, Row, State};
pub use value::{Record, StateRecord, Value};
pub use window::{Bounds, Config, Emit, KeyedWindow, Migrate, Reject, Window};

/// What a transform usually needs: `use penstock_sdk::prelude::*;`
///
/// [`KeyedWindow`] is not in it: every [`Window`] is one too, and with both traits at hand a call of
/// `accumulate` would be ambiguous.
pub mod prelude {
    pub use crate::types::*;
    pub use crate::{
        Bounds, ColumnarMapper, ColumnarWindow, Config, Emit, EventRows, Failure, MappedRows,
        Mapper, Migrate, OldStates, Output, Reject, Rejects, Row, Rows, State, StateColumns,
        Window, export_mapper, export_window, log, metrics, testing,
    };
}
