//! Steps of a swap at which a test may have the process end as a power cut would. Only builds with debug assertions look.

/// The variable that names the step.
#[cfg(debug_assertions)]
const DIE_AT: &str = "PENSTOCK_DIE_AT";

/// A step of a swap is done, for the first lane that comes to it.
pub(in crate::pipeline) fn done(step: &'static str) {
    #[cfg(debug_assertions)]
    if std::env::var_os(DIE_AT).is_some_and(|at| at == step) {
        use rustix::process::{Signal, getpid, kill_process};
        let _ = kill_process(getpid(), Signal::KILL);
        // It takes a moment, in which nothing more may be done.
        loop {
            std::thread::park();
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = step;
}
