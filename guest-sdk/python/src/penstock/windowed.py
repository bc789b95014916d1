"""Runs a `Window` over the columns of batches: the functions of the contract's ``windowed`` interface."""

from __future__ import annotations

from operator import length_hint
from typing import Any, Callable

from . import quiet
from .config import open_transform
from .contract import Columns, Field, Finished, Opening, Updated, WindowedSpec
from .failures import BadInput, Failure, Reject
from .opened import (
    Input, first_event_only, numbers, refuse_reserved_names, rejected, rows_of, same_rows, select_event, without_nulls,
)  # fmt: skip
from .records import read_columns
from .schema import trees
from .signature import Signature
from .window import Bounds, Rows, StateColumns


class Windowed:
    """An opened window."""

    def __init__(self, signature: Signature, opening: Opening) -> None:
        assert signature.state is not None, "a window has a state"
        self.signature, self.state = signature, signature.state
        self.window = open_transform(signature.cls, opening.config)
        self.reads, needs = select_event(signature.row, opening)
        self.read_states = self.state.bind_own()
        key_reads = signature.key.bind(trees(opening.key), "the pipeline's key") if signature.key else []
        self.read_keys = signature.key.rows_reader(key_reads) if signature.key else None
        refuse_reserved_names(signature.output, opening.key)
        if signature.columnar:
            self.state_columns = self.state.bind(trees(self.state.schema()), "the state")
        else:
            self.loop = _loop(signature)
        self.spec = WindowedSpec(
            needs=[needs],
            state=self.state.schema(),
            state_version=signature.cls.state_version,
            migrates_from=list(signature.migrations),
            initial=self.state.write([self.state.cls()]),
            output=signature.output.schema(),
        )

    def accumulate(self, event: int, input: Columns, group_of_row: bytes, keys: Columns, states: Columns) -> Updated:
        first_event_only(event)
        same_rows("keys", keys, states.rows)
        all_groups = memoryview(group_of_row).cast("I").tolist()
        if len(all_groups) != input.rows:
            raise Failure(f"the host sent {len(all_groups)} groups for {input.rows} rows")
        # A group that there is not would be an IndexError below; to look for one first costs a tenth.
        rows = Input(self.signature.row, self.reads, input)
        groups = rows.of_those_left(all_groups)
        if self.signature.columnar:
            columns = self._by_columns(rows, groups, keys, states)
        else:
            new_states = self._by_rows(rows, groups, keys, states)
            columns = None
        if not rows.rejects:
            written = self._write(columns, states.rows) if columns is not None else self.state.write(new_states)
            return Updated(written, None, [])
        changed = sorted({group for row, group in enumerate(all_groups) if row not in rows.rejects})
        if columns is not None:
            kept = [[column[group] for group in changed] for column in columns]
            written = self._write(kept, len(changed))
        else:
            written = self.state.write([new_states[group] for group in changed])
        return Updated(written, numbers(changed), rejected(rows.rejects))

    def merge_states(self, keys: Columns, earlier: Columns, later: Columns) -> Columns:
        same_rows("keys", keys, earlier.rows)
        same_rows("later states", later, earlier.rows)
        pairs = (without_nulls(self.state, self.read_states, states) for states in (earlier, later))
        return self.state.write(list(map(self.window.merge, *pairs)))

    def finish_groups(self, keys: Columns, bounds: Columns, states: Columns) -> Finished:
        same_rows("keys", keys, states.rows)
        same_rows("window bounds", bounds, states.rows)
        starts, ends = (memoryview(bounds.buffers[number]).cast("q").tolist() for number in (1, 3))
        arguments = [without_nulls(self.state, self.read_states, states), list(map(Bounds, starts, ends))]
        if self.signature.finish_takes_key:
            arguments.append(self.keys_of(keys))
        output, cls = [], self.signature.output.cls
        source = []
        for group, returned in enumerate(map(self.window.finish, *arguments)):
            if type(returned) is cls:
                output.append(returned)
                source.append(group)
            elif returned is not None:
                rows = rows_of(returned, cls)
                output.extend(rows)
                source.extend([group] * len(rows))
        return Finished(self.signature.output.write(output), numbers(source))

    def migrate_states(self, old_version: int, old_schema: list[Field], states: Columns) -> Columns:
        found = self.signature.migrations.get(old_version)
        if found is None:
            raise Failure(f"this transform takes over no states of version {old_version}")
        name, old = found
        whose = f"the state of version {old_version}"
        values, nulls = old.rows_reader(old.bind(trees(old_schema), whose))(states.buffers, states.rows)
        if nulls:
            row, path = min(nulls.items())
            path = path.lstrip(".")
            place = old.place_of_column(path.split(".")[0])
            raise BadInput(
                f"{whose} has a null in column `{path}`, in row {row}, where the transform takes none ({place}): "
                "declare the field `| None`"
            )
        return self.state.write(list(map(getattr(self.window, name), values)))

    def keys_of(self, keys: Columns) -> list[Any]:
        """The keys of groups; none for a window that looks at none."""
        if self.read_keys is None:
            return []
        return without_nulls(self.signature.key, self.read_keys, keys)  # type: ignore[arg-type]

    def _by_columns(self, rows: Input, groups: list[int], keys: Columns, states: Columns) -> list[list[Any]]:
        attributes = [field.attribute for field in self.state.fields]
        columns, nulls = read_columns(self.state_columns, self.state.names(), states.buffers, states.rows)
        if nulls:
            without_nulls(self.state, self.read_states, states)
        of_states: Any = StateColumns(attributes, columns, states.rows)
        row_attributes = [field.attribute for field in self.signature.row.fields]
        of_rows: Any = Rows(row_attributes, rows.columns, rows.count, rows.numbers, groups)
        of_rows.keys = self.keys_of(keys)
        self.window.accumulate(of_states, of_rows)
        rows.rejects.update(of_rows._rejects)
        columns = [of_states.column(attribute) for attribute in attributes]
        for attribute, column in zip(attributes, columns):
            if len(column) != states.rows:
                raise Failure(f"the transform changed the length of the state's column `{attribute}`: it must stay {states.rows}")
        return columns

    def _write(self, columns: list[list[Any]], count: int) -> Columns:
        return self.state.write_columns(columns, count)

    def _by_rows(self, rows: Input, groups: list[int], keys: Columns, states: Columns) -> list[Any]:
        sent = without_nulls(self.state, self.read_states, states)
        undo: _Undo | None = None
        # Where an exception leaves the loop, the iterator over groups says how far it was.
        iterator = iter(groups)
        columns = [iter(column) for column in rows.columns]
        key_of = map(self.keys_of(keys).__getitem__, groups) if self.signature.accumulate_takes_key else None
        while True:
            try:
                self.loop(self.window.accumulate, self.signature.row.cls, sent, iterator, columns, key_of)
                return sent
            except Reject as reject:
                index = rows.count - length_hint(iterator) - 1
                rows.rejects[rows.number(index)] = (reject.code, reject.detail)
                if undo is None:
                    undo = _Undo(self, rows, groups, keys, states)
                sent[groups[index]] = undo.state_before(index)


class _Undo:
    """Undoes what a rejected row did to its group's state, at no cost as long as none is rejected.

    The group starts again from the state that the host sent, and its earlier rows of this call are
    applied once more, which by the contract gives the same state. A copy of the result stays behind,
    from which the group's next reject starts, so that no row is applied more than twice.

    States, rows and keys are read anew: a list of a row may have become part of a state, and have been changed there.
    """

    def __init__(self, windowed: Windowed, rows: Input, groups: list[int], keys: Columns, states: Columns) -> None:
        self.windowed, self.groups = windowed, groups
        self.rows, self.keys = rows.anew(), windowed.keys_of(keys)
        self.sent = without_nulls(windowed.state, windowed.read_states, states)
        self.of_group: dict[int, list[int]] = {}
        for index, group in enumerate(groups):
            self.of_group.setdefault(group, []).append(index)
        #: For each group the state before its last rejected row, and how many of its rows that was.
        self.restored: dict[int, tuple[int, Any]] = {}

    def state_before(self, index: int) -> Any:
        group = self.groups[index]
        indexes = self.of_group[group]
        done, state = self.restored.get(group, (0, self.sent[group]))
        window, cls, row_columns = self.windowed.window, self.windowed.signature.row.cls, self.rows.columns
        quiet.on = True
        try:
            at = done
            while indexes[at] < index:
                again = indexes[at]
                arguments = [state, cls(*[column[again] for column in row_columns])]
                if self.windowed.signature.accumulate_takes_key:
                    arguments.append(self.keys[group])
                window.accumulate(*arguments)
                at += 1
        finally:
            quiet.on = False
        self.restored[group] = (at + 1, self.windowed.state.copy(state))
        return state


def _loop(signature: Signature) -> Callable[..., None]:
    """The loop over rows, written for this number of columns: a call with as many arguments as there
    are columns is several times faster than one with a list of them."""
    names = [f"value{number}" for number in range(len(signature.row.fields))]
    key = ["key"] if signature.accumulate_takes_key else []
    targets = ", ".join(["group", *names, *key])
    sources = ", ".join(["groups", *(f"columns[{number}]" for number in range(len(names))), *(["keys"] if key else [])])
    source = (
        "def loop(accumulate, Row, states, groups, columns, keys):\n"
        f"    for {targets}{'' if names or key else ','} in zip({sources}):\n"
        f"        accumulate(states[group], Row({', '.join(names)}){', key' if key else ''})\n"
    )
    made: dict[str, Any] = {}
    exec(compile(source, __file__, "exec"), made)  # noqa: S102: of names that are made here
    return made["loop"]


