//! The contract's types and functions, generated from `wit/`.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::clone_on_ref_ptr,
    clippy::future_not_send,
    clippy::unwrap_used
)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "everything",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});

pub(super) use self::exports::penstock::transform::{mapper, migration, windowed};
pub(super) use self::penstock::transform::{log, metrics, types};
