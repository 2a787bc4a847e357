"""Recorded history in one form, for training and warming up models. A source is a file here and a line in this table."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import Final

from gpuwarden.detector.past.block import BadPast, Source

SOURCES: Final[Mapping[str, str]] = MappingProxyType({
    "parquet": "DIR, the folder that a recorder writes",
    "kafka": "HOST:PORT,.. or a file with a [bus] table: what Kafka still has",
    "influx": "a file with an [influx] table",
})  # fmt: skip
"""What is written after the name and a colon. A source's module is imported only when it is asked for."""


@contextmanager
def opened(told: str) -> Iterator[Source]:
    """A source as `parquet:DIR` and the like name it. BadPast if there is no such source, or it cannot be had."""
    name, _, where = told.partition(":")
    if name not in SOURCES or not where:
        raise BadPast(f"{told}: is no source of history, known are {', '.join(f'{one}:{what}' for one, what in SOURCES.items())}")
    module = import_module(f"{__name__}.{name}")
    opening: Callable[[str], AbstractContextManager[Source]] = module.opened
    with opening(where) as source:
        yield source
