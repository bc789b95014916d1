//! What every SDK is held against: `guest-sdk/CONFORMANCE.md` says what it does.

use penstock_sdk::KeyedWindow;
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

/// Declares the row, the state and the outputs, which have the same columns.
macro_rules! conformance {
    ($($column:ident: $type:ty,)*) => {
        /// A row with a column of every type.
        #[derive(Row)]
        pub struct Values {
            command: Option<String>,
            required: i64,
            $($column: Option<$type>,)*
        }

        /// The last value of each.
        #[derive(State, Clone, Default)]
        pub struct Last {
            count: u64,
            sum: i64,
            polynomial: u64,
            $($column: Option<$type>,)*
        }

        /// The same.
        #[derive(Output)]
        pub struct Echo {
            count: u64,
            sum: i64,
            polynomial: u64,
            $($column: Option<$type>,)*
        }

        /// A row once more.
        #[derive(Output)]
        pub struct Copied {
            copy: u32,
            required: i64,
            $($column: Option<$type>,)*
        }

        impl Last {
            fn replace(&mut self, later: Values) {
                $(if later.$column.is_some() {
                    self.$column = later.$column;
                })*
            }

            fn merge(self, later: Last) -> Last {
                let power = 31_u64.wrapping_pow(later.count as u32);
                Last {
                    count: self.count + later.count,
                    sum: self.sum.wrapping_add(later.sum),
                    polynomial: self.polynomial.wrapping_mul(power).wrapping_add(later.polynomial),
                    $($column: later.$column.or(self.$column),)*
                }
            }

            fn echo(&self) -> Echo {
                let last = self.clone();
                Echo {
                    count: last.count,
                    sum: last.sum,
                    polynomial: last.polynomial,
                    $($column: last.$column,)*
                }
            }
        }

        impl Values {
            fn copy(&self, copy: u32) -> Copied {
                Copied {
                    copy,
                    required: self.required,
                    $($column: self.$column.clone(),)*
                }
            }
        }
    };
}

conformance! {
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
    large_utf8: String,
    large_binary: Bytes,
    list: Vec<Option<i64>>,
    list_utf8: Vec<Option<String>>,
    list_of_lists: Vec<Option<Vec<Option<bool>>>>,
    large_list: Vec<Option<i16>>,
    place: Place,
    places: Vec<Option<Place>>,
}

impl Values {
    /// Does what the row's command says.
    fn obey(&self) -> Result<(), Reject> {
        let text = self.utf8.as_deref().unwrap_or("nothing");
        match self.command.as_deref() {
            Some("reject") => return Err(Reject::new("refused", format!("a row of {text}"))),
            Some("fail") => panic!("asked to fail"),
            Some("log") => log::info!("hello {text}"),
            Some("count") => {
                metrics::count("rows_counted", 1);
                metrics::observe("float64_seen", self.float64.unwrap_or_default());
            }
            _ => {}
        }
        Ok(())
    }
}

/// The window's key.
#[derive(Row)]
pub struct Key {
    key: i64,
}

/// The window and the mapper.
#[derive(Default)]
pub struct Conformance {
    fails: &'static str,
}

impl Conformance {
    fn fail_in(&self, function: &str) {
        assert!(self.fails != function, "asked to fail");
    }
}

impl KeyedWindow for Conformance {
    type Key<'a> = Key;
    type Row<'a> = Values;
    type State = Last;
    type Output = Option<Echo>;

    const STATE_VERSION: u32 = 3;

    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        let fails = match config.json() {
            "{}" => "",
            r#"{"fails":"open"}"# => "open",
            r#"{"fails":"merge"}"# => "merge",
            r#"{"fails":"finish"}"# => "finish",
            r#"{"fails":"migrate"}"# => "migrate",
            other => return Err(config.wrong(format!("{other} is no configuration of mine"))),
        };
        let opened = Self { fails };
        opened.fail_in("open");
        Ok(opened)
    }

    fn accumulate(&self, key: Key, last: &mut Last, values: Values) -> Result<(), Reject> {
        if values.command.as_deref() == Some("reject") {
            last.count += 1000;
            last.utf8 = None;
        }
        values.obey()?;
        last.count += 1;
        last.sum = last.sum.wrapping_add(values.required);
        last.polynomial = last
            .polynomial
            .wrapping_mul(31)
            .wrapping_add(values.required as u64)
            .wrapping_add(key.key as u64);
        let append = values.command.as_deref() == Some("append");
        let required = values.required;
        last.replace(values);
        if let Some(list) = last.list.as_mut().filter(|_| append) {
            list.push(Some(required));
        }
        Ok(())
    }

    fn merge(&self, earlier: Last, later: Last) -> Last {
        self.fail_in("merge");
        earlier.merge(later)
    }

    fn finish(&self, key: Key, last: &Last, bounds: Bounds) -> Option<Echo> {
        self.fail_in("finish");
        let mut echo = (last.count > 0).then(|| last.echo())?;
        for (times, moment) in [(1, key.key), (3, bounds.start), (5, bounds.end)] {
            echo.sum = echo.sum.wrapping_add(moment.wrapping_mul(times));
        }
        Some(echo)
    }
}

impl Mapper for Conformance {
    type Row<'a> = Values;
    type Output<'a> = Vec<Copied>;

    fn map(&self, values: Values) -> Result<Vec<Copied>, Reject> {
        values.obey()?;
        let copies = (values.required & 3) as u32;
        Ok((0..copies).map(|copy| values.copy(copy)).collect())
    }
}

/// A state of an older version.
#[derive(State, Clone, Default)]
struct Old {
    count: u64,
}

impl Migrate<Last> for Conformance {
    const FROM: &'static [u32] = &[1, 2];

    fn migrate(&self, old: OldStates<'_>) -> Result<Vec<Last>, Failure> {
        self.fail_in("migrate");
        old.map(|old: Old| Last {
            count: old.count,
            ..Last::default()
        })
    }
}

export_window!(Conformance, migrating);
export_mapper!(Conformance);
