"""Clocks and chance, of which a transform has neither: what it gives depends on its rows alone.

`install` puts guards in front of Python's own functions before the author's module is imported, so that
``from time import time`` gets a guard too. They let everybody pass until `seal` is called.
"""

from __future__ import annotations

import datetime
import functools
import gc
import os
import random
import sys
import time
from typing import Any, Callable

_sealed = False

_CLOCKS = (
    "clock_gettime", "clock_gettime_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time",
    "process_time_ns", "sleep", "thread_time", "thread_time_ns", "time", "time_ns",
)  # fmt: skip
#: These turn a moment into another form, and take the present one if they are given none.
_FORMS = {"asctime": 0, "ctime": 0, "gmtime": 0, "localtime": 0, "strftime": 1}


def install() -> None:
    """Puts the guards in place, once."""
    if hasattr(time.time, "__penstock__"):
        return
    for name in _CLOCKS:
        _guard(time, name, "clock")
    for name, position in _FORMS.items():
        _guard(time, name, "clock", lambda given, position=position: len(given) <= position or given[position] is None)
    _guard(os, "urandom", "random numbers")
    if hasattr(os, "getrandom"):
        _guard(os, "getrandom", "random numbers")
    # Those of a `random.Random` of the author's own, with a seed, are as good as any.
    for name in random.__all__:
        if getattr(getattr(random, name), "__self__", None) is random._inst:  # type: ignore[attr-defined]
            _guard(random, name, "random numbers")
    random.Random.__new__ = _seeded(random.Random.__new__)  # type: ignore[method-assign]
    _guard_method(datetime.datetime, "now")
    _guard_method(datetime.datetime, "utcnow")
    _guard_method(datetime.date, "today")


def seal() -> None:
    """From now on whoever asks is told why there is no answer."""
    global _sealed
    _sealed = True


def unseal() -> None:
    """For tests."""
    global _sealed
    _sealed = False


def _refuse(what: str) -> None:
    raise RuntimeError(f"a transform has no {what}: what it gives depends on its rows alone")


def _guard(module: Any, name: str, what: str, asks: Callable[[tuple[Any, ...]], bool] = lambda given: True) -> None:
    real = getattr(module, name, None)
    if real is None:
        return

    @functools.wraps(real)
    def guard(*given: Any, **named: Any) -> Any:
        if _sealed and asks(given):
            _refuse(what)
        return real(*given, **named)

    guard.__penstock__ = True  # type: ignore[attr-defined]
    setattr(module, name, guard)


def _seeded(real: Callable[..., Any]) -> Callable[..., Any]:
    def guard(cls: type, *given: Any, **named: Any) -> Any:
        if _sealed and (*given, *named.values(), None)[0] is None:
            _refuse("random numbers")
        return real(cls, *given, **named)

    return guard


def _guard_method(cls: type, name: str) -> None:
    real = cls.__dict__[name]

    def guard(cls: type, *given: Any, **named: Any) -> Any:
        if _sealed:
            _refuse("clock")
        return real.__get__(None, cls)(*given, **named)

    # Python lets nobody set attributes of its own types, but a type's dictionary is one like any other.
    gc.get_referents(cls.__dict__)[0][name] = classmethod(guard)
    (getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache)()
