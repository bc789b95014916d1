"""What an author writes: classes with ``accumulate``, ``merge`` and ``finish``, or with ``map``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Generic, Iterator, Sequence, TypeVar

from .failures import Reject

R = TypeVar("R")
S = TypeVar("S")
K = TypeVar("K")
O = TypeVar("O")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Bounds:
    """The window of an output, in microseconds since 1970 UTC: ``start`` is inside it, ``end`` is not."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """The length of the window in microseconds."""
        return self.end - self.start


class Window:
    """A keyed aggregation over event-time windows. Subclass it, and write three methods::

        def accumulate(self, state: Orders, order: Order) -> None: ...
        def merge(self, earlier: Orders, later: Orders) -> Orders: ...
        def finish(self, state: Orders, bounds: Bounds) -> Spend | None: ...

    Which columns there are is read off the annotations of their parameters. `accumulate` changes the
    state, or raises `Reject`, which undoes what it did. `merge` combines the states of two slices of
    time, and must be associative. `finish` may give a row, ``None`` or a list of rows.

    One that looks at the key of a group takes it behind the others: ``accumulate(self, state, row,
    key: Customer)``, ``finish(self, state, bounds, key: Customer)``.

    ``open(self, settings: Settings)``, if there is one, gets the pipeline's configuration: as a
    dataclass of your own, checked against it, or as a ``dict``. Without it any configuration is refused.

    A transform remembers nothing but its states.
    """

    #: Raise it whenever the fields of the state, or what they mean, change.
    state_version: ClassVar[int] = 1


class ColumnarWindow(Window):
    """A `Window` whose `accumulate` gets a batch as columns, and writes its own loop::

        def accumulate(self, states: StateColumns[Orders], rows: Rows[Order]) -> None: ...

    ``rows.amount`` is the list of a column's values, and ``states.orders`` a list with a value for
    each group, to be changed in place. Everything else is the same. Here you uphold that a row that
    is rejected changes no state, and that each group sees its rows in their order.
    """


class Mapper:
    """Rows in, rows out, before the windows. Subclass it, and write one method::

        def map(self, place: Place) -> Cell | None: ...

    It gives a row, ``None`` (the row is filtered), or a list or generator of rows; or raises `Reject`.
    """


class ColumnarMapper(Mapper):
    """A `Mapper` that gets a batch as columns::

        def map(self, rows: Rows[Place], mapped: Mapped[Cell]) -> None: ...
    """


def migrates(*versions: int) -> Callable[[F], F]:
    """Marks the method of a window that takes over states of older versions: it gets one of them as a
    record with the fields that the state had then (those it uses suffice), and gives a state of now::

        @migrates(1)
        def from_version_1(self, old: OrdersV1) -> Orders: ...
    """

    def mark(function: F) -> F:
        function.__penstock_migrates__ = versions  # type: ignore[attr-defined]
        return function

    return mark


class Rows(Generic[R]):
    """A batch of rows as columns: ``rows.amount`` is the list of the values of a column, under the
    name of the row's field. Rows with a null where there may be none have been rejected already, and
    are not in it."""

    #: How many rows there are.
    count: int
    #: The group of each row; each is less than the number of states. Not in mappers.
    groups: Sequence[int]
    def __init__(
        self,
        attributes: Sequence[str],
        columns: Sequence[list[Any]],
        count: int,
        numbers: Sequence[int] | None,
        groups: Sequence[int] = (),
    ) -> None:
        self._attributes, self._columns, self._numbers = tuple(attributes), columns, numbers
        self.count, self.groups = count, groups
        self._rejects: dict[int, tuple[str, str]] = {}
        for attribute, column in zip(attributes, columns):
            if not hasattr(Rows, attribute) and attribute not in ("count", "groups", "keys"):
                setattr(self, attribute, column)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the row has no field `{name}`; there are: {', '.join(self._attributes)}")

    def __len__(self) -> int:
        return self.count

    def column(self, name: str) -> list[Any]:
        """A column by its field's name: for names that `Rows` itself has, such as ``count``."""
        return self._columns[self._attributes.index(name)]

    def reject(self, row: int, code: str, detail: str = "") -> None:
        """Refuses a row. It must not change any state. The first reject of a row is the one that counts."""
        if not 0 <= row < self.count:
            raise IndexError(f"there is no row {row}, as there are {self.count}")
        self._rejects.setdefault(self.number(row), (code, detail))

    def number(self, row: int) -> int:
        """A row's number in what the host sent, where rows with nulls still are."""
        return row if self._numbers is None else self._numbers[row]


class KeyedRows(Rows[R], Generic[R, K]):
    """`Rows` for a window that looks at its key: ``rows: KeyedRows[Order, Customer]``."""

    #: The key of each group.
    keys: Sequence[K]


class StateColumns(Generic[S]):
    """The states of a batch's groups as columns: ``states.orders`` is a list with a value for each
    group, under the name of the state's field. Change its items; its length stays."""

    def __init__(self, attributes: Sequence[str], columns: Sequence[list[Any]], count: int) -> None:
        self._attributes, self._columns, self._count = tuple(attributes), columns, count
        for attribute, column in zip(attributes, columns):
            if attribute != "column":
                setattr(self, attribute, column)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the state has no field `{name}`; there are: {', '.join(self._attributes)}")

    def __len__(self) -> int:
        return self._count

    def column(self, name: str) -> list[Any]:
        """A column by its field's name: for the one name that `StateColumns` itself has, ``column``."""
        if name != "column":
            return getattr(self, name)
        return self._columns[self._attributes.index(name)]


class Mapped(Generic[O]):
    """The rows that a `ColumnarMapper` makes."""

    def __init__(self, rows: Rows[Any]) -> None:
        self._rows = rows
        self._made: list[Any] = []
        self._source: list[int] = []

    def append(self, row: int, made: O) -> None:
        """Adds a row that came from row number ``row`` of the batch. These numbers never fall."""
        self._source.append(self._rows.number(row))
        self._made.append(made)

    def __len__(self) -> int:
        return len(self._made)

    def __iter__(self) -> Iterator[O]:
        return iter(self._made)


__all__ = [
    "Bounds", "ColumnarMapper", "ColumnarWindow", "KeyedRows", "Mapped", "Mapper", "Reject", "Rows", "StateColumns",
    "Window", "migrates",
]  # fmt: skip
