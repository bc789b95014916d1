"""Unit tests of a transform: rows go in as records, outputs come back as records, and between them runs
the very code that runs in the component, columns and all. It needs no host::

    def test_the_share_is_of_all_offers():
        window = Native(DriverAcceptProportion)
        window.accumulate([Offer(True), Offer(False)])
        assert window.finish() == [Acceptance(0.5, 2)]

A row may also be a ``dict``, which may have nulls where the row has none: ``{"accepted": None}``.
"""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass
from typing import Any, Iterable

from .contract import Columns, Event, Opening, RejectedRow
from .mapping import Mapping
from .opened import without_nulls
from .records import Record
from .schema import trees
from .shapes import write_column
from .signature import signature_of
from .window import Bounds
from .windowed import Windowed


def _opening(row: Record, key: Record | None, config: Any) -> Opening:
    schema = row.schema()
    for tree in trees(schema):
        tree.field.nullable = True
    text = config if isinstance(config, str) else json.dumps(config or {})
    return Opening(text, [Event("event", schema)], key.schema() if key else [])


def columns(record: Record, rows: Iterable[Any]) -> Columns:
    """Writes rows, records or dicts, as columns. Any of them may be null."""
    rows = list(rows)
    buffers: list[bytes] = []
    for field in record.fields:
        values = [
            row.get(field.name, row.get(field.attribute)) if isinstance(row, dict) else getattr(row, field.attribute)
            for row in rows
        ]
        write_column(field.shape, True, values, buffers, field.name)
    return Columns(len(rows), buffers)


class Native:
    """Drives a window as the host would, with all its groups in every call. What goes wrong is raised."""

    def __init__(self, transform: type, config: Any = None) -> None:
        """Opens the transform with a configuration: a dict, or JSON text. There is one group, unless the
        transform looks at its key: then there are none until `add_group`."""
        self.signature = signature_of(transform)
        assert self.signature.state is not None, "this is a mapper: use NativeMapper"
        self._state: Record = self.signature.state
        self.windowed = Windowed(self.signature, _opening(self.signature.row, self.signature.key, config))
        self.spec = self.windowed.spec
        self._keys: list[Any] = []
        self.states: list[Any] = []
        if self.signature.key is None:
            self.add_group()

    def add_group(self, key: Any = None) -> int:
        """Adds a group with this key, and gives its number. The first is 0."""
        self._keys.append(key)
        self.states.append(self._state.cls())
        return len(self.states) - 1

    def accumulate(self, rows: Iterable[Any]) -> list[RejectedRow]:
        """Adds rows to group 0, in one call, and gives those that were rejected."""
        return self.accumulate_into((0, row) for row in rows)

    def accumulate_into(self, rows: Iterable[tuple[int, Any]]) -> list[RejectedRow]:
        """Adds rows to the groups beside them, in one call, and gives those that were rejected."""
        pairs = list(rows)
        updated = self.windowed.accumulate(
            0,
            columns(self.signature.row, [row for _, row in pairs]),
            array("I", [group for group, _ in pairs]).tobytes(),
            self._key_columns(self._keys),
            self._state.write(self.states),
        )
        new = self._read(self._state, updated.states)
        if updated.changed is None:
            self.states = new
        else:
            for group, state in zip(memoryview(updated.changed).cast("I"), new):
                self.states[group] = state
        return updated.rejects

    def merge(self, earlier: int, later: int) -> None:
        """Merges the state of a group with that of another, which is the later one. The result is the
        first group's; the other starts anew."""
        one, other = (self._state.write([self.states[group]]) for group in (earlier, later))
        merged = self.windowed.merge_states(self._key_columns([self._keys[earlier]]), one, other)
        self.states[earlier] = self._read(self._state, merged)[0]
        self.states[later] = self._state.cls()

    def finish(self, bounds: Bounds = Bounds(0, 600_000_000)) -> list[Any]:
        """The output of all groups, for a window of the first ten minutes of 1970 if none is given."""
        groups = len(self.states)
        moments = (array("q", [moment] * groups).tobytes() for moment in (bounds.start, bounds.end))
        start, end = moments
        finished = self.windowed.finish_groups(
            self._key_columns(self._keys), Columns(groups, [b"", start, b"", end]), self._state.write(self.states)
        )
        return self._read(self.signature.output, finished.output)

    def migrate(self, version: int, old: Iterable[Any]) -> list[Any]:
        """States of now, made of records of an older version."""
        _, record = self.signature.migrations[version]
        states = self.windowed.migrate_states(version, record.schema(), record.write(list(old)))
        return self._read(self._state, states)

    def _key_columns(self, keys: list[Any]) -> Columns:
        return self.signature.key.write(keys) if self.signature.key else Columns(len(keys), [])

    @staticmethod
    def _read(record: Record, batch: Columns) -> list[Any]:
        return without_nulls(record, record.bind_own(), batch)


@dataclass
class MappedBatch:
    """What became of some rows."""

    rows: list[Any]
    #: For each of ``rows`` the number of the row that it came from.
    source_row: list[int]
    rejects: list[RejectedRow]


class NativeMapper:
    """Drives a mapper as the host would."""

    def __init__(self, transform: type, config: Any = None) -> None:
        """Opens the mapper with a configuration: a dict, or JSON text."""
        self.signature = signature_of(transform)
        self.mapping = Mapping(self.signature, _opening(self.signature.row, None, config))
        self.spec = self.mapping.spec

    def map(self, rows: Iterable[Any]) -> MappedBatch:
        """Maps rows, in one call."""
        mapped = self.mapping.map_rows(0, columns(self.signature.row, rows))
        output = self.signature.output
        return MappedBatch(
            without_nulls(output, output.bind_own(), mapped.output),
            memoryview(mapped.source_row).cast("I").tolist(),
            mapped.rejects,
        )
