//! `driver_accept_proportion` once more, with its own loop over the columns of a batch. It must
//! give the same bytes; whether it is worth the trouble is what the two are there to compare.

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

impl ColumnarWindow for DriverAcceptProportion {
    type Key<'a> = ();
    type Row<'a> = Offer;
    type State = Counts;
    type Output = Option<Acceptance>;

    fn accumulate<'a>(
        &self,
        rows: &Rows<'a, Offer>,
        counts: &mut StateColumns<Counts>,
        rejects: &mut Rejects,
    ) -> Result<(), Failure> {
        // As slices of their own, which the compiler can keep in registers, and of one length, so that it checks each group once.
        let offers = &mut counts.offers[..];
        let accepted = &mut counts.accepted[..offers.len()];
        let mut count = |group: u32, is_accepted: bool| {
            offers[group as usize] += 1;
            accepted[group as usize] += u64::from(is_accepted);
        };
        if rows.has_nulls() {
            for (row, &group) in rows.groups().iter().enumerate() {
                match rows.null(row) {
                    Some(null) => rejects.add(row, null),
                    None => count(group, rows.accepted.get(row)),
                }
            }
            return Ok(());
        }
        // A byte of the bitmap is of eight rows.
        let (eights, rest) = rows.groups().as_chunks::<8>();
        for (groups, byte) in eights.iter().zip(rows.accepted.bits()) {
            for (bit, &group) in groups.iter().enumerate() {
                count(group, byte >> bit & 1 == 1);
            }
        }
        for (at, &group) in rest.iter().enumerate() {
            count(group, rows.accepted.get(8 * eights.len() + at));
        }
        Ok(())
    }

    fn merge(&self, earlier: Counts, later: Counts) -> Counts {
        Counts {
            offers: earlier.offers + later.offers,
            accepted: earlier.accepted + later.accepted,
        }
    }

    fn finish(&self, _key: (), counts: &Counts, _bounds: Bounds) -> Option<Acceptance> {
        (counts.offers > 0).then(|| Acceptance {
            driver_accept_proportion_10m: counts.accepted as f64 / counts.offers as f64,
            driver_offers_10m: counts.offers,
        })
    }
}

export_window!(columnar DriverAcceptProportion);

#[cfg(test)]
mod tests {
    use penstock_sdk::testing::NativeColumnar;

    use super::*;

    #[test]
    fn the_share_is_of_all_offers() {
        let mut window = NativeColumnar::<DriverAcceptProportion>::open("{}").unwrap();
        window.accumulate([true, true, false, true].map(|accepted| Offer { accepted }));
        let [acceptance] = &window.finish()[..] else {
            panic!("one row")
        };
        assert_eq!(
            *acceptance,
            Acceptance {
                driver_accept_proportion_10m: 0.75,
                driver_offers_10m: 4
            }
        );
    }

    #[test]
    fn an_offer_without_an_answer_is_rejected() {
        let mut window = NativeColumnar::<DriverAcceptProportion>::open("{}").unwrap();
        let rows = penstock_sdk::contract::Columns {
            rows: 2,
            buffers: vec![vec![0b01], vec![0b01]],
        };
        let rejects = window.accumulate_columns(&rows, &[0, 0]);
        assert_eq!((rejects[0].row, rejects[0].code.as_str()), (1, "null"));
        assert_eq!(window.finish()[0].driver_offers_10m, 1);
    }
}
