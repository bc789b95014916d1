//! How many rides a driver finished, and what they earned. How far back that looks is the
//! pipeline's to say: the same transform serves ten minutes and a day.

use penstock_sdk::prelude::*;

/// The highest fare that is believed, in cents. Sums of what is below it do not overflow.
const MOST_CENTS: i64 = 1_000_000;

/// A ride that was finished.
#[derive(Row)]
pub struct Ride {
    fare_cents: i64,
}

/// What is remembered of a driver's rides in a slice of time. Cents are whole, so sums are exact.
#[derive(State, Clone, Debug, Default, PartialEq)]
pub struct Earned {
    rides: u64,
    cents: i64,
}

/// The driver's features.
#[derive(Output, Debug, PartialEq)]
pub struct Rides {
    rides: u64,
    earnings_cents: i64,
    mean_fare_cents: f64,
}

/// The transform.
#[derive(Default)]
pub struct RidesByLength;

impl Window for RidesByLength {
    type Row<'a> = Ride;
    type State = Earned;
    type Output = Option<Rides>;

    fn accumulate(&self, earned: &mut Earned, ride: Ride) -> Result<(), Reject> {
        if !(0..=MOST_CENTS).contains(&ride.fare_cents) {
            let detail = format!("a fare of {} cents", ride.fare_cents);
            return Err(Reject::new("fare-out-of-range", detail));
        }
        earned.rides += 1;
        earned.cents += ride.fare_cents;
        Ok(())
    }

    fn merge(&self, earlier: Earned, later: Earned) -> Earned {
        Earned {
            rides: earlier.rides + later.rides,
            cents: earlier.cents + later.cents,
        }
    }

    fn finish(&self, earned: &Earned, _bounds: Bounds) -> Option<Rides> {
        (earned.rides > 0).then(|| Rides {
            rides: earned.rides,
            earnings_cents: earned.cents,
            mean_fare_cents: earned.cents as f64 / earned.rides as f64,
        })
    }
}

export_window!(RidesByLength);

#[cfg(test)]
mod tests {
    use penstock_sdk::testing::Native;

    use super::*;

    fn rides<const N: usize>(fares: [i64; N]) -> [Ride; N] {
        fares.map(|fare_cents| Ride { fare_cents })
    }

    fn window() -> Native<RidesByLength> {
        Native::open("{}").unwrap()
    }

    #[test]
    fn rides_are_counted_and_their_fares_added() {
        let mut window = window();
        window.accumulate(rides([1250, 0, 1000]));
        let expected = Rides {
            rides: 3,
            earnings_cents: 2250,
            mean_fare_cents: 750.0,
        };
        assert_eq!(window.finish(), [expected]);
    }

    #[test]
    fn a_fare_that_cannot_be_rejects_the_ride() {
        let mut window = window();
        let rejects = window.accumulate(rides([100, -1, MOST_CENTS + 1, MOST_CENTS]));
        let rejects: Vec<_> = rejects.iter().map(|r| (r.row, r.code.as_str())).collect();
        assert_eq!(
            rejects,
            [(1, "fare-out-of-range"), (2, "fare-out-of-range")]
        );
        assert_eq!(window.finish()[0].rides, 2);
    }

    #[test]
    fn an_hour_is_the_sum_of_its_minutes() {
        let transform = RidesByLength;
        let minutes = [[3, 1900], [0, 0], [1, 450]].map(|[rides, cents]| Earned {
            rides: rides as u64,
            cents,
        });
        let [a, b, c] = minutes;
        let merge = |a: &Earned, b: &Earned| transform.merge(a.clone(), b.clone());
        let hour = Earned {
            rides: 4,
            cents: 2350,
        };
        assert_eq!(merge(&merge(&a, &b), &c), hour);
        assert_eq!(merge(&a, &merge(&b, &c)), hour);
        assert_eq!(merge(&Earned::default(), &a), a);
        assert_eq!(merge(&a, &Earned::default()), a);
    }

    #[test]
    fn without_rides_there_is_no_mean_fare() {
        assert_eq!(window().finish(), []);
    }
}
