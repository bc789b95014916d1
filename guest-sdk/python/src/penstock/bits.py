"""Bitmaps, least significant bit first. All in bytes and tables, as a loop over bits would cost more
than the work of most transforms."""

from __future__ import annotations

from itertools import chain, compress
from typing import Iterable

_BYTES = [bytes(byte >> bit & 1 for bit in range(8)) for byte in range(256)]
_BOOLS = [tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256)]
_DIGITS = bytes.maketrans(b"\0\1", b"01")
_INVERTED = bytes.maketrans(b"\0\1", b"\1\0")


def unpack(bitmap: bytes, count: int) -> bytes:
    """A byte of 0 or 1 for each of the first ``count`` bits."""
    return b"".join(map(_BYTES.__getitem__, bitmap))[:count]


def unpack_bools(bitmap: bytes, count: int) -> list[bool]:
    """A bool for each of the first ``count`` bits."""
    values = list(chain.from_iterable(map(_BOOLS.__getitem__, bitmap)))
    del values[count:]
    return values


def zeros(bitmap: bytes, count: int) -> list[int]:
    """The numbers of the bits that are not set."""
    full, rest = divmod(count, 8)
    if bitmap.startswith(b"\xff" * full) and (not rest or bitmap[full] & (1 << rest) - 1 == (1 << rest) - 1):
        return []
    return list(compress(range(count), unpack(bitmap, count).translate(_INVERTED)))


def pack(values: Iterable[int]) -> bytes:
    """The bitmap of values that are 0, 1, ``False`` or ``True``; ``ValueError`` for others."""
    flags = bytes(values)
    if not flags:
        return b""
    if max(flags) > 1:
        raise ValueError("a bool is needed")
    digits = flags.translate(_DIGITS)
    # Bases that are powers of two are read in linear time.
    return int(digits[::-1], 2).to_bytes((len(flags) + 7) // 8, "little")
