//! Silence while rows are applied once more: what they log and count was said the first time.

use std::cell::Cell;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Does something without a word to the operator.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    QUIET.set(true);
    let done = work();
    QUIET.set(false);
    done
}

/// Whether nothing is to be said now.
pub(crate) fn is_quiet() -> bool {
    QUIET.get()
}
