"""What crosses between the host and a transform, as in ``wit/``: plain records, for tests and the SDK."""

from __future__ import annotations

from dataclasses import dataclass, field

VERSION = "0.1.0"


@dataclass
class Field:
    """One field of a schema in pre-order; ``children`` of those that follow are its own."""

    name: str
    format: str
    nullable: bool = False
    children: int = 0
    metadata: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Columns:
    """Rows of a schema that both sides know: the buffers of each field, in pre-order."""

    rows: int
    buffers: list[bytes]


@dataclass
class RejectedRow:
    """A row of the input that the transform refused."""

    row: int
    code: str
    detail: str


@dataclass
class Event:
    """An event that the pipeline offers, with all columns that the source has."""

    name: str
    schema: list[Field]


@dataclass
class Opening:
    """What a transform learns when it is opened."""

    config: str
    events: list[Event]
    key: list[Field] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Needs:
    """The columns of an event that the transform wants."""

    event: str
    columns: list[str]


@dataclass
class WindowedSpec:
    """What a window says of itself."""

    needs: list[Needs]
    state: list[Field]
    state_version: int
    migrates_from: list[int]
    initial: Columns
    output: list[Field]
    options: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class MapperSpec:
    """What a mapper says of itself."""

    needs: list[Needs]
    output: list[Field]
    options: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Updated:
    """New states; of all groups in order, or of those that ``changed`` numbers (u32, rising)."""

    states: Columns
    changed: bytes | None
    rejects: list[RejectedRow]


@dataclass
class Finished:
    """Output rows, each with the number of its group (u32, never falling)."""

    output: Columns
    source_group: bytes


@dataclass
class Mapped:
    """Output rows, each with the number of the row it came from (u32, never falling)."""

    output: Columns
    source_row: bytes
    rejects: list[RejectedRow]
