//! How many flights left an airport, how late they were on average, and which share was late.

use penstock_sdk::prelude::*;

/// A flight that is more than this many minutes behind its schedule counts as late.
const LATE_AFTER: i64 = 15;

/// No flight is a year early or late. What is below this adds up without overflow.
const MOST: u64 = 365 * 24 * 60;

/// A departure.
#[derive(Row)]
pub struct Departure {
    delay_minutes: i64,
}

/// What is remembered of an airport's departures. Delays are whole minutes, so their sum is exact.
#[derive(State, Clone, Default)]
pub struct Delays {
    flights: u64,
    delay_minutes: i64,
    late: u64,
}

/// The airport's features.
#[derive(Output, Debug, PartialEq)]
pub struct Punctuality {
    flights: u64,
    mean_delay_minutes: f64,
    late_share: f64,
}

/// The transform.
#[derive(Default)]
pub struct FlightsDaily;

impl Window for FlightsDaily {
    type Row<'a> = Departure;
    type State = Delays;
    type Output = Option<Punctuality>;

    fn accumulate(&self, delays: &mut Delays, departure: Departure) -> Result<(), Reject> {
        if departure.delay_minutes.abs_diff(0) > MOST {
            let detail = format!("a delay of {} minutes", departure.delay_minutes);
            return Err(Reject::new("delay-out-of-range", detail));
        }
        delays.flights += 1;
        delays.delay_minutes += departure.delay_minutes;
        delays.late += u64::from(departure.delay_minutes > LATE_AFTER);
        Ok(())
    }

    fn merge(&self, earlier: Delays, later: Delays) -> Delays {
        Delays {
            flights: earlier.flights + later.flights,
            delay_minutes: earlier.delay_minutes + later.delay_minutes,
            late: earlier.late + later.late,
        }
    }

    fn finish(&self, delays: &Delays, _bounds: Bounds) -> Option<Punctuality> {
        let flights = delays.flights as f64;
        (delays.flights > 0).then(|| Punctuality {
            flights: delays.flights,
            mean_delay_minutes: delays.delay_minutes as f64 / flights,
            late_share: delays.late as f64 / flights,
        })
    }
}

export_window!(FlightsDaily);

#[cfg(test)]
mod tests {
    use penstock_sdk::testing::Native;

    use super::*;

    fn departures<const N: usize>(delays: [i64; N]) -> [Departure; N] {
        delays.map(|delay_minutes| Departure { delay_minutes })
    }

    #[test]
    fn late_is_over_fifteen_minutes() {
        let mut window = Native::<FlightsDaily>::open("{}").unwrap();
        window.accumulate(departures([-5, 15, 16, 34]));
        let expected = Punctuality {
            flights: 4,
            mean_delay_minutes: 15.0,
            late_share: 0.5,
        };
        assert_eq!(window.finish(), [expected]);
    }

    #[test]
    fn a_delay_that_cannot_be_rejects_the_flight() {
        let mut window = Native::<FlightsDaily>::open("{}").unwrap();
        let rejects = window.accumulate(departures([1, i64::MAX, 3]));
        assert_eq!(
            (rejects[0].row, rejects[0].code.as_str()),
            (1, "delay-out-of-range")
        );
        assert_eq!(window.finish()[0].mean_delay_minutes, 2.0);
    }
}
