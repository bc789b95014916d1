//! Where the tables of all lanes of the process are put together: on a thread of its own.
//!
//! On the threads that read and write for lanes, a commit would wait for the merge of two tables to come to a point at
//! which it lets others run.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

/// How much the thread yields to others (see setpriority(2)): lanes are waited for, tables are not.
const NICE: i32 = 5;

/// The thread of compaction; an error where the system has none to give.
pub(super) fn thread() -> std::io::Result<Handle> {
    static THREAD: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = THREAD.get() {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("compaction")
        .on_thread_start(|| {
            let thread = rustix::thread::gettid();
            // Without leave it runs like the others.
            let _ = rustix::process::setpriority_process(Some(thread), NICE);
        })
        .enable_all()
        .build()?;
    // Of two that come at once, one is dropped again, which must not happen on a thread that runs tasks.
    match THREAD.set(runtime) {
        Ok(()) => {}
        Err(other) => other.shutdown_background(),
    }
    Ok(THREAD.get().expect("it was set").handle().clone())
}
