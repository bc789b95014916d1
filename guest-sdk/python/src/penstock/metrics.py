"""Figures for the operator. The host adds the pipeline's name, and limits how many names there may
be. Natively they go nowhere, unless a test puts a function of its own into ``counts`` or ``observes``.
"""

from __future__ import annotations

from typing import Callable

from . import quiet

counts: Callable[[str, int], None] = lambda name, amount: None
observes: Callable[[str, float], None] = lambda name, value: None


def count(name: str, amount: int = 1) -> None:
    """Adds to a counter."""
    if not quiet.on:
        counts(name, amount)


def observe(name: str, value: float) -> None:
    """Adds a value to a histogram."""
    if not quiet.on:
        observes(name, float(value))
