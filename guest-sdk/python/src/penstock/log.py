"""Lines for the operator. The host limits how many a call may write. Natively they go to stderr.

>>> from penstock import log
>>> log.warn("3 offers without a driver")
"""

from __future__ import annotations

import sys
from typing import Callable

from . import quiet

#: Where lines go: (level, message). Inside a component, to the host.
sink: Callable[[str, str], None] = lambda level, message: print(f"{level}: {message}", file=sys.stderr)


def write(level: str, message: object) -> None:
    """Writes a line; ``level`` is ``debug``, ``info``, ``warn`` or ``error``."""
    if not quiet.on:
        sink(level, str(message))


def debug(message: object) -> None:
    """A line for those who look for a fault."""
    write("debug", message)


def info(message: object) -> None:
    """A line on what goes well."""
    write("info", message)


def warn(message: object) -> None:
    """A line on what someone should look at."""
    write("warn", message)


def error(message: object) -> None:
    """A line on what went wrong."""
    write("error", message)
