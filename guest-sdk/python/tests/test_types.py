"""Every type survives the way in, through the state, and out."""

import math
import random
import struct
import unittest
from decimal import Decimal
from typing import Annotated

from penstock import (
    Bounds, Date, DateMillis, Duration, Failure, Float16, Float32, Int8, Int16, Int32, TimeOfDay, Timestamp, UInt8,
    UInt16, UInt32, UInt64, Window, bits, column, decimal128, decimal256, duration, fixed, from_datetime, output, row,
    state, time_of_day, timestamp, to_datetime,
)  # fmt: skip
from penstock.records import record_of
from penstock.testing import Native


@row
class Point:
    x: float = 0.0
    y: float | None = None


@row
class Place:
    name: str | None = None
    point: Point | None = None
    visits: list[Int32 | None] = None  # type: ignore[assignment]


@state
class Values:
    boolean: bool | None = None
    int8: Int8 | None = None
    int16: Int16 | None = None
    int32: Int32 | None = None
    int64: int | None = None
    uint8: UInt8 | None = None
    uint16: UInt16 | None = None
    uint32: UInt32 | None = None
    uint64: UInt64 | None = None
    float16: Float16 | None = None
    float32: Float32 | None = None
    float64: float | None = None
    decimal: Annotated[Decimal | None, decimal128(20, 4)] = None
    decimal_256: Annotated[Decimal | None, decimal256(50, 10)] = None
    date: Date | None = None
    date_ms: DateMillis | None = None
    time_s: Annotated[int | None, time_of_day("s")] = None
    time_us: TimeOfDay | None = None
    at: Timestamp | None = None
    local: Annotated[int | None, timestamp("ns", None)] = None
    paris: Annotated[int | None, timestamp("ms", "Europe/Paris")] = None
    took: Duration | None = None
    took_s: Annotated[int | None, duration("s")] = None
    five: Annotated[bytes | None, fixed(5)] = None
    text: str | None = None
    data: bytes | None = None
    numbers: list[int | None] | None = None
    texts: list[str | None] | None = None
    flags: list[list[bool | None] | None] | None = None
    place: Place | None = None
    places: list[Place | None] | None = None
    other_name: Annotated[int | None, column("otherName")] = None


class Last(Window):
    def accumulate(self, last: Values, values: Values) -> None:
        for name in Values.__slots__:
            setattr(last, name, getattr(values, name))

    def merge(self, earlier: Values, later: Values) -> Values:
        return later

    def finish(self, last: Values, bounds: Bounds) -> Values:
        return last


FULL = Values(
    True, -128, -(2**15), -(2**31), -(2**63), 255, 2**16 - 1, 2**32 - 1, 2**64 - 1, 65504.0, 1.5, math.pi,
    Decimal("-9999999999999999.9999"), Decimal("1234567890123456789012345678901234567890.0123456789"), -1, 86_400_000,
    86_399, 86_399_999_999, -(2**63), 2**63 - 1, 2**53 + 1, -5, 7, b"\0\1\2\3\xff", "Zürich 🏔", b"\xff\0",
    [2**53 + 1, None, -1], ["a", None, "ß"], [[True, None], None, []], Place("x", Point(1.0, None), [1, None]),
    [None, Place(None, None, [])], 42,
)  # fmt: skip


class Types(unittest.TestCase):
    def test_all_types_come_back(self) -> None:
        for values in (FULL, Values()):
            window = Native(Last)
            window.accumulate([values])
            self.assertEqual(window.finish(), [values])

    def test_formats_are_those_of_the_contract(self) -> None:
        formats = [field.format for field in record_of(Values).schema()]  # type: ignore[union-attr]
        self.assertEqual(
            formats,
            ["b", *"csilCSILefg", "d:20,4", "d:50,10,256", "tdD", "tdm", "tts", "ttu", "tsu:UTC", "tsn:",
             "tsm:Europe/Paris", "tDu", "tDs", "w:5", "u", "z", "+l", "l", "+l", "u", "+l", "+l", "b",
             "+s", "u", "+s", "g", "g", "+l", "i", "+l", "+s", "u", "+s", "g", "g", "+l", "i", "l"],
        )  # fmt: skip

    def test_floats_that_are_no_numbers_come_back(self) -> None:
        for value in (math.inf, -math.inf, -0.0):
            window = Native(Last)
            window.accumulate([Values(float16=value, float32=value, float64=value)])
            found = window.states[0]
            for got in (found.float16, found.float32, found.float64):
                self.assertEqual(struct.pack("d", got), struct.pack("d", value))
        window = Native(Last)
        window.accumulate([Values(float16=math.nan, float32=math.nan, float64=math.nan)])
        self.assertTrue(all(map(math.isnan, (window.states[0].float16, window.states[0].float32, window.states[0].float64))))

    def test_many_rows_with_nulls_at_random(self) -> None:
        chance = random.Random(7)
        rows = [FULL if chance.random() < 0.5 else Values() for _ in range(1000)]
        record = record_of(Values)
        assert record is not None
        values, nulls = record.bind_own()(record.write(rows).buffers, len(rows))
        self.assertEqual((values, nulls), (rows, {}))

    def test_bitmaps(self) -> None:
        chance = random.Random(1)
        for count in (0, 1, 7, 8, 9, 1000):
            values = [chance.random() < 0.9 for _ in range(count)]
            bitmap = bits.pack(values)
            self.assertEqual(len(bitmap), (count + 7) // 8)
            self.assertEqual(bits.unpack_bools(bitmap, count), values)
            self.assertEqual(list(bits.unpack(bitmap, count)), [int(value) for value in values])
            self.assertEqual(bits.zeros(bitmap, count), [i for i, value in enumerate(values) if not value])

    def test_what_does_not_fit_is_told_with_its_place(self) -> None:
        cases = {
            "uint8": (300, "uint8: 300 (int) is no uint8"),
            "int64": (2**63, "is no int64"),
            "text": (5, "text: 5 (int) is no utf8"),
            "five": (b"123", "it has 3 bytes, not 5"),
            "decimal": (Decimal("0.00001"), "more than 4 digits behind the point"),
            "boolean": (2, "boolean: 2 (int) is no bool"),
            "numbers": ([1, "x"], "numbers.item: 'x' (str) is no int64"),
            "place": (Point(), "a Place is needed, not Point"),
        }
        for name, (value, said) in cases.items():

            class Breaks(Last):
                def finish(self, last: Values, bounds: Bounds) -> Values:
                    return Values(**{name: value})  # noqa: B023

            with self.assertRaises(Failure) as caught:
                Native(Breaks).finish()
            self.assertIn(said, caught.exception.message)
            self.assertRegex(caught.exception.message, r"^test_types.py:\d+: ")

    def test_a_struct_without_its_own_struct_is_told_beside_one_that_is_null(self) -> None:
        @row
        class Outer:
            point: Point
            number: int

        @output
        class Holder:
            outer: Outer | None

        record = record_of(Holder)
        assert record is not None
        record.write([Holder(None), Holder(Outer(Point(), 1))])
        with self.assertRaisesRegex(Failure, "point: None, but the field is not declared `| None`"):
            record.write([Holder(None), Holder(Outer(None, 1))])  # type: ignore[arg-type]

    def test_the_greatest_decimals_come_back(self) -> None:
        for digits in ("9" * 40 + "." + "9" * 10, "-" + "9" * 40 + "." + "9" * 10, "0." + "0" * 9 + "1"):
            window = Native(Last)
            window.accumulate([Values(decimal_256=Decimal(digits))])
            self.assertEqual(window.states[0].decimal_256, Decimal(digits))
        with self.assertRaisesRegex(Failure, "more than 50 digits"):
            window.states = [Values(decimal_256=Decimal("1" + "0" * 40))]
            window.finish()

    def test_moments(self) -> None:
        self.assertEqual(to_datetime(1_772_323_200_000_000).isoformat(), "2026-03-01T00:00:00+00:00")
        self.assertEqual(from_datetime(to_datetime(-1)), -1)

    def test_a_field_without_null_says_so(self) -> None:
        @output
        class Strict:
            number: int

        record = record_of(Strict)
        assert record is not None
        with self.assertRaisesRegex(Failure, "None, but the field is not declared `| None`"):
            record.write([Strict(None)])  # type: ignore[arg-type]


if __name__ == "__main__":
    unittest.main()
