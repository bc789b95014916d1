//! Live streams as sources: from what `penstock.toml` declares to what reads it.
//!
//! In comes an event of an environment. Out comes a [`DeclaredStream`]: the settings of a client, the format
//! of the messages, and the columns that the event has. Nothing here connects to a broker before it is asked
//! to, and no setting is dropped or guessed.

mod declared;

pub use self::declared::{DeclaredError, DeclaredStream, StreamOptions};
