"""What an order is worth."""

from penstock import Mapper, Reject, output, row


@row
class Order:
    """The columns of an order that are wanted. The host decodes no others."""

    customer: str
    amount_cents: int


@output
class Worth:
    """What comes out."""

    customer: str
    amount: float
    is_large: bool


class OrderWorth(Mapper):
    """The mapper. Its columns are read off the annotations of `map`."""

    def map(self, order: Order) -> Worth | None:
        """None leaves the order out; a list would make several rows of it."""
        if order.amount_cents < 0:
            raise Reject("negative-amount", f"an order of {order.amount_cents} cents")
        if order.customer.startswith("test-"):
            return None
        return Worth(order.customer, order.amount_cents / 100, order.amount_cents > 2000)
