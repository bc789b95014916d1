//! What an order is worth.

use penstock_sdk::prelude::*;

/// The columns of an order that are wanted. The host decodes no others.
#[derive(Row)]
pub struct Order<'a> {
    customer: &'a str,
    amount_cents: i64,
}

/// What comes out. It borrows the customer's name from the order.
#[derive(Row, Debug, PartialEq)]
pub struct Worth<'a> {
    customer: &'a str,
    amount: f64,
    is_large: bool,
}

/// The mapper.
#[derive(Default)]
pub struct OrderWorth;

impl Mapper for OrderWorth {
    type Row<'a> = Order<'a>;
    /// None leaves the order out; a Vec would make several rows of it.
    type Output<'a> = Option<Worth<'a>>;

    fn map<'a>(&'a self, order: Order<'a>) -> Result<Option<Worth<'a>>, Reject> {
        if order.amount_cents < 0 {
            let detail = format!("an order of {} cents", order.amount_cents);
            return Err(Reject::new("negative-amount", detail));
        }
        if order.customer.starts_with("test-") {
            return Ok(None);
        }
        Ok(Some(Worth {
            customer: order.customer,
            amount: order.amount_cents as f64 / 100.0,
            is_large: order.amount_cents > 2000,
        }))
    }
}

export_mapper!(OrderWorth);

#[cfg(test)]
mod tests {
    use penstock_sdk::testing::NativeMapper;

    use super::*;

    #[test]
    fn test_customers_are_left_out_and_negative_amounts_refused() {
        let mapper = NativeMapper::<OrderWorth>::open("{}").unwrap();
        let order = |customer, amount_cents| Order {
            customer,
            amount_cents,
        };
        let orders = [order("c-1", 2500), order("test-1", 100), order("c-2", -1)];
        let mapped = mapper.map(orders);
        let expected = Worth {
            customer: "c-1",
            amount: 25.0,
            is_large: true,
        };
        assert_eq!(mapped.rows, [expected]);
        assert_eq!(mapped.rejects[0].row, 2);
        assert_eq!(mapped.rejects[0].code, "negative-amount");
    }
}
