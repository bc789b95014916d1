//! How many different riders there were, within a few per cent, in one kilobyte however many came.
//!
//! Counting distinct riders exactly means to remember them all; a sketch remembers what is needed to
//! estimate how many there were. This one is HyperLogLog: see [`sketch`].

use penstock_sdk::prelude::*;

pub mod sketch;

use sketch::Sketch;

/// A request for a ride.
#[derive(Row)]
pub struct Request {
    rider_id: i64,
}

/// What is remembered of a cell's requests: the sketch, as the bytes of its registers.
#[derive(State, Clone, Debug, Default, PartialEq)]
pub struct Riders {
    registers: Bytes,
}

/// The cell's feature.
#[derive(Output, Debug, PartialEq)]
pub struct Distinct {
    distinct_riders: u64,
}

/// The transform.
#[derive(Default)]
pub struct DistinctRiders;

impl Window for DistinctRiders {
    type Row<'a> = Request;
    type State = Riders;
    type Output = Distinct;

    fn accumulate(&self, riders: &mut Riders, request: Request) -> Result<(), Reject> {
        Sketch::of(&mut riders.registers.0).add(request.rider_id);
        Ok(())
    }

    fn merge(&self, mut earlier: Riders, later: Riders) -> Riders {
        Sketch::of(&mut earlier.registers.0).add_all(&later.registers);
        earlier
    }

    fn finish(&self, riders: &Riders, _bounds: Bounds) -> Distinct {
        Distinct {
            distinct_riders: sketch::estimate(&riders.registers).round() as u64,
        }
    }
}

export_window!(DistinctRiders);

#[cfg(test)]
mod tests;
