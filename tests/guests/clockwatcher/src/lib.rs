//! A transform that reads clocks, random bytes, the environment and files, connects to an address, and sleeps if its
//! configuration says so. Built for WASI, where it finds nothing behind any of them.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime};

use penstock_sdk::prelude::*;

/// A row.
#[derive(Row)]
pub struct Entry {
    amount: f64,
}

/// What is remembered.
#[derive(State, Clone, Default)]
pub struct Seen {
    rows: u64,
    amount: f64,
    wall_seconds: u64,
    elapsed_nanos: u64,
    random: u64,
    environment: u64,
    files: u64,
    network: u64,
}

/// What comes out.
#[derive(Output)]
pub struct Told {
    rows: u64,
    wall_seconds: u64,
    elapsed_nanos: u64,
    random: u64,
    environment: u64,
    files: u64,
    network: u64,
}

/// The transform.
#[derive(Default)]
pub struct Clockwatcher {
    nap: Option<Duration>,
    /// Whom it connects to: `127.0.0.1:80`.
    reach: Option<String>,
}

impl Window for Clockwatcher {
    type Row<'a> = Entry;
    type State = Seen;
    type Output = Told;

    fn open(config: &Config<'_>) -> Result<Self, Failure> {
        let naps = [
            ("nothing", Duration::ZERO),
            ("nanosecond", Duration::from_nanos(1)),
            ("second", Duration::from_secs(1)),
            ("forever", Duration::MAX),
        ];
        let nap = naps
            .into_iter()
            .find(|(name, _)| config.json().contains(&format!("\"{name}\"")));
        let reach = config.json().split_once("\"reach\":\"");
        let reach = reach.and_then(|(_, rest)| rest.split_once('"'));
        Ok(Self {
            nap: nap.map(|(_, nap)| nap),
            reach: reach.map(|(address, _)| address.to_owned()),
        })
    }

    #[allow(clippy::disallowed_methods)] // Reading the clock and sleeping is what this guest is for.
    fn accumulate(&self, seen: &mut Seen, entry: Entry) -> Result<(), Reject> {
        if let Some(nap) = self.nap {
            std::thread::sleep(nap);
        }
        let began = Instant::now();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        seen.rows += 1;
        seen.amount += entry.amount;
        seen.wall_seconds = wall.map_or(u64::MAX, |wall| wall.as_secs());
        seen.random = RandomState::new().hash_one(1);
        seen.environment = std::env::vars().count() as u64;
        seen.files = u64::from(std::fs::read_dir("/").is_ok());
        if let Some(address) = &self.reach {
            let resolved = "localhost:80".to_socket_addrs();
            let is_known = resolved.is_ok_and(|mut addresses| addresses.next().is_some());
            let is_reached = TcpStream::connect(address).is_ok();
            seen.network += u64::from(is_known) + u64::from(is_reached);
        }
        seen.elapsed_nanos = began.elapsed().as_nanos() as u64;
        Ok(())
    }

    fn merge(&self, _earlier: Seen, later: Seen) -> Seen {
        later
    }

    fn finish(&self, seen: &Seen, _bounds: Bounds) -> Told {
        Told {
            rows: seen.rows,
            wall_seconds: seen.wall_seconds,
            elapsed_nanos: seen.elapsed_nanos,
            random: seen.random,
            environment: seen.environment,
            files: seen.files,
            network: seen.network,
        }
    }
}

export_window!(Clockwatcher);
