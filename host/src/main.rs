//! The `penstock` program.

use std::process::ExitCode;

/// Weeks of states that come and go leave the system's allocator with twice the memory that is in use, in pieces too
/// small to give back. This one keeps sizes apart and returns what is free. How is set where it is built, in
/// `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    penstock::cli::main()
}
