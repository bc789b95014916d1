//! How many drivers became free in a cell of the map, how many riders asked for one, and how many
//! riders there are for each driver. A mapper before this one says which cell an event is in.

use penstock_sdk::prelude::*;

/// A driver became free, or a rider asked for a ride.
#[derive(Row)]
pub struct MarketEvent<'a> {
    kind: &'a str,
}

/// What is remembered of a cell.
#[derive(State, Clone, Debug, Default, PartialEq)]
pub struct Counts {
    drivers: u64,
    requests: u64,
}

/// The cell's features.
#[derive(Output, Debug, PartialEq)]
pub struct Market {
    supply: u64,
    demand: u64,
    /// Null without drivers: there is no number for that, and none that models read would do.
    demand_per_supply: Option<f64>,
}

/// The transform.
#[derive(Default)]
pub struct SupplyAndDemand;

impl Window for SupplyAndDemand {
    type Row<'a> = MarketEvent<'a>;
    type State = Counts;
    type Output = Option<Market>;

    fn accumulate(&self, counts: &mut Counts, event: MarketEvent<'_>) -> Result<(), Reject> {
        match event.kind {
            "driver_free" => counts.drivers += 1,
            "ride_request" => counts.requests += 1,
            unknown => return Err(Reject::new("unknown-kind", unknown)),
        }
        Ok(())
    }

    fn merge(&self, earlier: Counts, later: Counts) -> Counts {
        Counts {
            drivers: earlier.drivers + later.drivers,
            requests: earlier.requests + later.requests,
        }
    }

    fn finish(&self, counts: &Counts, _bounds: Bounds) -> Option<Market> {
        let Counts { drivers, requests } = *counts;
        (drivers + requests > 0).then(|| Market {
            supply: drivers,
            demand: requests,
            demand_per_supply: (drivers > 0).then(|| requests as f64 / drivers as f64),
        })
    }
}

export_window!(SupplyAndDemand);

#[cfg(test)]
mod tests {
    use penstock_sdk::testing::Native;

    use super::*;

    fn market(kinds: &[&str]) -> Vec<Market> {
        let mut window = Native::<SupplyAndDemand>::open("{}").unwrap();
        let rejects = window.accumulate(kinds.iter().map(|kind| MarketEvent { kind }));
        assert!(rejects.is_empty());
        window.finish()
    }

    #[test]
    fn drivers_and_requests_are_counted() {
        let expected = Market {
            supply: 2,
            demand: 3,
            demand_per_supply: Some(1.5),
        };
        let (driver, request) = ("driver_free", "ride_request");
        assert_eq!(
            market(&[request, driver, request, driver, request]),
            [expected]
        );
    }

    #[test]
    fn without_drivers_there_is_no_ratio() {
        let expected = Market {
            supply: 0,
            demand: 1,
            demand_per_supply: None,
        };
        assert_eq!(market(&["ride_request"]), [expected]);
    }

    #[test]
    fn without_requests_the_ratio_is_zero() {
        assert_eq!(market(&["driver_free"])[0].demand_per_supply, Some(0.0));
        assert_eq!(market(&[]), []);
    }

    #[test]
    fn a_kind_that_nobody_knows_is_rejected() {
        let mut window = Native::<SupplyAndDemand>::open("{}").unwrap();
        let kinds = ["driver_free", "driver_gone"];
        let rejects = window.accumulate(kinds.map(|kind| MarketEvent { kind }));
        assert_eq!((rejects[0].row, &*rejects[0].code), (1, "unknown-kind"));
        assert_eq!(window.finish()[0].supply, 1);
    }
}
