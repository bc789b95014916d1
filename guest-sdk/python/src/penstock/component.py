"""The inside of a component: what the host calls, in front of `penstock.windowed` and `penstock.mapping`.

It is imported when the component is built, and the interpreter's memory after that is what the component
starts with. So everything that needs files happens here, and none of it later.
"""

from __future__ import annotations

import importlib.machinery
import sys
from typing import Any

from . import failures, log, metrics, sealed
from .contract import Columns
from .failures import Failure, told
from .mapping import Mapping
from .module import Transforms, transforms_of, user_files
from .windowed import Windowed


def exports(module: str) -> dict[str, type]:
    """The classes that componentize-py looks for, made of a module's transforms."""
    _speak()
    sealed.install()
    transforms = transforms_of(module)
    made: dict[str, type] = {}
    if transforms.window is not None:
        made["Windowed"] = _windowed(transforms)
        if transforms.window.migrations:
            made["Migration"] = _migration(transforms)
    if transforms.mapper is not None:
        made["Mapper"] = _mapper(transforms)
    _prepare(transforms)
    return made


def _prepare(transforms: Transforms) -> None:
    """Reads now what will be wanted when there are no files any more."""
    for file in user_files():
        failures.remember_source(file)
    for signature in (transforms.window, transforms.mapper):
        for record in (signature.row, signature.output, signature.state, signature.key) if signature else ():
            if record is not None:
                record.schema()


def _windowed(transforms: Transforms) -> type:
    import wit_world.exports.windowed as wit  # type: ignore[import-not-found]

    class Exported:
        def open_windowed(self, opening: Any) -> Any:
            global _window
            with _Told():
                _seal()
                _window = Windowed(transforms.window, opening)  # type: ignore[arg-type]
                spec = _window.spec
                return wit.WindowedSpec(
                    _needs(spec.needs), _schema(spec.state), spec.state_version, spec.migrates_from,
                    _columns(spec.initial), _schema(spec.output), [],
                )  # fmt: skip

        def accumulate(self, event: int, input: Any, group_of_row: bytes, keys: Any, states: Any) -> Any:
            with _Told():
                updated = _opened().accumulate(event, input, group_of_row, keys, states)
                return wit.Updated(_columns(updated.states), updated.changed, _rejects(updated.rejects))

        def merge_states(self, keys: Any, earlier: Any, later: Any) -> Any:
            with _Told():
                return _columns(_opened().merge_states(keys, earlier, later))

        def finish_groups(self, keys: Any, bounds: Any, states: Any) -> Any:
            with _Told():
                finished = _opened().finish_groups(keys, bounds, states)
                return wit.Finished(_columns(finished.output), finished.source_group)

    return Exported


def _migration(transforms: Transforms) -> type:
    class Exported:
        def migrate_states(self, old_version: int, old_schema: Any, states: Any) -> Any:
            with _Told():
                return _columns(_opened().migrate_states(old_version, old_schema, states))

    return Exported


def _mapper(transforms: Transforms) -> type:
    import wit_world.exports.mapper as wit  # type: ignore[import-not-found]

    class Exported:
        def open_mapper(self, opening: Any) -> Any:
            global _mapping
            with _Told():
                _seal()
                _mapping = Mapping(transforms.mapper, opening)  # type: ignore[arg-type]
                spec = _mapping.spec
                return wit.MapperSpec(_needs(spec.needs), _schema(spec.output), [])

        def map_rows(self, event: int, input: Any) -> Any:
            with _Told():
                if _mapping is None:
                    raise Failure("the mapper was called before it was opened")
                mapped = _mapping.map_rows(event, input)
                return wit.Mapped(_columns(mapped.output), mapped.source_row, _rejects(mapped.rejects))

    return Exported


_window: Windowed | None = None
_mapping: Mapping | None = None


def _opened() -> Windowed:
    if _window is None:
        raise Failure("the transform was called before it was opened")
    return _window


class _Told:
    """Makes a failure of the contract of whatever is raised."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            return
        from componentize_py_types import Err  # type: ignore[import-not-found]

        if isinstance(error, failures.BadConfig):
            raise Err(_wit().Failure_BadConfig(error.message))
        if isinstance(error, failures.BadInput):
            raise Err(_wit().Failure_BadInput(error.message))
        if isinstance(error, Failure):
            raise Err(_wit().Failure_Internal(error.message))
        raise Err(_wit().Failure_Internal(told(error)))


def _wit() -> Any:
    import wit_world.imports.types as wit  # type: ignore[import-not-found]

    return wit


def _columns(columns: Columns) -> Any:
    return _wit().Columns(columns.rows, columns.buffers)


def _schema(schema: Any) -> list[Any]:
    wit = _wit()
    return [wit.Field(field.name, field.format, field.nullable, field.children, []) for field in schema]


def _needs(needs: Any) -> list[Any]:
    wit = _wit()
    return [wit.Needs(need.event, need.columns) for need in needs]


def _rejects(rejects: Any) -> list[Any]:
    wit = _wit()
    return [wit.Reject(reject.row, reject.code, reject.detail) for reject in rejects]


def _speak() -> None:
    """Hands log lines and figures to the host, and what is printed too."""
    import componentize_py_types  # type: ignore[import-not-found]  # noqa: F401
    import wit_world.imports.log as host_log  # type: ignore[import-not-found]
    import wit_world.imports.metrics as host_metrics  # type: ignore[import-not-found]
    import wit_world.imports.types  # type: ignore[import-not-found]  # noqa: F401

    levels = {"debug": host_log.Level.DEBUG, "info": host_log.Level.INFO, "warn": host_log.Level.WARN, "error": host_log.Level.ERROR}
    log.sink = lambda level, message: host_log.write(levels[level], message)
    metrics.counts = host_metrics.count
    metrics.observes = host_metrics.observe


class _Printed:
    """What is printed becomes lines of the log: a component has no standard output."""

    encoding, errors, closed = "utf-8", "strict", False

    def __init__(self, level: str) -> None:
        self._level, self._line = level, ""

    def write(self, text: str) -> int:
        self._line += text
        *lines, self._line = self._line.split("\n")
        for line in lines:
            log.write(self._level, line)
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


class _NoFiles:
    """Says why a module cannot be imported any more."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in sys.builtin_module_names:
            return importlib.machinery.BuiltinImporter.find_spec(name)  # type: ignore[return-value]
        raise ImportError(f"`{name}` must be imported at the top of the file: once it is built, a transform sees no files")


def _seal() -> None:
    """From the opening on there is neither a file nor a clock, and whoever asks for one is told so. (Not
    when the component is built: then its maker still imports modules and prints.)"""
    sys.stdout, sys.stderr = _Printed("info"), _Printed("warn")  # type: ignore[assignment]
    failures.remember_source = lambda file: failures._sources.get(file, [])
    sealed.seal()
    sys.meta_path[:] = [_NoFiles()]  # type: ignore[list-item]
