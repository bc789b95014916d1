//! Running a transform natively, through the same code that runs in a component: for benchmarks,
//! and for tests that go down to the bytes. (For an ordinary unit test see [`crate::testing`].)
//!
//! Buffers are borrowed, and laid out as the contract says (`wit/types.wit`); nothing is copied on
//! the way in.
//!
//! ```
//! use penstock_sdk::contract::{Event, Opening};
//! use penstock_sdk::native::{Batch, ByRows, Windowed, schema_of};
//! use penstock_sdk::prelude::*;
//! # #[derive(Row)]
//! # struct Offer { accepted: bool }
//! # #[derive(State, Clone, Default)]
//! # struct Counts { offers: u64 }
//! # #[derive(Output)]
//! # struct Share { offers: u64 }
//! # #[derive(Default)]
//! # struct Offers;
//! # impl Window for Offers {
//! #     type Row<'a> = Offer;
//! #     type State = Counts;
//! #     type Output = Share;
//! #     fn accumulate(&self, state: &mut Counts, offer: Offer) -> Result<(), Reject> {
//! #         state.offers += u64::from(offer.accepted);
//! #         Ok(())
//! #     }
//! #     fn merge(&self, a: Counts, b: Counts) -> Counts { Counts { offers: a.offers + b.offers } }
//! #     fn finish(&self, state: &Counts, _: Bounds) -> Share { Share { offers: state.offers } }
//! # }
//! let event = Event { name: "offers".into(), schema: schema_of::<Offer>() };
//! let opening = Opening { config: "{}".into(), events: vec![event], key: vec![], options: vec![] };
//! let (transform, spec) = ByRows::<Offers>::open(&opening)?;
//!
//! let keys = Batch { rows: 1, buffers: &[] };
//! let states = Batch { rows: 1, buffers: &[&[], &[0; 8]] }; // one group that starts from nothing
//! let rows = Batch { rows: 3, buffers: &[&[], &[0b101]] }; // accepted, not, accepted
//! let updated = transform.accumulate(0, rows, [0u32, 0, 0].as_slice().into(), keys, states)?;
//! assert_eq!(updated.states.buffers[1], [2, 0, 0, 0, 0, 0, 0, 0]);
//! # Ok::<(), Failure>(())
//! ```

pub use crate::buffers::Batch;
pub use crate::glue::{
    ByColumns, ByRows, Groups, MapByColumns, MapByRows, Mapping, Migrating, Windowed,
};
pub use crate::schema::schema_of;
