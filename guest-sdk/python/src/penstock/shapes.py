"""How values of each type lie in buffers. Columns are read and written whole: lists of Python values
on one side, buffers on the other."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from decimal import Context, Decimal
from itertools import accumulate, chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Callable, Sequence

from . import bits
from .contract import Field
from .failures import Failure

if TYPE_CHECKING:
    from .records import Record

Buffers = Sequence[bytes]
#: Rows in which something is null that may not be, and the path to it below the column.
Nulls = dict[int, str]
Read = Callable[[Buffers, int], tuple[list[Any], Nulls]]
#: What stands for a struct that is null: its fields have no values, not even null.
ABSENT: Any = object()


class Shape:
    """A type of a column."""

    #: What lies under a null.
    zero: Any = 0

    def __init__(self, format: str) -> None:
        self.format = format

    def describe(self, name: str, optional: bool, schema: list[Field]) -> None:
        """Adds the field, and its children, to a schema."""
        schema.append(Field(name, self.format, optional))

    def reader(self, first: int, large: bool, children: list[Read]) -> Read:
        """What reads a column whose validity is buffer number ``first``."""
        raise NotImplementedError

    def write(self, values: list[Any], buffers: list[bytes]) -> None:
        """Adds the buffers behind the validity. Raises on a value that does not fit."""
        raise NotImplementedError

    def refusal(self, value: Any) -> str | None:
        """Why a value does not fit, or nothing."""
        trial: list[bytes] = []
        try:
            self.write([value], trial)
        except Exception as error:  # noqa: BLE001: whatever it is, it is the value's fault
            return str(error)
        return None

    def copy(self, value: Any) -> Any:
        """A value that shares nothing with this one that could change."""
        return value


class Bool(Shape):
    zero = False

    def reader(self, first: int, large: bool, children: list[Read]) -> Read:
        return lambda buffers, count: (bits.unpack_bools(buffers[first + 1], count), {})

    def write(self, values: list[Any], buffers: list[bytes]) -> None:
        buffers.append(bits.pack(values))


class Number(Shape):
    """Integers and floats, and all that is an integer inside."""

    def __init__(self, format: str, code: str) -> None:
        super().__init__(format)
        self.code = code
        self.zero = 0.0 if code in "efd" else 0

    def reader(self, first: int, large: bool, children: list[Read]) -> Read:
        code = self.code
        if code == "e":
            return lambda buffers, count: (list(struct.unpack(f"<{count}e", buffers[first + 1])), {})
        return lambda buffers, count: (memoryview(buffers[first + 1]).cast(code).tolist(), {})

    def write(self, values: list[Any], buffers: list[bytes]) -> None:
        if self.code == "e":
            limited = [_half(value) for value in values]
            buffers.append(struct.pack(f"<{len(values)}e", *limited))
        else:
            buffers.append(array(self.code, values).tobytes())


def _half(value: float) -> float:
    # What lies beyond the largest number of 16 bits is infinite in them.
    return value if -65520 < value < 65520 or value != value else value * float("inf")


class Decimals(Shape):
    zero = Decimal(0)
    _exact = Context(prec=200)

    def __init__(self, format: str) -> None:
        super().__init__(format)
        digits = format[2:].split(",")
        self.precision, self.scale = int(digits[0]), int(digits[1])
        self.width = 32 if len(digits) > 2 else 16
        self.limit = 10**self.precision

    def reader(self, first: int, large: bool, children: list[Read]) -> Read:
        width, scale, exact = self.width, self.scale, self._exact

        def read(buffers: Buffers, count: int) -> tuple[list[Any], Nulls]:
            data = buffers[first + 1]
            whole = (
                int.from_bytes(data[at : at + width], "little", signed=True)
                for at in range(0, count * width, width)
            )
            return [Decimal(value).scaleb(-scale, exact) for value in whole], {}

        return read

    def write(self, values: list[Any], buffers: list[bytes]) -> None:
        buffers.append(b"".join([self._bytes(value) for value in values]))

    def _bytes(self, value: Any) -> bytes:
        if not isinstance(value, (Decimal, int)):
            raise TypeError(f"a Decimal is needed, not {type(value).__name__}")
        scaled = Decimal(value).scaleb(self.scale, self._exact)
        if not scaled.is_finite() or scaled != scaled.to_integral_value():
            raise ValueError(f"it has more than {self.scale} digits behind the point: round it with `quantize`")
        # Not the absolute value of a Decimal: that is rounded to the digits of the thread's context, 28 mostly.
        whole = int(scaled)
        if abs(whole) >= self.limit:
            raise ValueError(f"it has more than {self.precision} digits")
        return whole.to_bytes(self.width, "little", signed=True)


class Fixed(Shape):
    def __init__(self, format: str) -> None:
        super().__init__(format)
        self.length = int(format[2:])
        self.zero = bytes(self.length)

    def reader(self, first: int, large: bool, children: list[Read]) -> Read:
        length = self.length

        def read(buffers: Buffers, count: int) -> tuple[list[Any], Nulls]:
            data = bytes(buffers[first + 1])
            return [data[at : at + length] for at in range(0, count * length, length)], {}

        return read

    def write(self, values: list[Any], buffers: list[bytes]) -> None:
        for value in values:
            if len(value) != self.length:
                raise ValueError(f"it has {len(value)} bytes, not {self.length}")
        buffers.append(b"".join(values))


def _offsets(buffers: Buffers, number: int, large: bool) -> list[int]:
    return memoryview(buffers[number]).cast("q" if large else "i").tolist()


def _write_offsets(lengths: list[int], buffers: list[bytes]) -> None:
    buffers.append(array("i", accumulate(lengths, initial=0)).tobytes())


class Bytes(Shape):
    zero = b""

    def reader(self, first: int, large: bool, children: list[Read]) -> Read:
        def read(buffers: Buffers, count: int) -> tuple[list[Any], Nulls]:
            offsets = _offsets(buffers, first + 1, large)
            data = bytes(buffers[first + 2])
            return [data[start:end] for start, end in zip(offsets, offsets[1:])], {}

        return read

    def write(self, values: list[Any], buffers: list[bytes]) -> None:
        data = b"".join(values)
        _write_offsets(list(map(len, values)), buffers)
        buffers.append(data)


class Text(Shape):
    zero = ""

    def reader(self, first: int, large: bool, children: list[Read]) -> Read:
        def read(buffers: Buffers, count: int) -> tuple[list[Any], Nulls]:
            offsets = _offsets(buffers, first + 1, large)
            data = bytes(buffers[first + 2])
            if data.isascii():
                # Then a byte is a character, and all is decoded in one go.
                text = data.decode("ascii")
                return [text[start:end] for start, end in zip(offsets, offsets[1:])], {}
            return [data[start:end].decode() for start, end in zip(offsets, offsets[1:])], {}

        return read

    def write(self, values: list[Any], buffers: list[bytes]) -> None:
        joined = "".join(values)
        if joined.isascii():
            _write_offsets(list(map(len, values)), buffers)
            buffers.append(joined.encode("ascii"))
        else:
            encoded = [value.encode() for value in values]
            _write_offsets(list(map(len, encoded)), buffers)
            buffers.append(b"".join(encoded))


class List(Shape):
    def __init__(self, item: Shape, optional: bool) -> None:
        super().__init__("+l")
        self.item, self.optional = item, optional

    @property
    def zero(self) -> list[Any]:  # type: ignore[override]
        return []

    def describe(self, name: str, optional: bool, schema: list[Field]) -> None:
        schema.append(Field(name, "+l", optional, 1))
        self.item.describe("item", self.optional, schema)

    def reader(self, first: int, large: bool, children: list[Read]) -> Read:
        read_items = children[0]

        def read(buffers: Buffers, count: int) -> tuple[list[Any], Nulls]:
            offsets = _offsets(buffers, first + 1, large)
            items, nulls = read_items(buffers, offsets[-1])
            lists = [items[start:end] for start, end in zip(offsets, offsets[1:])]
            inside: Nulls = {}
            for item, path in sorted(nulls.items()):
                inside.setdefault(bisect_right(offsets, item) - 1, f".item{path}")
            return lists, inside

        return read

    def write(self, values: list[Any], buffers: list[bytes]) -> None:
        for value in values:
            if not isinstance(value, (list, tuple)):
                raise TypeError(f"a list is needed, not {type(value).__name__}")
        _write_offsets(list(map(len, values)), buffers)
        write_column(self.item, self.optional, list(chain.from_iterable(values)), buffers, "item")

    def copy(self, value: Any) -> Any:
        return [None if item is None else self.item.copy(item) for item in value]


class Struct(Shape):
    zero = ABSENT

    def __init__(self, record: Record) -> None:
        super().__init__("+s")
        self.record = record

    def describe(self, name: str, optional: bool, schema: list[Field]) -> None:
        schema.append(Field(name, "+s", optional, len(self.record.fields)))
        self.record.describe(schema)

    def reader(self, first: int, large: bool, children: list[Read]) -> Read:
        return self.record.rows_reader(children)

    def write(self, values: list[Any], buffers: list[bytes]) -> None:
        cls = self.record.cls
        present = [value for value in values if value is not ABSENT]
        for value in present:
            if not isinstance(value, cls):
                raise TypeError(f"a {cls.__name__} is needed, not {type(value).__name__}")
        for field in self.record.fields:
            get = attrgetter(field.attribute)
            if len(present) == len(values):
                column = list(map(get, values))
            else:
                zero = None if field.optional else field.shape.zero
                column = [zero if value is ABSENT else get(value) for value in values]
            write_column(field.shape, field.optional, column, buffers, field.name)

    def copy(self, value: Any) -> Any:
        return self.record.copy(value)


def write_column(shape: Shape, optional: bool, values: list[Any], buffers: list[bytes], name: str) -> None:
    """Adds all buffers of a column. Raises a `Failure` that names the column and the value."""
    kept = values
    if optional and None in values:
        buffers.append(bits.pack([value is not None for value in values]))
        zero = shape.zero
        kept = [zero if value is None else value for value in values]
    else:
        buffers.append(b"")
    try:
        shape.write(kept, buffers)
    except Failure as failure:
        raise type(failure)(f"{name}.{failure.message}") from None
    except Exception as error:  # noqa: BLE001: array, struct, join and encode each raise their own
        raise Failure(_what_does_not_fit(shape, values, optional, name, error)) from None


def _what_does_not_fit(shape: Shape, values: list[Any], optional: bool, name: str, error: Exception) -> str:
    from .schema import Tree, type_name, trees

    schema: list[Field] = []
    shape.describe(name, optional, schema)
    wanted = type_name(trees(schema)[0] if schema else Tree(Field(name, shape.format)))
    for value in values:
        if value is ABSENT:
            continue
        if value is None:
            if optional:
                continue
            return f"{name}: None, but the field is not declared `| None`"
        why = shape.refusal(value)
        if why is not None:
            shown = repr(value)
            shown = shown if len(shown) <= 100 else shown[:97] + "..."
            return f"{name}: {shown} ({type(value).__name__}) is no {wanted}: {why}"
    return f"{name}: {error}"
