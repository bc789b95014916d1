"""The pipeline's configuration: parsed, and where the author gave a dataclass for it, checked."""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
import typing
from typing import Any

from .failures import BadConfig, Failure, Mistake, place_of, told

_JSON_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a text", list: "a list", dict: "an object"}


def open_transform(cls: type, text: str) -> Any:
    """Makes the transform. Raises `BadConfig` for a configuration that it does not take."""
    transform = cls()
    try:
        given = json.loads(text)
    except ValueError as error:
        raise BadConfig(f"the configuration is no JSON: {error}") from None
    method = getattr(cls, "open", None)
    if method is None:
        if given not in ({}, None):
            raise BadConfig(f"this transform takes no configuration, but was given {text}: remove `config` from the pipeline")
        return transform
    hints = typing.get_type_hints(method)
    names = list(inspect.signature(method).parameters)[1:]
    if len(names) != 1:
        raise Mistake(f"{place_of(method)}: `open` takes the settings: def open(self, settings: Settings) -> None")
    wanted = hints.get(names[0], dict)
    settings = _fit(given, wanted, "") if dataclasses.is_dataclass(wanted) else given
    try:
        transform.open(settings)
    except Failure:
        raise
    except Exception as error:
        # What an author's own check raises (a missing key, a bad value) is about the configuration.
        raise BadConfig(told(error)) from error
    return transform


def _fit(given: Any, wanted: Any, path: str) -> Any:
    shown = f"`{path}`" if path else "the configuration"
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        if not isinstance(given, dict):
            raise BadConfig(f"{shown} must be an object, not {json.dumps(given)}")
        return _object(given, wanted, path)
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Annotated:
        return _fit(given, parts[0], path)
    if origin in (typing.Union, types.UnionType):
        if given is None and type(None) in parts:
            return None
        return _fit(given, next(part for part in parts if part is not type(None)), path)
    if origin is typing.Literal:
        if given not in parts:
            raise BadConfig(f"{shown} must be one of {', '.join(map(json.dumps, parts))}, not {json.dumps(given)}")
        return given
    plain = origin or wanted
    if plain is float and type(given) is int:
        return float(given)
    if plain in _JSON_NAMES and type(given) is not plain:
        raise BadConfig(f"{shown} must be {_JSON_NAMES[plain]}, not {json.dumps(given)}")
    if origin is list and parts:
        return [_fit(item, parts[0], f"{path}[{number}]") for number, item in enumerate(given)]
    if origin is dict and len(parts) == 2:
        return {name: _fit(item, parts[1], f"{path}.{name}".lstrip(".")) for name, item in given.items()}
    return given


def _object(given: dict[str, Any], wanted: type, path: str) -> Any:
    hints = typing.get_type_hints(wanted, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(wanted)}
    prefix = f"{path}." if path else ""
    for name in given:
        if name not in fields:
            there = ", ".join(f"`{prefix}{field}`" for field in fields)
            raise BadConfig(f"there is no setting `{prefix}{name}`; there are: {there}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in given:
            raise BadConfig(f"the setting `{prefix}{name}` is missing")
    values = {name: _fit(value, hints[name], f"{prefix}{name}") for name, value in given.items()}
    try:
        return wanted(**values)
    except (ValueError, TypeError) as error:
        raise BadConfig(str(error)) from error
