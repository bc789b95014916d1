"""Schemas: whether what the host offers fits what a record expects, where the buffers of each column
then lie, and how types are called when they do not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

from .contract import Field
from .failures import BadInput, Failure


@dataclass
class Tree:
    """A field of a schema with its children, and the number of its first buffer in a batch."""

    field: Field
    children: list["Tree"] = field(default_factory=list)
    first_buffer: int = 0


def trees(schema: Sequence[Field]) -> list[Tree]:
    """A schema in pre-order as trees, buffers numbered."""
    fields = iter(schema)
    buffers = 0

    def take(parent: str) -> Tree:
        nonlocal buffers
        try:
            this = next(fields)
        except StopIteration:
            raise Failure("a schema ends in the middle of a field") from None
        tree = Tree(this, first_buffer=buffers)
        count = buffer_count(this.format)
        if count is None:
            raise BadInput(
                f"column `{parent}{this.name}` has the type `{this.format}` (a format of Arrow's C data "
                "interface), which this version of penstock does not know: update it"
            )
        buffers += count
        tree.children = [take(f"{parent}{this.name}.") for _ in range(this.children)]
        return tree

    found = []
    left = len(schema)
    while left > 0:
        tree = take("")
        found.append(tree)
        left -= _size(tree)
    return found


def _size(tree: Tree) -> int:
    return 1 + sum(map(_size, tree.children))


def flat(trees: Sequence[Tree]) -> list[Field]:
    """Back to pre-order."""
    fields = []
    for tree in trees:
        fields.append(tree.field)
        fields.extend(flat(tree.children))
    return fields


def buffer_count(format: str) -> int | None:
    """How many buffers a format has; none for one that is not in the contract."""
    if format in _PLAIN_NAMES and format not in ("u", "U", "z", "Z"):
        return 2
    if format in ("u", "U", "z", "Z"):
        return 3
    if format == "+s":
        return 1
    if format in ("+l", "+L") or format[:2] in ("d:", "w:", "tt", "tD"):
        return 2
    return 2 if format.startswith("ts") and format[3:4] == ":" else None


_PLAIN_NAMES = {
    "b": ("bool", "bool"),
    "c": ("int8", "Int8"),
    "s": ("int16", "Int16"),
    "i": ("int32", "Int32"),
    "l": ("int64", "Int64"),
    "C": ("uint8", "UInt8"),
    "S": ("uint16", "UInt16"),
    "I": ("uint32", "UInt32"),
    "L": ("uint64", "UInt64"),
    "e": ("float16", "Float16"),
    "f": ("float32", "Float32"),
    "g": ("float64", "Float64"),
    "tdD": ("date32", "Date"),
    "tdm": ("date64", "DateMillis"),
    "u": ("utf8", "str"),
    "U": ("large_utf8", "str"),
    "z": ("binary", "bytes"),
    "Z": ("large_binary", "bytes"),
}
_UNIT_NAMES = {"s": "s", "m": "ms", "u": "us", "n": "ns"}


def type_name(tree: Tree) -> str:
    """What a type is called in pipelines: ``int64``, ``timestamp[us, UTC]``, ``list<utf8>``."""
    format = tree.field.format
    if format in _PLAIN_NAMES:
        return _PLAIN_NAMES[format][0]
    kind, rest = format[:2], format[2:]
    if kind == "d:":
        digits = rest.split(",")
        bits = digits[2] if len(digits) > 2 else "128"
        return f"decimal{bits}[{digits[0]}, {digits[1]}]"
    if kind == "w:":
        return f"fixed_size_binary[{rest}]"
    if kind == "tt":
        return f"time{32 if rest in 'sm' else 64}[{_UNIT_NAMES.get(rest, rest)}]"
    if kind == "tD":
        return f"duration[{_UNIT_NAMES.get(rest, rest)}]"
    if kind == "ts":
        unit, zone = _UNIT_NAMES.get(format[2], format[2]), format[4:]
        return f"timestamp[{unit}, {zone}]" if zone else f"timestamp[{unit}]"
    if kind in ("+l", "+L"):
        large = "large_" if kind == "+L" else ""
        return f"{large}list[{', '.join(map(type_name, tree.children))}]"
    if kind == "+s":
        inside = ", ".join(f"{child.field.name}: {type_name(child)}" for child in tree.children)
        return f"struct{{{inside}}}"
    return f"`{format}`"


def python_name(tree: Tree) -> str:
    """The annotation to declare for a column of this type."""
    format = tree.field.format
    if format in _PLAIN_NAMES:
        return _PLAIN_NAMES[format][1]
    kind, rest = format[:2], format[2:]
    if kind == "d:":
        digits = rest.split(",")
        bits = digits[2] if len(digits) > 2 else "128"
        return f"Annotated[Decimal, decimal{bits}({digits[0]}, {digits[1]})]"
    if kind == "w:":
        return f"Annotated[bytes, fixed({rest})]"
    unit = _UNIT_NAMES.get(format[2:3], "us")
    if kind == "tt":
        return f'Annotated[int, time_of_day("{unit}")]'
    if kind == "tD":
        return f'Annotated[int, duration("{unit}")]'
    if kind == "ts":
        return f'Annotated[int, timestamp("{unit}"{"" if format[4:] else ", None"})]'
    if kind in ("+l", "+L") and tree.children:
        child = tree.children[0]
        return f"list[{python_name(child)}{' | None' if child.field.nullable else ''}]"
    return "a class with @row" if kind == "+s" else "another type"


def fits(wanted: str, found: str) -> bool:
    """Whether a field of format ``wanted`` can be read from a column of format ``found``."""
    if wanted == found or found == {"u": "U", "z": "Z", "+l": "+L"}.get(wanted):
        return True
    # With a zone it is an instant, whichever zone it is shown in; without one it is not.
    if wanted.startswith("ts") and found.startswith("ts"):
        return wanted[:4] == found[:4] and (len(wanted) > 4) == (len(found) > 4)
    return False


def missing(path: str, wanted: Tree, actual: Sequence[Tree], whose: str, place: str) -> BadInput:
    """There is no column of that name."""
    names = ", ".join(f"`{tree.field.name}`" for tree in actual) or "none"
    return BadInput(
        f"{whose} has no column `{path}`, which the transform expects as {type_name(wanted)} ({place}); "
        f"there are: {names}. If it has another name, annotate the field with "
        'Annotated[…, column("that name")]'
    )


def of_another_type(path: str, wanted: Tree, found: Tree, whose: str, place: str) -> BadInput:
    """There is one, but of another type."""
    return BadInput(
        f"{whose} has a column `{path}` of type {type_name(found)}, but the transform expects "
        f"{type_name(wanted)} ({place}): declare the field as `{python_name(found)}`, or have the pipeline "
        f"hand over {type_name(wanted)}"
    )
