//! The types of columns, beside the plain ones of Rust.
//!
//! | Arrow | Rust |
//! | --- | --- |
//! | boolean | `bool` |
//! | int8 … int64, uint8 … uint64 | `i8` … `i64`, `u8` … `u64` |
//! | float16, float32, float64 | [`Float16`], `f32`, `f64` |
//! | decimal128(P, S), decimal256(P, S) | [`Decimal<P, S>`](Decimal), [`Decimal256<P, S>`](Decimal256) |
//! | date32, date64 | [`Date`], [`DateMillis`] |
//! | time | [`TimeOfDay<Unit>`](TimeOfDay) |
//! | timestamp | [`Timestamp<Unit, Zone>`](Timestamp); UTC unless said otherwise |
//! | duration | [`Duration<Unit>`](Duration) |
//! | fixed-size binary | `[u8; N]` |
//! | utf8, and large utf8 when read | `String`, or `&'a str` in a row |
//! | binary, and large binary when read | [`Bytes`], or `&'a [u8]` in a row |
//! | list, and large list when read | `Vec<T>` (so `Vec<u8>` is a list of uint8: see [`Bytes`]) |
//! | struct | a struct with `#[derive(Row)]`, `#[derive(State)]` or `#[derive(Output)]` |
//!
//! Each of them in an [`Option`] may be null; without it, it may not.

mod decimal;
mod fixed;
mod list;
mod numbers;
mod text;
mod time;

pub use decimal::{Decimal, Decimal256};
pub use fixed::{Booleans, Fixed, FixedWidth};
pub use list::Lists;
pub use numbers::Float16;
pub use text::{Binaries, Bytes, Strings};
pub use time::{
    Date, DateMillis, Duration, Microsecond, Millisecond, Nanosecond, NoZone, Second, TimeOfDay,
    Timestamp, Unit, Utc, Zone,
};

#[cfg(test)]
mod tests;
