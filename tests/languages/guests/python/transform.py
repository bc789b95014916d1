"""The conformance suite's transform in Python: guest-sdk/CONFORMANCE.md says what it does."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

from penstock import (
    Bounds, Date, DateMillis, Duration, Float16, Float32, Int8, Int16, Int32, Mapper, Reject, TimeOfDay, Timestamp,
    UInt8, UInt16, UInt32, UInt64, Window, decimal128, decimal256, duration, fixed, log, metrics, migrates, output, row,
    state, time_of_day, timestamp,
)  # fmt: skip


@row
class Point:
    x: float
    y: float | None


@row
class Place:
    name: str | None
    point: Point | None
    visits: list[Int32 | None]


VALUES: dict[str, Any] = {
    "boolean": bool,
    "int8": Int8,
    "int16": Int16,
    "int32": Int32,
    "int64": int,
    "uint8": UInt8,
    "uint16": UInt16,
    "uint32": UInt32,
    "uint64": UInt64,
    "float16": Float16,
    "float32": Float32,
    "float64": float,
    "decimal128": Annotated[Decimal, decimal128(20, 4)],
    "decimal256": Annotated[Decimal, decimal256(50, 10)],
    "date32": Date,
    "date64": DateMillis,
    "time_s": Annotated[int, time_of_day("s")],
    "time_ms": Annotated[int, time_of_day("ms")],
    "time_us": TimeOfDay,
    "time_ns": Annotated[int, time_of_day("ns")],
    "timestamp_s": Annotated[int, timestamp("s")],
    "timestamp_ms": Annotated[int, timestamp("ms")],
    "timestamp_us": Timestamp,
    "timestamp_ns": Annotated[int, timestamp("ns")],
    "timestamp_paris": Annotated[int, timestamp("us", "Europe/Paris")],
    "timestamp_no_zone": Annotated[int, timestamp("us", None)],
    "duration_s": Annotated[int, duration("s")],
    "duration_ms": Annotated[int, duration("ms")],
    "duration_us": Duration,
    "duration_ns": Annotated[int, duration("ns")],
    "fixed_binary": Annotated[bytes, fixed(5)],
    "utf8": str,
    "binary": bytes,
    "large_utf8": str,
    "large_binary": bytes,
    "list": list[int | None],
    "list_utf8": list[str | None],
    "list_of_lists": list[list[bool | None] | None],
    "large_list": list[Int16 | None],
    "place": Place,
    "places": list[Place | None],
}


def with_values(name: str, own: dict[str, Any], defaults: dict[str, Any]) -> type:
    """A class of its own columns, and then the values, all of which take nulls."""
    annotations = {**own, **{value: hint | None for value, hint in VALUES.items()}}
    return type(name, (), {"__annotations__": annotations, "__module__": __name__, **defaults})


Values = row(with_values("Values", {"command": str | None, "required": int}, {}))
NOTHING = dict.fromkeys(VALUES)
Last = state(
    with_values("Last", {"count": UInt64, "sum": int, "polynomial": UInt64}, {"count": 0, "sum": 0, "polynomial": 0, **NOTHING})
)
Echo = output(with_values("Echo", {"count": UInt64, "sum": int, "polynomial": UInt64}, {}))
Copied = output(with_values("Copied", {"copy": UInt32, "required": int}, {}))


@row
class Old:
    count: UInt64


@row
class Key:
    key: int


@dataclass
class Settings:
    fails: Literal["open", "merge", "finish", "migrate"] | None = None


def signed(number: int) -> int:
    """Modulo 2^64, from -2^63."""
    return (number + 2**63) % 2**64 - 2**63


def values_of(record: Any) -> list[Any]:
    return [getattr(record, name) for name in VALUES]


def obey(values: Values) -> None:
    text = "nothing" if values.utf8 is None else values.utf8
    match values.command:
        case "reject":
            raise Reject("refused", f"a row of {text}")
        case "fail":
            raise RuntimeError("asked to fail")
        case "log":
            log.info(f"hello {text}")
        case "count":
            metrics.count("rows_counted")
            metrics.observe("float64_seen", 0.0 if values.float64 is None else values.float64)


class ConformanceWindow(Window):
    state_version = 3

    def open(self, settings: Settings) -> None:
        self.fails = settings.fails
        self.fail_in("open")

    def fail_in(self, function: str) -> None:
        if self.fails == function:
            raise RuntimeError("asked to fail")

    def accumulate(self, last: Last, values: Values, key: Key) -> None:
        if values.command == "reject":
            last.count += 1000
            last.utf8 = None
        obey(values)
        last.count += 1
        last.sum = signed(last.sum + values.required)
        last.polynomial = (last.polynomial * 31 + values.required + key.key) % 2**64
        for name in VALUES:
            value = getattr(values, name)
            if value is not None:
                setattr(last, name, value)
        if values.command == "append" and last.list is not None:
            last.list.append(values.required)

    def merge(self, earlier: Last, later: Last) -> Last:
        self.fail_in("merge")
        return Last(
            earlier.count + later.count,
            signed(earlier.sum + later.sum),
            (earlier.polynomial * pow(31, later.count, 2**64) + later.polynomial) % 2**64,
            *(old if new is None else new for old, new in zip(values_of(earlier), values_of(later))),
        )

    def finish(self, last: Last, bounds: Bounds, key: Key) -> Echo | None:
        self.fail_in("finish")
        total = signed(last.sum + key.key + 3 * bounds.start + 5 * bounds.end)
        return Echo(last.count, total, last.polynomial, *values_of(last)) if last.count else None

    @migrates(1, 2)
    def from_older(self, old: Old) -> Last:
        self.fail_in("migrate")
        return Last(count=old.count)


class ConformanceMapper(Mapper):
    def map(self, values: Values) -> list[Copied]:
        obey(values)
        return [Copied(copy, values.required, *values_of(values)) for copy in range(values.required & 3)]
