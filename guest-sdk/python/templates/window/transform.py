"""What a customer spends."""

from penstock import Bounds, Reject, UInt64, Window, output, row, state


@row
class Order:
    """The columns of an order that are wanted. The host decodes no others."""

    amount_cents: int
    coupon: str | None


@state
class Orders:
    """What is remembered of a customer. A group starts from the defaults."""

    orders: UInt64 = 0
    cents: int = 0
    last_coupon: str | None = None


@output
class Spend:
    """What comes out. The host adds the customer and the window."""

    orders: UInt64
    mean_cents: float
    last_coupon: str | None


class CustomerSpend(Window):
    """The transform. Its columns are read off the annotations of its methods."""

    def accumulate(self, state: Orders, order: Order) -> None:
        """Adds an order to a state, or refuses it."""
        if not 0 <= order.amount_cents <= 100_000_000:
            raise Reject("amount-out-of-range", f"an order of {order.amount_cents} cents")
        state.orders += 1
        state.cents += order.amount_cents
        if order.coupon is not None:
            state.last_coupon = order.coupon

    def merge(self, earlier: Orders, later: Orders) -> Orders:
        """Combines the states of two slices of time."""
        return Orders(
            orders=earlier.orders + later.orders,
            cents=earlier.cents + later.cents,
            last_coupon=earlier.last_coupon if later.last_coupon is None else later.last_coupon,
        )

    def finish(self, state: Orders, bounds: Bounds) -> Spend | None:
        """Makes output of the state of a window that has closed."""
        if state.orders == 0:
            return None
        return Spend(state.orders, state.cents / state.orders, state.last_coupon)
