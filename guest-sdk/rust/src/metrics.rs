//! Figures for the operator. The host adds the pipeline's name to them, and limits how many names
//! there may be. Natively they go nowhere.

use crate::quiet::is_quiet;

/// Adds to a counter.
pub fn count(name: &str, amount: u64) {
    if is_quiet() {
        return;
    }
    #[cfg(target_arch = "wasm32")]
    crate::bindings::windowing::penstock::transform::metrics::count(name, amount);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (name, amount);
}

/// Adds a value to a histogram.
pub fn observe(name: &str, value: f64) {
    if is_quiet() {
        return;
    }
    #[cfg(target_arch = "wasm32")]
    crate::bindings::windowing::penstock::transform::metrics::observe(name, value);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (name, value);
}
