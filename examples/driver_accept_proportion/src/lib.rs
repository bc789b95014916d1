//! The share of its offers that a driver accepted, and how many offers that were.

use penstock_sdk::prelude::*;

/// An offer of a ride to a driver.
#[derive(Row)]
pub struct Offer {
    accepted: bool,
}

/// What is remembered of a driver's offers.
#[derive(State, Clone, Default)]
pub struct Counts {
    offers: u64,
    accepted: u64,
}

/// The driver's features.
#[derive(Output, Debug, PartialEq)]
pub struct Acceptance {
    driver_accept_proportion_10m: f64,
    driver_offers_10m: u64,
}

/// The transform.
#[derive(Default)]
pub struct DriverAcceptProportion;

impl Window for DriverAcceptProportion {
    type Row<'a> = Offer;
    type State = Counts;
    type Output = Option<Acceptance>;

    fn accumulate(&self, counts: &mut Counts, offer: Offer) -> Result<(), Reject> {
        counts.offers += 1;
        counts.accepted += u64::from(offer.accepted);
        Ok(())
    }

    fn merge(&self, earlier: Counts, later: Counts) -> Counts {
        Counts {
            offers: earlier.offers + later.offers,
            accepted: earlier.accepted + later.accepted,
        }
    }

    fn finish(&self, counts: &Counts, _bounds: Bounds) -> Option<Acceptance> {
        (counts.offers > 0).then(|| Acceptance {
            driver_accept_proportion_10m: counts.accepted as f64 / counts.offers as f64,
            driver_offers_10m: counts.offers,
        })
    }
}

export_window!(DriverAcceptProportion);

#[cfg(test)]
mod tests {
    use penstock_sdk::testing::Native;

    use super::*;

    #[test]
    fn the_share_is_of_all_offers() {
        let mut window = Native::<DriverAcceptProportion>::open("{}").unwrap();
        window.accumulate([true, true, false, true].map(|accepted| Offer { accepted }));
        let expected = Acceptance {
            driver_accept_proportion_10m: 0.75,
            driver_offers_10m: 4,
        };
        assert_eq!(window.finish(), [expected]);
    }

    #[test]
    fn no_offers_give_no_share() {
        let window = Native::<DriverAcceptProportion>::open("{}").unwrap();
        assert_eq!(window.finish(), []);
    }

    #[test]
    fn an_offer_without_an_answer_is_rejected() {
        let mut window = Native::<DriverAcceptProportion>::open("{}").unwrap();
        let rows = penstock_sdk::contract::Columns {
            rows: 2,
            buffers: vec![vec![0b01], vec![0b01]],
        };
        let rejects = window.accumulate_columns(&rows, &[0, 0]);
        assert_eq!((rejects[0].row, rejects[0].code.as_str()), (1, "null"));
        assert_eq!(window.finish()[0].driver_offers_10m, 1);
    }
}
