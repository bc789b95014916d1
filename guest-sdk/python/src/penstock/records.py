"""Classes whose fields are columns: ``@row``, ``@state`` and ``@output`` make a dataclass with slots of
a class, and read its columns off its annotations."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from decimal import Decimal
from typing import Any, Callable, Sequence, TypeVar

from . import shapes
from .contract import Columns, Field
from .failures import Failure, Mistake, place_of_class
from .schema import Tree, fits, missing, of_another_type, trees
from .shapes import Buffers, Nulls, Read, Shape, write_column
from .types import ColumnType, column

T = TypeVar("T")

if sys.version_info >= (3, 11) or typing.TYPE_CHECKING:
    from typing import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[T], T]:
        return lambda decorator: decorator


@dataclasses.dataclass
class RecordField:
    """A field of a record, and its column."""

    name: str
    attribute: str
    shape: Shape
    optional: bool


@dataclass_transform(field_specifiers=(dataclasses.field,))
def row(cls: type[T]) -> type[T]:
    """A row of an event, a key, or a struct inside another record: a field for each column that is wanted."""
    return _decorate(cls, "row")


@dataclass_transform(field_specifiers=(dataclasses.field,))
def state(cls: type[T]) -> type[T]:
    """What is remembered of a group. Every field has a default, and together they are what a group
    starts from; merging it with another state must change nothing."""
    return _decorate(cls, "state")


@dataclass_transform(field_specifiers=(dataclasses.field,))
def output(cls: type[T]) -> type[T]:
    """A row that comes out. The host adds the key and the window."""
    return _decorate(cls, "output")


def _decorate(cls: type[T], role: str) -> type[T]:
    line = getattr(cls, "__firstlineno__", 0)
    if not line:
        frame = sys._getframe(2)
        line = frame.f_lineno
    made = dataclasses.dataclass(slots=True)(cls)
    made.__penstock__ = Record(made, role, line)  # type: ignore[attr-defined]
    return made


def record_of(cls: Any) -> Record | None:
    """The columns of a class, if it is a record."""
    return cls.__dict__.get("__penstock__") if isinstance(cls, type) else None


class Record:
    """The columns of a class."""

    def __init__(self, cls: type, role: str, line: int) -> None:
        self.cls, self.role, self.line = cls, role, line
        self._fields: list[RecordField] | None = None

    @property
    def fields(self) -> list[RecordField]:
        """Read off the annotations at the first use, when all classes of the module are there."""
        if self._fields is None:
            self._fields = self._read_annotations()
        return self._fields

    def place(self, attribute: str | None = None) -> str:
        """Where the class, or a field of it, was written."""
        return place_of_class(self.cls, self.line, attribute)

    def place_of_column(self, name: str) -> str:
        """Where the field of a column was written, and what it is called."""
        for field in self._fields or []:
            if field.name == name:
                return f"`{self.cls.__name__}.{field.attribute}`, {self.place(field.attribute)}"
        return f"`{self.cls.__name__}`, {self.place()}"

    def _read_annotations(self) -> list[RecordField]:
        try:
            hints = typing.get_type_hints(self.cls, include_extras=True)
        except NameError as error:
            raise Mistake(f"{self.place()}: {self.cls.__name__}: {error}; import it, or define it in this file") from None
        fields = []
        for declared in dataclasses.fields(self.cls):
            where = f"{self.place(declared.name)}: `{self.cls.__name__}.{declared.name}`"
            has_default = declared.default is not dataclasses.MISSING or declared.default_factory is not dataclasses.MISSING
            if self.role == "state" and not has_default:
                raise Mistake(f"{where} has no default: every group starts from the defaults of its state")
            name, shape, optional = _column_of(hints[declared.name], declared.name, where)
            if any(name == field.name for field in fields):
                raise Mistake(f"{where}: there are two columns of the name `{name}`")
            fields.append(RecordField(name, declared.name, shape, optional))
        return fields

    def describe(self, schema: list[Field]) -> None:
        """Adds its fields to a schema, in pre-order."""
        for field in self.fields:
            field.shape.describe(field.name, field.optional, schema)

    def schema(self) -> list[Field]:
        """Its schema."""
        schema: list[Field] = []
        self.describe(schema)
        return schema

    def names(self) -> list[str]:
        """The names of its columns."""
        return [field.name for field in self.fields]

    def bind(self, actual: Sequence[Tree], whose: str, prefix: str = "") -> list[Read]:
        """What reads each of its columns from a batch of another schema. Columns are found by name, at
        every level; those that the record does not have are skipped."""
        return [_bind(self, field, actual, whose, prefix) for field in self.fields]

    def bind_own(self) -> Read:
        """What reads records from a batch of the record's own schema."""
        return self.rows_reader(self.bind(trees(self.schema()), "the record"))

    def rows_reader(self, columns: list[Read]) -> Read:
        """What reads records, given what reads their columns."""
        cls, names = self.cls, self.names()

        def read(buffers: Buffers, count: int) -> tuple[list[Any], Nulls]:
            values, nulls = read_columns(columns, names, buffers, count)
            return (list(map(cls, *values)) if values else [cls() for _ in range(count)]), nulls

        return read

    def write(self, values: list[Any]) -> Columns:
        """Records as columns. Raises a `Failure` that says which value does not fit, and where it is declared."""
        cls = self.cls
        for value in values:
            if type(value) is not cls and not isinstance(value, cls):
                raise Failure(f"a {self.role} must be a {cls.__name__} ({self.place()}), not {_shown(value)}")
        return self.write_columns(
            [[getattr(value, field.attribute) for value in values] for field in self.fields], len(values)
        )

    def write_columns(self, columns: Sequence[list[Any]], count: int) -> Columns:
        """Columns of values as buffers."""
        buffers: list[bytes] = []
        for field, values in zip(self.fields, columns):
            try:
                write_column(field.shape, field.optional, values, buffers, field.name)
            except Failure as failure:
                place = self.place(field.attribute)
                raise Failure(f"{place}: a value of `{self.cls.__name__}` does not fit its column {failure.message}") from None
        return Columns(count, buffers)

    def copy(self, value: Any) -> Any:
        """A record that shares nothing with this one that could change."""
        parts = (getattr(value, field.attribute) for field in self.fields)
        return self.cls(*(part if part is None else field.shape.copy(part) for field, part in zip(self.fields, parts)))


def _shown(value: Any) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r}"[:200]


def read_columns(
    columns: list[Read], names: list[str], buffers: Buffers, count: int
) -> tuple[list[list[Any]], Nulls]:
    """The values of some columns, and the rows in which something is null that may not be."""
    values, nulls = [], {}
    for name, read in zip(names, columns):
        column, inside = read(buffers, count)
        values.append(column)
        for index, path in inside.items():
            nulls.setdefault(index, f".{name}{path}")
    return values, nulls


def _bind(record: Record, field: RecordField, actual: Sequence[Tree], whose: str, prefix: str) -> Read:
    path = f"{prefix}{field.name}"
    schema: list[Field] = []
    field.shape.describe(field.name, field.optional, schema)
    wanted = trees(schema)[0]
    found = next((tree for tree in actual if tree.field.name == field.name), None)
    place = record.place_of_column(field.name)
    if found is None:
        raise missing(path, wanted, actual, whose, place)
    return _bind_shape(field.shape, field.optional, wanted, found, path, whose, place)


def _bind_shape(
    shape: Shape, optional: bool, wanted: Tree, found: Tree, path: str, whose: str, place: str
) -> Read:
    if not fits(shape.format, found.field.format):
        raise of_another_type(path, wanted, found, whose, place)
    children: list[Read] = []
    if isinstance(shape, shapes.List):
        # Sources call the child of a list `item`, `element` and other things.
        inside = found.children[0]
        children = [_bind_shape(shape.item, shape.optional, wanted.children[0], inside, f"{path}.item", whose, place)]
    elif isinstance(shape, shapes.Struct):
        children = shape.record.bind(found.children, whose, f"{path}.")
    first, large = found.first_buffer, found.field.format in ("U", "Z", "+L")
    values_of = shape.reader(first, large, children)

    def read(buffers: Buffers, count: int) -> tuple[list[Any], Nulls]:
        values, nulls = values_of(buffers, count)
        validity = buffers[first]
        if validity:
            for index in shapes.bits.zeros(validity, count):
                if optional:
                    values[index] = None
                    nulls.pop(index, None)
                else:
                    nulls[index] = ""
        return values, nulls

    return read


_INTEGERS = {
    "c": "b", "s": "h", "i": "i", "l": "q", "C": "B", "S": "H", "I": "I", "L": "Q",
    "e": "e", "f": "f", "g": "d", "tdD": "i", "tdm": "q", "tts": "i", "ttm": "i", "ttu": "q", "ttn": "q",
}  # fmt: skip
_PLAIN: dict[Any, Callable[[], Shape]] = {
    bool: lambda: shapes.Bool("b"),
    int: lambda: shapes.Number("l", "q"),
    float: lambda: shapes.Number("g", "d"),
    str: lambda: shapes.Text("u"),
    bytes: lambda: shapes.Bytes("z"),
}


def _column_of(hint: Any, name: str, where: str) -> tuple[str, Shape, bool]:
    """The name, the shape and whether it may be null of an annotated field."""
    if typing.get_origin(hint) is typing.Annotated:
        renamed = [extra for extra in hint.__metadata__ if isinstance(extra, column)]
        if renamed:
            name = renamed[0].name
    shape, optional = _shape_of(hint, where)
    return name, shape, optional


def _shape_of(hint: Any, where: str) -> tuple[Shape, bool]:
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        inner = hint.__origin__
        formats = [extra.format for extra in hint.__metadata__ if isinstance(extra, ColumnType)]
        if not formats:
            return _shape_of(inner, where)
        plain, optional = _without_none(inner, where)
        return _of_format(formats[-1], plain, where), optional
    if origin in (typing.Union, types.UnionType):
        inner, _ = _without_none(hint, where)
        shape, optional = _shape_of(inner, where)
        return shape, True
    if origin is list:
        shape, optional = _shape_of(typing.get_args(hint)[0], where)
        return shapes.List(shape, optional), False
    if hint in _PLAIN:
        return _PLAIN[hint](), False
    record = record_of(hint)
    if record is not None:
        return shapes.Struct(record), False
    raise Mistake(f"{where}: {_advice(hint)}")


def _without_none(hint: Any, where: str) -> tuple[Any, bool]:
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    others = [part for part in typing.get_args(hint) if part is not type(None)]
    if len(others) != 1:
        raise Mistake(f"{where}: a column has one type, and may be null besides: `T | None`")
    return others[0], len(others) < len(typing.get_args(hint))


def _of_format(format: str, plain: Any, where: str) -> Shape:
    wanted: type = int
    if format in ("e", "f", "g"):
        wanted = float
    elif format.startswith("d:"):
        wanted = Decimal
    elif format.startswith("w:"):
        wanted = bytes
    if plain is not wanted:
        raise Mistake(f"{where}: this type of column is a `{wanted.__name__}`: write Annotated[{wanted.__name__}, …]")
    if wanted is Decimal:
        return shapes.Decimals(format)
    if wanted is bytes:
        return shapes.Fixed(format)
    return shapes.Number(format, _INTEGERS.get(format, "q"))


def _advice(hint: Any) -> str:
    name = getattr(hint, "__name__", str(hint))
    if hint is Decimal:
        return "a Decimal needs its digits: Annotated[Decimal, decimal128(12, 2)]"
    if name in ("datetime", "date", "timedelta", "time"):
        use = {"datetime": "Timestamp", "date": "Date", "timedelta": "Duration", "time": "TimeOfDay"}[name]
        return f"`{name}` is not the type of a column: use `{use}`, which is an int (see to_datetime)"
    if isinstance(hint, type) and not hint.__module__.startswith(("builtins", "typing")):
        return f"`{name}` is not the type of a column: put @row, @state or @output on the class if it is a struct"
    return f"`{name}` is not the type of a column; penstock.types lists them"
