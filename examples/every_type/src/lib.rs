//! Takes a column of every type of the contract, remembers the last value of each that was not
//! null, and gives those back: what the tests use to see that every type survives the way in, the
//! way through the state, and the way out.

use penstock_sdk::prelude::*;

/// A zone other than UTC.
pub struct Paris;

impl Zone for Paris {
    const NAME: &'static str = "Europe/Paris";
}

/// A struct in a struct.
#[derive(State, Clone, Debug, Default, PartialEq)]
pub struct Point {
    x: f64,
    y: Option<f64>,
}

/// A struct with a field of each way of being nested.
#[derive(State, Clone, Debug, Default, PartialEq)]
pub struct Place {
    name: Option<String>,
    point: Option<Point>,
    visits: Vec<Option<i32>>,
}

/// Declares the row, the state and the output, which have the same columns.
macro_rules! every_type {
    ($($column:ident: $type:ty,)*) => {
        /// A row with a column of every type.
        #[derive(Row)]
        pub struct Values {
            $($column: Option<$type>,)*
        }

        /// The last value of each, and how many rows there were.
        #[derive(State, Clone, Default)]
        pub struct Last {
            count: u64,
            $($column: Option<$type>,)*
        }

        /// The same.
        #[derive(Output, Debug, PartialEq)]
        pub struct Echo {
            count: u64,
            $($column: Option<$type>,)*
        }

        impl Last {
            fn replace(&mut self, later: Values) {
                $(if later.$column.is_some() {
                    self.$column = later.$column;
                })*
            }

            fn merge(self, later: Last) -> Last {
                Last {
                    count: self.count + later.count,
                    $($column: later.$column.or(self.$column),)*
                }
            }

            fn echo(&self) -> Echo {
                let last = self.clone();
                Echo { count: last.count, $($column: last.$column,)* }
            }
        }
    };
}

every_type! {
    boolean: bool,
    int8: i8,
    int16: i16,
    int32: i32,
    int64: i64,
    uint8: u8,
    uint16: u16,
    uint32: u32,
    uint64: u64,
    float16: Float16,
    float32: f32,
    float64: f64,
    decimal128: Decimal<20, 4>,
    decimal256: Decimal256<50, 10>,
    date32: Date,
    date64: DateMillis,
    time_s: TimeOfDay<Second>,
    time_ms: TimeOfDay<Millisecond>,
    time_us: TimeOfDay<Microsecond>,
    time_ns: TimeOfDay<Nanosecond>,
    timestamp_s: Timestamp<Second>,
    timestamp_ms: Timestamp<Millisecond>,
    timestamp_us: Timestamp,
    timestamp_ns: Timestamp<Nanosecond>,
    timestamp_paris: Timestamp<Microsecond, Paris>,
    timestamp_no_zone: Timestamp<Microsecond, NoZone>,
    duration_s: Duration<Second>,
    duration_ms: Duration<Millisecond>,
    duration_us: Duration<Microsecond>,
    duration_ns: Duration<Nanosecond>,
    fixed_binary: [u8; 5],
    utf8: String,
    binary: Bytes,
    // The source may have these as the large types; the SDK reads both alike and writes small ones.
    large_utf8: String,
    large_binary: Bytes,
    list: Vec<Option<i64>>,
    list_utf8: Vec<Option<String>>,
    list_of_lists: Vec<Option<Vec<Option<bool>>>>,
    large_list: Vec<Option<i16>>,
    place: Place,
    places: Vec<Option<Place>>,
}

/// The transform.
#[derive(Default)]
pub struct EveryType;

impl Window for EveryType {
    type Row<'a> = Values;
    type State = Last;
    type Output = Echo;

    fn accumulate(&self, last: &mut Last, values: Values) -> Result<(), Reject> {
        last.count += 1;
        last.replace(values);
        Ok(())
    }

    fn merge(&self, earlier: Last, later: Last) -> Last {
        earlier.merge(later)
    }

    fn finish(&self, last: &Last, _bounds: Bounds) -> Echo {
        last.echo()
    }
}

export_window!(EveryType);

#[cfg(test)]
mod tests;
