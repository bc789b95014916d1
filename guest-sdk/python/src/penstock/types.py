"""The types of columns, as annotations.

==============================================  ===============================  ===============
annotation                                      column                           format
==============================================  ===============================  ===============
``bool``                                        ``bool``                         ``b``
``Int8`` ``Int16`` ``Int32`` ``Int64``, ``int`` ``int8`` to ``int64``            ``c s i l``
``UInt8`` ``UInt16`` ``UInt32`` ``UInt64``      ``uint8`` to ``uint64``          ``C S I L``
``Float16`` ``Float32`` ``Float64``, ``float``  ``float16`` to ``float64``       ``e f g``
``Annotated[Decimal, decimal128(12, 2)]``       ``decimal128[12, 2]``            ``d:12,2``
``Annotated[Decimal, decimal256(40, 2)]``       ``decimal256[40, 2]``            ``d:40,2,256``
``Date``, ``DateMillis``                        ``date32``, ``date64``           ``tdD tdm``
``TimeOfDay``, ``time_of_day("s")``             ``time64[us]``, ``time32[s]``    ``ttu tts``
``Timestamp``, ``timestamp("ms")``              ``timestamp[us, UTC]``, …        ``tsu:UTC``
``timestamp("us", None)``                       ``timestamp[us]``                ``tsu:``
``Duration``, ``duration("s")``                 ``duration[us]``, …              ``tDu tDs``
``Annotated[bytes, fixed(16)]``                 ``fixed_size_binary[16]``        ``w:16``
``str``                                         ``utf8`` (a row: large too)      ``u``
``bytes``                                       ``binary`` (a row: large too)    ``z``
``list[T]``, ``list[T | None]``                 ``list[T!]``, ``list[T]``        ``+l``
a record class                                  ``struct{…}``                    ``+s``
==============================================  ===============================  ===============

``T | None`` may be null. Integers are exact at any size. Dates and times are the integer that Arrow
holds: days, or units since 1970 or midnight. `to_datetime` and `from_datetime` help with timestamps.
A type that takes arguments is put into ``Annotated``: ``Annotated[int, timestamp("ms")]``. A column of
another name than its field: ``Annotated[float, column("fareAmount")]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated

_UNITS = {"s": "s", "ms": "m", "us": "u", "ns": "n"}


@dataclass(frozen=True)
class ColumnType:
    """The format of a column in Arrow's C data interface."""

    format: str


@dataclass(frozen=True)
class column:
    """The name of a column, where it is not that of the field."""

    name: str


def _unit(unit: str) -> str:
    if unit not in _UNITS:
        raise ValueError(f"`{unit}` is not a unit of time: there are s, ms, us and ns")
    return _UNITS[unit]


def decimal128(precision: int, scale: int) -> ColumnType:
    """A ``decimal.Decimal`` of at most 38 digits, ``scale`` of them behind the point."""
    if not 1 <= precision <= 38:
        raise ValueError("a decimal128 has 1 to 38 digits; decimal256 has up to 76")
    return ColumnType(f"d:{precision},{scale}")


def decimal256(precision: int, scale: int) -> ColumnType:
    """A ``decimal.Decimal`` of at most 76 digits, ``scale`` of them behind the point."""
    if not 1 <= precision <= 76:
        raise ValueError("a decimal256 has 1 to 76 digits")
    return ColumnType(f"d:{precision},{scale},256")


def fixed(length: int) -> ColumnType:
    """``bytes`` of this very length."""
    if length < 1:
        raise ValueError("fixed bytes have a length of at least 1")
    return ColumnType(f"w:{length}")


def timestamp(unit: str = "us", zone: str | None = "UTC") -> ColumnType:
    """An instant as an int: units since 1970 in UTC, whatever the zone it is shown in. Without a zone
    (``None``) the date and time on some wall."""
    return ColumnType(f"ts{_unit(unit)}:{zone or ''}")


def duration(unit: str = "us") -> ColumnType:
    """A length of time as an int."""
    return ColumnType(f"tD{_unit(unit)}")


def time_of_day(unit: str = "us") -> ColumnType:
    """Units since midnight, as an int."""
    return ColumnType(f"tt{_unit(unit)}")


Int8 = Annotated[int, ColumnType("c")]
Int16 = Annotated[int, ColumnType("s")]
Int32 = Annotated[int, ColumnType("i")]
Int64 = Annotated[int, ColumnType("l")]
UInt8 = Annotated[int, ColumnType("C")]
UInt16 = Annotated[int, ColumnType("S")]
UInt32 = Annotated[int, ColumnType("I")]
UInt64 = Annotated[int, ColumnType("L")]
Float16 = Annotated[float, ColumnType("e")]
Float32 = Annotated[float, ColumnType("f")]
Float64 = Annotated[float, ColumnType("g")]
#: Days since 1970-01-01.
Date = Annotated[int, ColumnType("tdD")]
#: A date as milliseconds from 1970-01-01 to its start.
DateMillis = Annotated[int, ColumnType("tdm")]
#: Microseconds since midnight.
TimeOfDay = Annotated[int, time_of_day("us")]
#: Microseconds since 1970-01-01T00:00:00Z.
Timestamp = Annotated[int, timestamp("us")]
#: Microseconds.
Duration = Annotated[int, duration("us")]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def to_datetime(microseconds: int) -> datetime:
    """A timestamp in microseconds as a ``datetime`` in UTC. ``OverflowError`` outside the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=microseconds)


def from_datetime(moment: datetime) -> int:
    """The microseconds since 1970 of a ``datetime`` that has a zone."""
    if moment.tzinfo is None:
        raise ValueError("a datetime without a zone is not an instant: give it one")
    return (moment - _EPOCH) // timedelta(microseconds=1)
