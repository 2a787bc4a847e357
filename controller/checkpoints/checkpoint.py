"""What a job left to go on from, as it lies on disk. It is only looked at: nothing here writes, and nothing is ever deleted."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

MOST_FILES: Final = 100_000
_STEP: Final = re.compile(r"(?P<step>\d{1,18})\D*", re.ASCII)  # of step-100, iter_0000100, global_step100 the last number


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete one. `written_s`: unix time at which it was; what it holds is older. `step` None: neither told nor in its name."""

    path: Path
    kind: str
    written_s: float
    step: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One that must not be gone on from, and why."""

    path: Path
    why: str


Look: TypeAlias = Callable[[Path], Checkpoint | Unfinished | None]
"""At one folder. None: there is no checkpoint of this kind. OSError where it cannot be looked at."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`marker` is the file that is put there last."""

    marker: str
    look: Look


class NoCheckpoint(Exception):
    """There is none to go on from. The text says why each that was seen is none."""


def lacking(folder: Path, least_bytes: Mapping[str, int]) -> str:
    """What is wrong with the files of a checkpoint, of which each has so many bytes at least; '' if nothing is."""
    if not least_bytes:
        return "names no files"
    for name, least in least_bytes.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or "\0" in name:
            return f"names {name[:60]!r}, which is not in it"
        try:
            found = os.stat(folder / place, follow_symlinks=False).st_size
        except FileNotFoundError:
            return f"{name[:60]} is not there"
        if found < least:
            return f"{name[:60]} has {found} bytes, should have {least}"
    return ""


def step_in(name: str) -> int | None:
    """The last number in a folder's name."""
    found = list(_STEP.finditer(name))
    return int(found[-1]["step"]) if found else None
