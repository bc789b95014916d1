//! What every feature store promises, asked of each backend alike, over a network that fails, and with bad input.

mod backends;
mod declared;
mod faults;
mod oversized;
mod promises;
mod refused;
mod ttl;
