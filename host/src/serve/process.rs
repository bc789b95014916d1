//! What the system says of this process. Where it says nothing, there is no number.

use std::fs;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Numbers of this process, as they are now.
#[derive(Debug, Clone, Default)]
pub(super) struct ProcessFigures {
    /// Seconds of processors that it has had.
    pub(super) cpu_s: f64,
    /// Bytes of memory that it holds.
    pub(super) resident_bytes: Option<u64>,
    /// Threads that it has.
    pub(super) threads: Option<u64>,
    /// Files and connections that are open.
    pub(super) open_files: Option<u64>,
    /// Files and connections that may be open at once.
    pub(super) open_files_limit: Option<u64>,
}

impl ProcessFigures {
    /// Looks now.
    pub(super) fn look() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        // proc(5): a line is `VmRSS:      1234 kB` or `Threads:  5`.
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.split_whitespace().next()?.parse::<u64>().ok()
        };
        let open_files = fs::read_dir("/proc/self/fd").ok();
        Self {
            cpu_s: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            resident_bytes: number("VmRSS").map(|kib| kib * 1024),
            threads: number("Threads"),
            open_files: open_files.map(|files| files.count() as u64),
            open_files_limit: getrlimit(Resource::Nofile).current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let figures = ProcessFigures::look();
        assert!(figures.cpu_s > 0.0);
        if cfg!(target_os = "linux") {
            assert!(figures.resident_bytes.is_some_and(|bytes| bytes > 1 << 20));
            assert!(figures.threads.is_some_and(|threads| threads >= 1));
            assert!(figures.open_files.is_some_and(|files| files >= 3));
        }
    }
}
