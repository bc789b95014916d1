//! The contract's own types, generated from `wit/`. A transform needs only [`Failure`]; the rest
//! is for those who drive a transform natively (see [`crate::native`]).

pub use crate::bindings::mapping::exports::penstock::transform::mapper::{Mapped, MapperSpec};
pub use crate::bindings::windowing::exports::penstock::transform::windowed::{
    Finished, Updated, WindowedSpec,
};
pub use crate::bindings::windowing::penstock::transform::types::{
    Columns, Event, Failure, Field, Needs, Opening, Reject, Schema,
};
