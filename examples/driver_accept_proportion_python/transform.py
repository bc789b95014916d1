"""The share of its offers that a driver accepted, and how many offers that were."""

from penstock import Bounds, UInt64, Window, output, row, state


@row
class Offer:
    """An offer of a ride to a driver."""

    accepted: bool


@state
class Counts:
    """What is remembered of a driver's offers."""

    offers: UInt64 = 0
    accepted: UInt64 = 0


@output
class Acceptance:
    """The driver's features."""

    driver_accept_proportion_10m: float
    driver_offers_10m: UInt64


class DriverAcceptProportion(Window):
    """The transform."""

    def accumulate(self, counts: Counts, offer: Offer) -> None:
        counts.offers += 1
        counts.accepted += offer.accepted

    def merge(self, earlier: Counts, later: Counts) -> Counts:
        return Counts(earlier.offers + later.offers, earlier.accepted + later.accepted)

    def finish(self, counts: Counts, bounds: Bounds) -> Acceptance | None:
        if counts.offers == 0:
            return None
        return Acceptance(counts.accepted / counts.offers, counts.offers)
