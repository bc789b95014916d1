"""Runs a `Mapper` over the columns of batches: the functions of the contract's ``mapper`` interface."""

from __future__ import annotations

from typing import Any, Callable

from .config import open_transform
from .contract import Columns, Mapped, MapperSpec, Opening
from .failures import Failure, Reject
from .opened import Input, first_event_only, numbers, rejected, rows_of, select_event
from .signature import Signature
from .window import Mapped as MappedRows
from .window import Rows


class Mapping:
    """An opened mapper."""

    def __init__(self, signature: Signature, opening: Opening) -> None:
        self.signature = signature
        self.mapper = open_transform(signature.cls, opening.config)
        self.reads, needs = select_event(signature.row, opening)
        self.loop = _loop(len(signature.row.fields))
        self.spec = MapperSpec(needs=[needs], output=signature.output.schema())

    def map_rows(self, event: int, input: Columns) -> Mapped:
        first_event_only(event)
        rows = Input(self.signature.row, self.reads, input)
        made, source = self._by_columns(rows) if self.signature.columnar else self._by_rows(rows)
        return Mapped(self.signature.output.write(made), numbers(source), rejected(rows.rejects))

    def _by_rows(self, rows: Input) -> tuple[list[Any], list[int]]:
        made: list[Any] = []
        source: list[int] = []
        numbered = range(rows.count) if rows.numbers is None else rows.numbers
        self.loop(
            self.mapper.map, self.signature.row.cls, self.signature.output.cls, rows_of, Reject,
            numbered, rows.columns, made, source, rows.rejects,
        )  # fmt: skip
        return made, source

    def _by_columns(self, rows: Input) -> tuple[list[Any], list[int]]:
        attributes = [field.attribute for field in self.signature.row.fields]
        columns: Any = Rows(attributes, rows.columns, rows.count, rows.numbers)
        mapped: Any = MappedRows(columns)
        self.mapper.map(columns, mapped)
        rows.rejects.update(columns._rejects)
        source = mapped._source
        if any(later < earlier for earlier, later in zip(source, source[1:])):
            raise Failure("the mapper appended outputs out of the order of their rows")
        both = rows.rejects.keys() & set(source)
        if both:
            raise Failure(f"the mapper rejected row {min(both)} and mapped it too")
        return mapped._made, source


def _loop(columns: int) -> Callable[..., None]:
    """The loop over rows, written for this number of columns, as in windows."""
    names = [f"value{number}" for number in range(columns)]
    sources = ", ".join(["numbered", *(f"columns[{number}]" for number in range(columns))])
    source = (
        "def loop(transform, Row, Output, rows_of, Reject, numbered, columns, made, source, rejects):\n"
        f"    for {', '.join(['number', *names])}{'' if names else ','} in zip({sources}):\n"
        "        try:\n"
        f"            returned = transform(Row({', '.join(names)}))\n"
        "            if type(returned) is Output:\n"
        "                made.append(returned)\n"
        "                source.append(number)\n"
        "            elif returned is not None:\n"
        "                more = rows_of(returned, Output)\n"
        "                made.extend(more)\n"
        "                source.extend([number] * len(more))\n"
        "        except Reject as reject:\n"
        "            rejects[number] = (reject.code, reject.detail)\n"
    )
    made: dict[str, Any] = {}
    exec(compile(source, __file__, "exec"), made)  # noqa: S102: of names that are made here
    return made["loop"]
