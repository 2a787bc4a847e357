"""Dataclasses to plain JSON values and back, for logs that must come back as the same objects."""

import base64
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, TypeAlias

from google.protobuf.message import DecodeError, Message

# A value that json can write; JSON has no finer type.
Plain: TypeAlias = Any

_AS_IT_IS = frozenset({type(None), bool, int, str})
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Unknown(ValueError):
    """A plain value names a type that this reader was not told of, or is malformed."""


def to_plain(value: object) -> Plain:
    """Raises TypeError for what has no plain form."""
    if type(value) in _AS_IT_IS or (type(value) is float and math.isfinite(value)):
        return value
    match value:
        case Enum():
            return {"$enum": type(value).__name__, "name": value.name}
        case int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else {"$float": str(value)}
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case tuple() | list():
            return [to_plain(item) for item in value]
        case Mapping():
            return {"$map": [[to_plain(k), to_plain(v)] for k, v in value.items()]}
        case PurePath():
            return {"$path": str(value)}
        case Message():
            encoded = value.SerializeToString(deterministic=True)
            return {"$message": type(value).__name__, "bytes": base64.b64encode(encoded).decode()}
    if is_dataclass(value):
        return {"$": type(value).__name__, **{f.name: to_plain(getattr(value, f.name)) for f in fields(value)}}
    raise TypeError(f"{type(value).__name__} has no plain form")


class Reader:
    """Rebuilds values of the given types only: a log cannot name anything else into being."""

    def __init__(self, types: Iterable[type]) -> None:
        self._types: Mapping[str, type[Any]] = MappingProxyType({t.__name__: t for t in types})

    def read(self, plain: Plain) -> Any:
        """The value, or Unknown."""
        if isinstance(plain, list):
            return tuple(self.read(item) for item in plain)
        if isinstance(plain, dict):
            try:
                return self._tagged(plain)
            except (KeyError, TypeError, ValueError, DecodeError) as why:
                raise Unknown(f"{str(plain)[:120]}: {why}") from why
        return plain

    def _tagged(self, plain: Mapping[str, Any]) -> Any:
        if "$" in plain:
            made = self._types[plain["$"]]
            return made(**{name: self.read(item) for name, item in plain.items() if name != "$"})
        if "$enum" in plain:
            return self._types[plain["$enum"]][plain["name"]]
        if "$message" in plain:
            return self._types[plain["$message"]].FromString(base64.b64decode(plain["bytes"]))
        return self._simple(plain)

    def _simple(self, plain: Mapping[str, Any]) -> Any:
        (tag, content), = plain.items()
        match tag:
            case "$bytes":
                return base64.b64decode(content, validate=True)
            case "$float":
                return _FLOATS[content]
            case "$map":
                return {self.read(key): self.read(item) for key, item in content}
            case "$path":
                return PurePath(content)
        raise ValueError(f"tag {tag!r} is not known")
