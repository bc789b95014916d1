"""What the opening of windows and mappers, and the reading of what the host sends, have in common."""

from __future__ import annotations

from array import array
from itertools import compress
from typing import Any, Iterable, Sequence

from .contract import Columns, Field, Needs, Opening, RejectedRow
from .failures import BadInput, Failure
from .records import Record, read_columns
from .schema import Tree, flat, missing, trees
from .shapes import Read

RESERVED = ("window_start", "window_end", "revision", "withdrawn")


def select_event(row: Record, opening: Opening) -> tuple[list[Read], Needs]:
    """Finds the columns of a row in the one event that the host offers."""
    if len(opening.events) != 1:
        raise BadInput(f"this transform takes one event, but the pipeline offers {len(opening.events)}")
    event = opening.events[0]
    whose = f"event `{event.name}`"
    there = {tree.field.name: tree for tree in trees(_known(event.schema, row))}
    picked = []
    for wanted in trees(row.schema()):
        name = wanted.field.name
        if name not in there:
            raise missing(name, wanted, trees_of_names(event.schema), whose, row.place_of_column(name))
        picked.append(there[name])
    # What the host will send is the picked columns alone, so buffers are numbered anew.
    return row.bind(trees(flat(picked)), whose), Needs(event.name, row.names())


def _known(schema: Sequence[Field], row: Record) -> list[Field]:
    """The top-level fields that the row names: others may be of types that this SDK does not know."""
    names, kept, at = row.names(), [], 0
    while at < len(schema):
        end = _end(schema, at)
        if schema[at].name in names:
            kept.extend(schema[at:end])
        at = end
    return kept


def trees_of_names(schema: Sequence[Field]) -> list[Tree]:
    """The top-level fields, of whatever type, to be listed by name."""
    found, at = [], 0
    while at < len(schema):
        found.append(Tree(schema[at]))
        at = _end(schema, at)
    return found


def _end(schema: Sequence[Field], at: int) -> int:
    left = 1
    while left:
        if at >= len(schema):
            raise Failure("a schema ends in the middle of a field")
        left += schema[at].children - 1
        at += 1
    return at


def refuse_reserved_names(output: Record, key: Iterable[Field]) -> None:
    """The host adds the key and the window to the output itself."""
    taken = {*RESERVED, *(field.name for field in key)}
    for name in output.names():
        if name in taken:
            raise BadInput(
                f"the transform's output has a column `{name}` ({output.place_of_column(name)}), which the host adds "
                "itself: rename the field, or remove it"
            )


def same_rows(what: str, batch: Columns, rows: int) -> None:
    """The host sends as many of all that belongs to a group."""
    if batch.rows != rows:
        raise Failure(f"the host sent {batch.rows} {what} for {rows} states")


def first_event_only(event: int) -> None:
    """Contract 0.1 knows one event."""
    if event != 0:
        raise Failure(f"the host sent rows of event {event}, and the pipeline has one")


def without_nulls(record: Record, read: Read, batch: Columns) -> list[Any]:
    """Records that nobody else has had in hand since they were written: a null in them is the host's mistake."""
    values, nulls = read(batch.buffers, batch.rows)
    if nulls:
        row, path = min(nulls.items())
        raise Failure(f"the host broke the contract: `{path.lstrip('.')}` is null in row {row}, and may not be")
    return values


class Input:
    """The rows of a batch as columns of values, those with a null where there may be none left out."""

    def __init__(self, row: Record, reads: list[Read], batch: Columns) -> None:
        self._of = (row, reads, batch)
        self.columns, nulls = read_columns(reads, row.names(), batch.buffers, batch.rows)
        self.count = batch.rows
        #: The numbers of the rows that are left, if some are not.
        self.numbers: list[int] | None = None
        self.rejects: dict[int, tuple[str, str]] = {}
        if nulls:
            kept = bytearray(b"\1") * batch.rows
            for number, path in nulls.items():
                kept[number] = 0
                self.rejects[number] = ("null", f"column `{path.lstrip('.')}` is null")
            self.columns = [list(compress(column, kept)) for column in self.columns]
            self.numbers = list(compress(range(batch.rows), kept))
            self.count = len(self.numbers)

    def anew(self) -> Input:
        """The same rows, in values that nobody has had in hand."""
        return Input(*self._of)

    def of_those_left(self, values: list[Any]) -> list[Any]:
        """Picks those of the rows that are left out of something that the host sent beside the rows."""
        return values if self.numbers is None else [values[number] for number in self.numbers]

    def number(self, index: int) -> int:
        """A row's number in what the host sent."""
        return index if self.numbers is None else self.numbers[index]


def rejected(rejects: dict[int, tuple[str, str]]) -> list[RejectedRow]:
    """In rising order."""
    return [RejectedRow(row, code, detail) for row, (code, detail) in sorted(rejects.items())]


def numbers(values: Iterable[int]) -> bytes:
    """As u32, little-endian."""
    return array("I", values).tobytes()


def rows_of(returned: Any, cls: type) -> Sequence[Any]:
    """What `finish` or `map` returned, as rows."""
    if returned is None:
        return ()
    if type(returned) is cls:
        return (returned,)
    if isinstance(returned, (list, tuple)):
        return returned
    if hasattr(returned, "__next__"):
        return list(returned)
    return (returned,)
