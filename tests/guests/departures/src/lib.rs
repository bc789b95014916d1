//! What other engines were asked about flights: counts, sums, extremes, a mean and a share.

use penstock_sdk::prelude::*;

/// A departure.
#[derive(Row)]
pub struct Departure {
    delay_minutes: i64,
    distance_miles: i64,
}

/// What is remembered of departures.
#[derive(State, Clone)]
pub struct Departures {
    flights: u64,
    late: u64,
    delay_minutes: i64,
    least_delay: i64,
    greatest_delay: i64,
    distance_miles: i64,
}

impl Default for Departures {
    fn default() -> Self {
        Self {
            flights: 0,
            late: 0,
            delay_minutes: 0,
            least_delay: i64::MAX,
            greatest_delay: i64::MIN,
            distance_miles: 0,
        }
    }
}

/// What comes out.
#[derive(Output)]
pub struct Summary {
    flights: u64,
    mean_delay_minutes: f64,
    late_share: f64,
    min_delay_minutes: i64,
    max_delay_minutes: i64,
    distance_miles: i64,
}

/// The transform.
#[derive(Default)]
pub struct Flights;

impl Window for Flights {
    type Row<'a> = Departure;
    type State = Departures;
    type Output = Summary;

    fn accumulate(&self, all: &mut Departures, departure: Departure) -> Result<(), Reject> {
        *all = self.merge(
            all.clone(),
            Departures {
                flights: 1,
                late: u64::from(departure.delay_minutes > 15),
                delay_minutes: departure.delay_minutes,
                least_delay: departure.delay_minutes,
                greatest_delay: departure.delay_minutes,
                distance_miles: departure.distance_miles,
            },
        );
        Ok(())
    }

    fn merge(&self, earlier: Departures, later: Departures) -> Departures {
        Departures {
            flights: earlier.flights + later.flights,
            late: earlier.late + later.late,
            delay_minutes: earlier.delay_minutes + later.delay_minutes,
            least_delay: earlier.least_delay.min(later.least_delay),
            greatest_delay: earlier.greatest_delay.max(later.greatest_delay),
            distance_miles: earlier.distance_miles + later.distance_miles,
        }
    }

    fn finish(&self, all: &Departures, _bounds: Bounds) -> Summary {
        let flights = all.flights as f64;
        Summary {
            flights: all.flights,
            mean_delay_minutes: all.delay_minutes as f64 / flights,
            late_share: all.late as f64 / flights,
            min_delay_minutes: all.least_delay,
            max_delay_minutes: all.greatest_delay,
            distance_miles: all.distance_miles,
        }
    }
}

export_window!(Flights);
