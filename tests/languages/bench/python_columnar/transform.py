"""driver_accept_proportion with its own loop over columns, for `cargo xtask bench languages`."""

from penstock import Bounds, ColumnarWindow, Rows, StateColumns, UInt64, output, row, state


@row
class Offer:
    accepted: bool


@state
class Counts:
    offers: UInt64 = 0
    accepted: UInt64 = 0


@output
class Acceptance:
    driver_accept_proportion_10m: float
    driver_offers_10m: UInt64


class DriverAcceptProportion(ColumnarWindow):
    def accumulate(self, counts: StateColumns[Counts], offers: Rows[Offer]) -> None:
        offered, accepted = counts.offers, counts.accepted
        for group, yes in zip(offers.groups, offers.accepted):
            offered[group] += 1
            if yes:
                accepted[group] += 1

    def merge(self, earlier: Counts, later: Counts) -> Counts:
        return Counts(earlier.offers + later.offers, earlier.accepted + later.accepted)

    def finish(self, counts: Counts, bounds: Bounds) -> Acceptance | None:
        return Acceptance(counts.accepted / counts.offers, counts.offers) if counts.offers else None
