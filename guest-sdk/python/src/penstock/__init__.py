"""Write Penstock feature transforms in Python.

A transform computes features from a stream of events. Most are *windows*: the host sorts rows into
groups (a key, in a slice of time), keeps a state for each group, and asks for output when a window
closes. What is left to write are three small classes of columns and three small methods::

    from penstock import Bounds, UInt64, Window, output, row, state

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

    class DriverAcceptProportion(Window):
        def accumulate(self, counts: Counts, offer: Offer) -> None:
            counts.offers += 1
            counts.accepted += offer.accepted

        def merge(self, earlier: Counts, later: Counts) -> Counts:
            return Counts(earlier.offers + later.offers, earlier.accepted + later.accepted)

        def finish(self, counts: Counts, bounds: Bounds) -> Acceptance | None:
            return Acceptance(counts.accepted / counts.offers, counts.offers) if counts.offers else None

A field is a column of the same name; `penstock.types` lists the types. A row with a null where the field
is not ``| None`` is rejected with the code ``null`` and never reaches `accumulate`.

`Mapper` derives columns, filters and explodes rows before the windows. `ColumnarWindow` and
`ColumnarMapper` get a batch as columns. `penstock.testing` runs a transform over rows in a unit test.
"""

from . import log, metrics
from .contract import VERSION as __version__
from .failures import BadConfig, BadInput, Failure, Mistake, Reject
from .records import output, row, state
from .types import (
    Date, DateMillis, Duration, Float16, Float32, Float64, Int8, Int16, Int32, Int64, TimeOfDay, Timestamp,
    UInt8, UInt16, UInt32, UInt64, column, decimal128, decimal256, duration, fixed, from_datetime,
    time_of_day, timestamp, to_datetime,
)  # fmt: skip
from .window import Bounds, ColumnarMapper, ColumnarWindow, KeyedRows, Mapped, Mapper, Rows, StateColumns, Window, migrates

__all__ = [
    "BadConfig", "BadInput", "Bounds", "ColumnarMapper", "ColumnarWindow", "Date", "DateMillis", "Duration",
    "Failure", "Float16", "Float32", "Float64", "Int16", "Int32", "Int64", "Int8", "KeyedRows", "Mapped", "Mapper", "Mistake",
    "Reject", "Rows", "StateColumns", "TimeOfDay", "Timestamp", "UInt16", "UInt32", "UInt64", "UInt8", "Window",
    "__version__", "column", "decimal128", "decimal256", "duration", "fixed", "from_datetime", "log", "metrics",
    "migrates", "output", "row", "state", "time_of_day", "timestamp", "to_datetime",
]  # fmt: skip
