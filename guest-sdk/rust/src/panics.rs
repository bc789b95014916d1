//! What a panic says before it becomes a trap.

/// Sends the message of a panic, with its place in the source, to the log. The trap that follows
/// tells the host only that there was one.
#[cfg(target_arch = "wasm32")]
pub(crate) fn log_before_trap() {
    std::panic::set_hook(Box::new(|panic| {
        crate::log::write(crate::log::Level::Error, &panic.to_string())
    }));
}
