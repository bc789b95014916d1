//! Lines for the operator. The host limits how many a call may write. Natively they go to stderr.
//!
//! ```
//! use penstock_sdk::log;
//! log::warn!("{} offers without a driver", 3);
//! ```

use crate::quiet::is_quiet;

pub use crate::bindings::windowing::penstock::transform::log::Level;

pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_warn as warn,
};

/// Writes a line.
pub fn write(level: Level, message: &str) {
    if is_quiet() {
        return;
    }
    #[cfg(target_arch = "wasm32")]
    crate::bindings::windowing::penstock::transform::log::write(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

/// Writes a line for those who look for a fault. Takes what `format!` takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($format:tt)+) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($format)+)) };
}

/// Writes a line on what goes well. Takes what `format!` takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($format:tt)+) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($format)+)) };
}

/// Writes a line on what someone should look at. Takes what `format!` takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($format:tt)+) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($format)+)) };
}

/// Writes a line on what went wrong. Takes what `format!` takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($format:tt)+) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($format)+)) };
}
