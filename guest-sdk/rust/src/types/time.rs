//! Dates, times of day, timestamps and durations. They hold the number that Arrow holds and no
//! calendar: bring the calendar crate of your choice.

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use super::FixedWidth;
use super::fixed::fixed_width_value;

mod sealed {
    pub trait Sealed {}
}

/// The unit of a time: [`Second`], [`Millisecond`], [`Microsecond`] or [`Nanosecond`].
pub trait Unit: sealed::Sealed + 'static {
    /// The unit's letter in Arrow's format strings.
    const CODE: char;
    /// How many of it make a second.
    const PER_SECOND: i64;
}

macro_rules! unit {
    ($($(#[$doc:meta])* $name:ident, $code:literal, $per_second:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name;
            impl sealed::Sealed for $name {}
            impl Unit for $name {
                const CODE: char = $code;
                const PER_SECOND: i64 = $per_second;
            }
        )*
    };
}

unit! {
    /// Seconds.
    Second, 's', 1;
    /// Milliseconds.
    Millisecond, 'm', 1_000;
    /// Microseconds.
    Microsecond, 'u', 1_000_000;
    /// Nanoseconds.
    Nanosecond, 'n', 1_000_000_000;
}

/// The zone of a [`Timestamp`]. Implement it on a type of your own for a zone other than UTC:
///
/// ```
/// use penstock_sdk::types::{Microsecond, Timestamp, Zone};
/// struct Paris;
/// impl Zone for Paris {
///     const NAME: &'static str = "Europe/Paris";
/// }
/// type LocalTime = Timestamp<Microsecond, Paris>;
/// ```
pub trait Zone: 'static {
    /// The zone's name, as in `Europe/Paris` or `+02:00`.
    const NAME: &'static str;
}

/// Coordinated Universal Time.
#[derive(Clone, Copy, Debug)]
pub enum Utc {}

impl Zone for Utc {
    const NAME: &'static str = "UTC";
}

/// No zone: a date and time on some wall, not an instant.
#[derive(Clone, Copy, Debug)]
pub enum NoZone {}

impl Zone for NoZone {
    const NAME: &'static str = "";
}

/// Days since 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(
    /// Days since 1970-01-01.
    pub i32,
);

impl FixedWidth<4> for Date {
    fn format() -> String {
        "tdD".to_owned()
    }

    #[inline(always)]
    fn decode(bytes: [u8; 4]) -> Self {
        Self(i32::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn encode(&self) -> [u8; 4] {
        self.0.to_le_bytes()
    }
}
fixed_width_value!([] Date, 4);

/// A date, as milliseconds from 1970-01-01 to its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateMillis(
    /// Milliseconds since 1970-01-01.
    pub i64,
);

impl FixedWidth<8> for DateMillis {
    fn format() -> String {
        "tdm".to_owned()
    }

    #[inline(always)]
    fn decode(bytes: [u8; 8]) -> Self {
        Self(i64::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn encode(&self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}
fixed_width_value!([] DateMillis, 8);

/// A type that holds an integer and carries its meaning in marker types, for which `derive` would
/// ask too much.
macro_rules! marked_integer {
    ($name:ident, [$($parameter:ident: $bound:ident),+], $integer:ty) => {
        impl<$($parameter: $bound),+> $name<$($parameter),+> {
            /// From the number of units.
            #[inline(always)]
            pub const fn new(value: $integer) -> Self {
                Self { value, of: PhantomData }
            }

            /// The number of units.
            #[inline(always)]
            pub const fn value(self) -> $integer {
                self.value
            }
        }

        impl<$($parameter: $bound),+> From<$integer> for $name<$($parameter),+> {
            fn from(value: $integer) -> Self {
                Self::new(value)
            }
        }

        impl<$($parameter: $bound),+> Clone for $name<$($parameter),+> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($parameter: $bound),+> Copy for $name<$($parameter),+> {}

        impl<$($parameter: $bound),+> Default for $name<$($parameter),+> {
            fn default() -> Self {
                Self::new(0)
            }
        }

        impl<$($parameter: $bound),+> PartialEq for $name<$($parameter),+> {
            fn eq(&self, other: &Self) -> bool {
                self.value == other.value
            }
        }

        impl<$($parameter: $bound),+> Eq for $name<$($parameter),+> {}

        impl<$($parameter: $bound),+> PartialOrd for $name<$($parameter),+> {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl<$($parameter: $bound),+> Ord for $name<$($parameter),+> {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.value.cmp(&other.value)
            }
        }

        impl<$($parameter: $bound),+> Hash for $name<$($parameter),+> {
            fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
                self.value.hash(hasher);
            }
        }

        impl<$($parameter: $bound),+> Debug for $name<$($parameter),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.value).finish()
            }
        }
    };
}

/// An instant, as units since 1970-01-01T00:00:00Z; with [`NoZone`], the date and time of some
/// wall clock, as units since 1970-01-01T00:00:00 on it.
///
/// In a row, a timestamp with a zone also takes a column of another zone: an instant is the same in
/// all of them. In a state and an output the zone is part of the column's type.
pub struct Timestamp<U: Unit = Microsecond, Z: Zone = Utc> {
    value: i64,
    of: PhantomData<fn() -> (U, Z)>,
}
marked_integer!(Timestamp, [U: Unit, Z: Zone], i64);

impl<U: Unit, Z: Zone> FixedWidth<8> for Timestamp<U, Z> {
    fn format() -> String {
        format!("ts{}:{}", U::CODE, Z::NAME)
    }

    #[inline(always)]
    fn decode(bytes: [u8; 8]) -> Self {
        Self::new(i64::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn encode(&self) -> [u8; 8] {
        self.value.to_le_bytes()
    }
}
fixed_width_value!([U: Unit, Z: Zone] Timestamp<U, Z>, 8);

/// A length of time.
pub struct Duration<U: Unit = Microsecond> {
    value: i64,
    of: PhantomData<fn() -> U>,
}
marked_integer!(Duration, [U: Unit], i64);

impl<U: Unit> FixedWidth<8> for Duration<U> {
    fn format() -> String {
        format!("tD{}", U::CODE)
    }

    #[inline(always)]
    fn decode(bytes: [u8; 8]) -> Self {
        Self::new(i64::from_le_bytes(bytes))
    }

    #[inline(always)]
    fn encode(&self) -> [u8; 8] {
        self.value.to_le_bytes()
    }
}
fixed_width_value!([U: Unit] Duration<U>, 8);

/// The time since midnight.
pub struct TimeOfDay<U: Unit = Microsecond> {
    value: i64,
    of: PhantomData<fn() -> U>,
}
marked_integer!(TimeOfDay, [U: Unit], i64);

macro_rules! time_of_day {
    ($($unit:ident, $stored:ty;)*) => {
        $(
            impl FixedWidth<{ size_of::<$stored>() }> for TimeOfDay<$unit> {
                fn format() -> String {
                    format!("tt{}", $unit::CODE)
                }

                #[inline(always)]
                fn decode(bytes: [u8; size_of::<$stored>()]) -> Self {
                    Self::new(<$stored>::from_le_bytes(bytes).into())
                }

                #[inline(always)]
                fn encode(&self) -> [u8; size_of::<$stored>()] {
                    (self.value as $stored).to_le_bytes()
                }
            }
            fixed_width_value!([] TimeOfDay<$unit>, size_of::<$stored>());
        )*
    };
}

// A day has fewer seconds and milliseconds than 32 bits hold.
time_of_day! {
    Second, i32;
    Millisecond, i32;
    Microsecond, i64;
    Nanosecond, i64;
}
