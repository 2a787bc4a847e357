"""Configuration: TOML files read into frozen dataclasses, and nothing accepted that was not understood.

A config is a dataclass of `option` fields; nesting, `tuple[X, ...]`, `Mapping[str, X]`, `X | None`, Path and Address may be
used. What a type cannot say, its `problems()` method does, one "key: is this, should be that" a line.
"""

import dataclasses
import difflib
import math
import sys
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, field, is_dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from gpuwarden.core.address import Address, parse_address

T = TypeVar("T")

MOST_WHOLE: Final = int(sys.float_info.max)  # larger whole numbers are no floats


class ConfigError(Exception):
    """What a person must change: the file, and a line for each key that is wrong."""


def option(doc: str, *, default: Any = MISSING) -> Any:
    """A field of a config dataclass. Without a default the key must be there."""
    return field(default=default, metadata={"doc": doc})


def load(path: Path, into: type[T]) -> T:
    """Reads a TOML file; ConfigError if it is absent, is not TOML, or holds what cannot be."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as why:
        raise ConfigError(f"{path}: {why.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as why:
        raise ConfigError(f"{path}: is not TOML: {why}") from None
    return parse(document, into, str(path))


def parse(document: Mapping[str, Any], into: type[T], where: str = "config") -> T:
    """Builds `into`; ConfigError names `where` and lists every problem, not only the first."""
    wrong: list[str] = []
    parsed = _table(document, into, "", wrong)
    if wrong:
        raise ConfigError("\n".join(f"{where}: {line}" for line in wrong))
    return typing.cast(T, parsed)


def keys(into: type[Any], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(dotted key, type, default, doc) of every option, for the documentation. `[]` marks a key of a list of tables."""
    hints = typing.get_type_hints(into)
    for f in dataclasses.fields(into):
        kind = hints[f.name]
        inner, many = _dataclass_in(kind)
        default = "required" if f.default is MISSING else _shown(f.default)
        yield prefix + f.name, _name(kind), default, f.metadata["doc"]
        if inner is not None:
            yield from keys(inner, f"{prefix}{f.name}{many}.")


def _table(document: Any, into: type[Any], at: str, wrong: list[str]) -> Any:
    if not isinstance(document, Mapping):
        wrong.append(f"{at}: should be a table")
        return None
    hints = typing.get_type_hints(into)
    before = len(wrong)
    fields = {f.name: f for f in dataclasses.fields(into)}
    wrong += [f"{_dotted(at, key)}: unknown key{_nearest(key, fields)}" for key in document if key not in fields]
    values = {}
    for name, f in fields.items():
        if name in document:
            values[name] = _value(document[name], hints[name], _dotted(at, name), wrong)
        elif f.default is MISSING:
            wrong.append(f"{_dotted(at, name)}: is missing ({f.metadata['doc']})")
    if len(wrong) > before:
        return None
    return _checked(into(**values), at, wrong)


def _checked(parsed: Any, at: str, wrong: list[str]) -> Any:
    if hasattr(parsed, "problems"):
        wrong += [_dotted(at, line) for line in parsed.problems()]
    return parsed


def _value(given: Any, kind: Any, at: str, wrong: list[str]) -> Any:
    """`given` as a `kind`; otherwise a line in `wrong`."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (kind,) = [a for a in args if a is not types.NoneType]
        return _value(given, kind, at, wrong)
    if is_dataclass(kind) and isinstance(kind, type) and kind is not Address:
        return _table(given, kind, at, wrong)
    if origin is tuple:
        return _list(given, args[0], at, wrong)
    if typing.get_origin(kind) is not None:
        return _mapping(given, args[1], at, wrong)
    return _scalar(given, kind, at, wrong)


def _list(given: Any, kind: Any, at: str, wrong: list[str]) -> tuple[Any, ...]:
    if not isinstance(given, list):
        wrong.append(f"{at}: is {given!r}, should be a list")
        return ()
    return tuple(_value(one, kind, f"{at}[{i}]", wrong) for i, one in enumerate(given))


def _mapping(given: Any, kind: Any, at: str, wrong: list[str]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        wrong.append(f"{at}: is {given!r}, should be a table")
        return {}
    return {name: _value(one, kind, f"{at}.{name}", wrong) for name, one in given.items()}


def _scalar(given: Any, kind: Any, at: str, wrong: list[str]) -> Any:
    if kind is float and isinstance(given, int) and not isinstance(given, bool) and abs(given) <= MOST_WHOLE:
        return float(given)
    if kind in (Path, Address) and isinstance(given, str):
        try:
            return Path(given) if kind is Path else parse_address(given)
        except ValueError as why:
            wrong.append(f"{at}: {why}")
            return None
    if type(given) is not kind or (kind is float and not math.isfinite(given)):
        wrong.append(f"{at}: is {given!r}, should be {_name(kind)}")
    return given


_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number", Path: "a path", Address: "host:port"}


def _name(kind: Any) -> str:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _name(next(a for a in args if a is not types.NoneType))
    if origin is tuple:
        return f"list of {_name(args[0])}"
    if origin is not None:
        return f"table of {_name(args[1])}"
    return _WORDS.get(kind, "table")


def _dataclass_in(kind: Any) -> tuple[type[Any] | None, str]:
    """The config table in a type, and the mark of its keys: `[]` in a list, `.<name>` in a mapping."""
    if kind is Address:
        return None, ""
    if is_dataclass(kind) and isinstance(kind, type):
        return kind, ""
    origin = typing.get_origin(kind)
    found = [inner for inner, _ in map(_dataclass_in, typing.get_args(kind)) if inner is not None]
    many = "[]" if origin is tuple else "" if origin in (types.UnionType, typing.Union) else ".<name>"
    return (found[0], many) if found else (None, "")


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    return "table" if is_dataclass(default) and not isinstance(default, Address) else str(default) or '""'


def _dotted(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _nearest(key: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
