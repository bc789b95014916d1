"""Finds the transforms of a module, and the world of the contract that they make up."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from dataclasses import dataclass

from .failures import Mistake, shown_file
from .signature import Signature, signature_of
from .window import ColumnarMapper, ColumnarWindow, Mapper, Window


@dataclass
class Transforms:
    """What a module has to offer."""

    window: Signature | None
    mapper: Signature | None

    @property
    def world(self) -> str:
        """The world of the contract that the component implements."""
        migrating = self.window is not None and bool(self.window.migrations)
        if self.window and self.mapper:
            return "everything" if migrating else "mapping-windowing"
        if self.mapper:
            return "mapping"
        return "windowing-migrating" if migrating else "windowing"


def transforms_of(name: str) -> Transforms:
    """Imports a module and looks through it."""
    module = importlib.import_module(name)
    window = _the_one(module, Window, ColumnarWindow)
    mapper = _the_one(module, Mapper, ColumnarMapper)
    if window is None and mapper is None:
        raise Mistake(f"{_file(module)} has no class that is derived from penstock.Window or penstock.Mapper, so there is nothing to build")
    return Transforms(signature_of(window) if window else None, signature_of(mapper) if mapper else None)


def _the_one(module: types.ModuleType, *bases: type) -> type | None:
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, bases[0]) and value not in bases
    ]
    # One that another derives from is what they share, not what is meant.
    found = [cls for cls in dict.fromkeys(found) if not any(other is not cls and issubclass(other, cls) for other in found)]
    exported = getattr(module, "__all__", None)
    if exported is not None:
        found = [cls for cls in found if cls.__name__ in exported]
    if len(found) > 1:
        names = ", ".join(cls.__name__ for cls in found)
        raise Mistake(f"{_file(module)} has several of a kind: {names}; name in `__all__` the one to build, or give each a file")
    return found[0] if found else None


def _file(module: types.ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return shown_file(file) if file else module.__name__


def user_files() -> list[str]:
    """The files of modules that are not Python's own, whose lines an error may have to quote."""
    files = []
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and file.endswith(".py") and "/python3" not in file and "/penstock/" not in file and "wit_world" not in file:
            files.append(file)
    return files
