//! Free ports of this machine.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// Below those that Linux (from 32768) and macOS (from 49152) give to outgoing connections: a server that is stopped
/// for a while must find its port free again.
const RANGE: std::ops::Range<u16> = 10_000..32_000;

/// `count` ports that nobody listens to, chosen at random so that programs which choose at the same time differ.
///
/// # Errors
///
/// If there are no such ports.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    let size = u64::from(RANGE.end - RANGE.start);
    let first = RandomState::new().hash_one(std::process::id()) % size;
    let ports: Vec<u16> = (0..size)
        .map(|step| RANGE.start + u16::try_from((first + step) % size).unwrap_or_default())
        .filter(|&port| is_free(port))
        .take(count)
        .collect();
    if ports.len() < count {
        bail!(
            "this machine has no {count} free ports from {} on",
            RANGE.start
        );
    }
    Ok(ports)
}

/// Whether a server could listen to the port now.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_differ() {
        let ports = free_ports(3).expect("there are many");
        assert_eq!(ports.len(), 3);
        assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2]);
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports[0]));
        let _taken = taken.expect("it was free just now");
        assert!(!is_free(ports[0]));
    }
}
