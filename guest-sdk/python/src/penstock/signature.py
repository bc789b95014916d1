"""Reads off a transform's methods which records it works on."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Callable

from .failures import Mistake, place_of, place_of_class
from .records import Record, record_of
from .window import ColumnarMapper, ColumnarWindow, KeyedRows, Mapped, Mapper, Rows, StateColumns, Window


@dataclass
class Signature:
    """What a transform works on."""

    cls: type
    row: Record
    output: Record
    columnar: bool
    state: Record | None = None
    key: Record | None = None
    accumulate_takes_key: bool = False
    finish_takes_key: bool = False
    migrations: dict[int, tuple[str, Record]] = field(default_factory=dict)


def signature_of(cls: type) -> Signature:
    """The signature of a subclass of `Window` or `Mapper`. Raises a `Mistake` with its place."""
    if issubclass(cls, Window):
        return _window(cls)
    if issubclass(cls, Mapper):
        return _mapper(cls)
    raise Mistake(f"{cls.__name__} is no transform: derive it from penstock.Window or penstock.Mapper")


def _window(cls: type[Window]) -> Signature:
    columnar = issubclass(cls, ColumnarWindow)
    example = (
        "def accumulate(self, states: StateColumns[MyState], rows: Rows[MyRow]) -> None"
        if columnar
        else "def accumulate(self, state: MyState, row: MyRow) -> None"
    )
    accumulate = _method(cls, "accumulate", example)
    parameters = _parameters(accumulate, example)
    if len(parameters) not in ((2,) if columnar else (2, 3)):
        raise Mistake(f"{place_of(accumulate)}: `accumulate` takes a state and a row: {example}")
    key = None
    if columnar:
        state = _record(_argument(parameters[0], StateColumns, accumulate, example)[0], accumulate, example)
        keyed = typing.get_origin(parameters[1]) is KeyedRows
        arguments = _argument(parameters[1], KeyedRows if keyed else Rows, accumulate, example)
        row = _record(arguments[0], accumulate, example)
        key = _record(arguments[1], accumulate, example) if keyed else None
    else:
        state = _record(parameters[0], accumulate, example)
        row = _record(parameters[1], accumulate, example)
        key = _record(parameters[2], accumulate, example) if len(parameters) > 2 else None

    example = "def merge(self, earlier: MyState, later: MyState) -> MyState"
    _parameters(_method(cls, "merge", example), example)
    example = "def finish(self, state: MyState, bounds: Bounds) -> MyOutput | None"
    finish = _method(cls, "finish", example)
    given = _parameters(finish, example)
    if len(given) not in (2, 3):
        raise Mistake(f"{place_of(finish)}: `finish` takes a state and the window's bounds: {example}")
    if record_of(given[0]) is not state:
        raise Mistake(f"{place_of(finish)}: `finish` takes another state than `accumulate`, {state.cls.__name__}")
    if len(given) > 2:
        finish_key = _record(given[2], finish, example)
        if key is not None and finish_key is not key:
            raise Mistake(f"{place_of(finish)}: `finish` takes another key than `accumulate`, {key.cls.__name__}")
        key = finish_key
    return Signature(
        cls,
        row=row,
        state=state,
        key=key,
        output=_output(finish, example),
        columnar=columnar,
        accumulate_takes_key=len(parameters) > 2,
        finish_takes_key=len(given) > 2,
        migrations=_migrations(cls),
    )


def _mapper(cls: type[Mapper]) -> Signature:
    if issubclass(cls, ColumnarMapper):
        example = "def map(self, rows: Rows[MyRow], mapped: Mapped[MyOutput]) -> None"
        method = _method(cls, "map", example)
        parameters = _parameters(method, example)
        if len(parameters) != 2:
            raise Mistake(f"{place_of(method)}: write {example}")
        row = _record(_argument(parameters[0], Rows, method, example)[0], method, example)
        output = _record(_argument(parameters[1], Mapped, method, example)[0], method, example)
        return Signature(cls, row=row, output=output, columnar=True)
    example = "def map(self, row: MyRow) -> MyOutput | None"
    method = _method(cls, "map", example)
    parameters = _parameters(method, example)
    if len(parameters) != 1:
        raise Mistake(f"{place_of(method)}: `map` takes a row: {example}")
    row = _record(parameters[0], method, example)
    return Signature(cls, row=row, output=_output(method, example), columnar=False)


def _migrations(cls: type) -> dict[int, tuple[str, Record]]:
    found = {}
    for name, member in inspect.getmembers(cls, inspect.isfunction):
        for version in getattr(member, "__penstock_migrates__", ()):
            example = "def from_version_1(self, old: OldState) -> MyState"
            found[version] = (name, _record(_parameters(member, example)[0], member, example))
    return dict(sorted(found.items()))


def _method(cls: type, name: str, example: str) -> Callable[..., Any]:
    method = getattr(cls, name, None)
    if not inspect.isfunction(method):
        raise Mistake(f"{place_of_class(cls)}: `{cls.__name__}` has no method `{name}`: write {example}")
    return method


def _hints(method: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(method)
    except NameError as error:
        raise Mistake(f"{place_of(method)}: `{method.__name__}`: {error}; import it, or define it in this file") from None


def _parameters(method: Callable[..., Any], example: str) -> list[Any]:
    """The annotations of all parameters but ``self``."""
    hints = _hints(method)
    names = list(inspect.signature(method).parameters)[1:]
    for name in names:
        if name not in hints:
            raise Mistake(
                f"{place_of(method)}: `{method.__name__}` does not say what `{name}` is, and columns are read off that: {example}"
            )
    return [hints[name] for name in names]


def _argument(hint: Any, wanted: type, method: Callable[..., Any], example: str) -> tuple[Any, ...]:
    if typing.get_origin(hint) is not wanted:
        raise Mistake(f"{place_of(method)}: `{method.__name__}` must take a {wanted.__name__}[…]: {example}")
    return typing.get_args(hint)


def _record(hint: Any, method: Callable[..., Any], example: str) -> Record:
    record = record_of(hint)
    if record is None:
        name = getattr(hint, "__name__", hint)
        raise Mistake(
            f"{place_of(method)}: `{method.__name__}` takes a `{name}`, which is no record: put @row, @state or "
            f"@output on the class, and write {example}"
        )
    return record


def _output(method: Callable[..., Any], example: str) -> Record:
    hints = _hints(method)
    if hints.get("return") is None:
        raise Mistake(f"{place_of(method)}: `{method.__name__}` does not say what it gives, and columns are read off that: {example}")
    return _record(_of_one_row(hints["return"]), method, example)


def _of_one_row(hint: Any) -> Any:
    """The class of a row in `Row | None`, `list[Row]`, `Iterator[Row]` and the like."""
    origin = typing.get_origin(hint)
    parts = [part for part in typing.get_args(hint) if part not in (type(None), Ellipsis)]
    many = (list, tuple, collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator, collections.abc.Sequence)
    if parts and (origin in (typing.Union, types.UnionType) or origin in many):
        return _of_one_row(parts[0])
    return hint
