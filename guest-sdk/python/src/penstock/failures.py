"""How a call fails, and how an exception of the author's is told with its place in the author's file."""

from __future__ import annotations

import os
import re
import sys
import types


class Reject(Exception):
    """Raise it in ``accumulate`` or ``map`` to refuse a row.

    The host counts rows by ``code``, which is short and stable: letters, digits, ``-`` and ``_``.
    ``detail`` is for a person. A refused row leaves no trace in the state.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = str(code)
        self.detail = str(detail)


class Failure(Exception):
    """A call that cannot be carried out at all; ``kind`` is the contract's name for it."""

    kind = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadConfig(Failure):
    """Raise it in ``open``: the pipeline's configuration is wrong. Say what would be right."""

    kind = "bad-config"


class BadInput(Failure):
    """The events or states offered are not what the transform can work on."""

    kind = "bad-input"


class Mistake(TypeError):
    """A mistake in how a transform is written. It is found before anything runs."""


_SDK = os.path.dirname(os.path.abspath(__file__))
_PYTHON = os.path.dirname(os.path.abspath(os.__file__))
_sources: dict[str, list[str]] = {}
#: Folders below which files are named without the folder.
roots: list[str] = []


def shown_file(file: str) -> str:
    """A file's name as its author knows it."""
    for root in roots:
        if file.startswith(root + os.sep):
            return file[len(root) + 1 :]
    # Inside a component the folders of the Python path are called /0, /1 and so on.
    inside = re.match(r"/\d+/(.*)", file)
    return inside.group(1) if inside else os.path.basename(file)


def remember_source(file: str) -> list[str]:
    """Keeps the lines of a file, as inside a component there are no files when something goes wrong."""
    if file not in _sources:
        try:
            with open(file, encoding="utf-8") as source:
                _sources[file] = source.read().splitlines()
        except (OSError, UnicodeDecodeError):
            _sources[file] = []
    return _sources[file]


def place_of_class(cls: type, line: int = 0, name: str | None = None) -> str:
    """``transform.py:12``: where a class, or one of its annotated fields, was written."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if not file:
        return cls.__qualname__
    lines = remember_source(file)
    line = line or _line_of(rf"\s*class {re.escape(cls.__name__)}\b", lines, 1) or 1
    if name is not None:
        line = _line_of(rf"\s+{re.escape(name)}\s*:", lines, line) or line
    return f"{shown_file(file)}:{line}"


def _line_of(pattern: str, lines: list[str], first: int) -> int | None:
    return next((number for number, text in enumerate(lines[first - 1 :], first) if re.match(pattern, text)), None)


def place_of(function: object) -> str:
    """``transform.py:30``: where a function was written."""
    code = getattr(function, "__code__", None)
    return f"{shown_file(code.co_filename)}:{code.co_firstlineno}" if code else repr(function)


def _is_theirs(file: str) -> bool:
    """Whether a file is the author's: neither the SDK's, nor Python's, nor made up on the way."""
    return not file.startswith((_SDK, "<", "wit_world")) and (not file.startswith(_PYTHON) or "site-packages" in file)


def told(error: BaseException) -> str:
    """One line: where in the author's file it happened, the line, and what happened."""
    frames = _frames(error.__traceback__)
    theirs = [frame for frame in frames if _is_theirs(frame[0])]
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if not theirs:
        return what
    file, line, function = theirs[-1]
    calls = "".join(f", called at {shown_file(file)}:{line}" for file, line, _ in reversed(theirs[-4:-1]))
    return f"{shown_file(file)}:{line} in {function}: {what}{_quoted(file, line)}{calls}"


def _quoted(file: str, line: int) -> str:
    lines = _sources.get(file, [])
    return f" (`{lines[line - 1].strip()}`)" if 0 < line <= len(lines) else ""


def _frames(traceback: types.TracebackType | None) -> list[tuple[str, int, str]]:
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append((code.co_filename, traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    return frames
