//! Object stores: how URLs name them, how they are opened, and what is said when they refuse.
//!
//! In come URLs as people write them, with the options of their environment; out go opened stores, and errors that
//! a person can act on. Recorded events are read through it (`source/storage`), and the embedded store may live there
//! (`store/embedded`): both are configured in one way. Nothing is asked of a store here, and no error shows a secret.

mod error;
mod open;
mod url;

pub(crate) use self::error::{Hidden, Place, at, changed, explain, is_transient};
pub use self::error::{StorageError, StorageFault};
pub use self::open::{KNOWN_OPTIONS, unknown_options};
pub(crate) use self::open::{open, retries};
pub(crate) use self::url::{Kind, StoreUrl};
