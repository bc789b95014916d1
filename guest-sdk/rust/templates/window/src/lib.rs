//! What a customer spends.

use penstock_sdk::prelude::*;

/// The columns of an order that are wanted. The host decodes no others.
#[derive(Row)]
pub struct Order<'a> {
    amount_cents: i64,
    coupon: Option<&'a str>,
}

/// What is remembered of a customer.
#[derive(State, Clone, Default)]
pub struct Orders {
    orders: u64,
    cents: i64,
    last_coupon: Option<String>,
}

/// What comes out. The host adds the customer and the window.
#[derive(Output, Debug, PartialEq)]
pub struct Spend {
    orders: u64,
    mean_cents: f64,
    last_coupon: Option<String>,
}

/// The transform.
#[derive(Default)]
pub struct CustomerSpend;

impl Window for CustomerSpend {
    type Row<'a> = Order<'a>;
    type State = Orders;
    type Output = Option<Spend>;

    /// Adds an order to a state, or refuses it.
    fn accumulate(&self, state: &mut Orders, order: Order<'_>) -> Result<(), Reject> {
        if !(0..=100_000_000).contains(&order.amount_cents) {
            let detail = format!("an order of {} cents", order.amount_cents);
            return Err(Reject::new("amount-out-of-range", detail));
        }
        state.orders += 1;
        state.cents += order.amount_cents;
        if let Some(coupon) = order.coupon {
            state.last_coupon = Some(coupon.to_owned());
        }
        Ok(())
    }

    /// Combines the states of two slices of time.
    fn merge(&self, earlier: Orders, later: Orders) -> Orders {
        Orders {
            orders: earlier.orders + later.orders,
            cents: earlier.cents + later.cents,
            last_coupon: later.last_coupon.or(earlier.last_coupon),
        }
    }

    /// Makes output of the state of a window that has closed.
    fn finish(&self, state: &Orders, _bounds: Bounds) -> Option<Spend> {
        (state.orders > 0).then(|| Spend {
            orders: state.orders,
            mean_cents: state.cents as f64 / state.orders as f64,
            last_coupon: state.last_coupon.clone(),
        })
    }
}

export_window!(CustomerSpend);

#[cfg(test)]
mod tests {
    use penstock_sdk::testing::Native;

    use super::*;

    fn order(amount_cents: i64, coupon: Option<&str>) -> Order<'_> {
        Order {
            amount_cents,
            coupon,
        }
    }

    #[test]
    fn a_refused_order_leaves_no_trace() {
        let mut window = Native::<CustomerSpend>::open("{}").unwrap();
        let rejects = window.accumulate([
            order(1250, None),
            order(-990, Some("VIP")),
            order(3000, Some("SPRING")),
        ]);
        assert_eq!(rejects.len(), 1);
        assert_eq!(rejects[0].row, 1);
        assert_eq!(rejects[0].code, "amount-out-of-range");
        let expected = Spend {
            orders: 2,
            mean_cents: 2125.0,
            last_coupon: Some("SPRING".to_owned()),
        };
        assert_eq!(window.finish(), [expected]);
    }

    #[test]
    fn the_later_coupon_wins() {
        let mut window = Native::<CustomerSpend>::open("{}").unwrap();
        let later = window.add_group(());
        window.accumulate_into([
            (later, order(100, Some("VIP"))),
            (0, order(100, Some("SPRING"))),
        ]);
        window.merge(0, later);
        assert_eq!(window.states()[0].last_coupon.as_deref(), Some("VIP"));
    }
}
