"""The newest complete checkpoint of a job, under the folder where it puts them."""

import os
import time
from pathlib import Path
from typing import Final

from gpuwarden.controller.checkpoints import KINDS
from gpuwarden.controller.checkpoints.checkpoint import Checkpoint, NoCheckpoint, Unfinished, step_in

MOST_FOLDERS: Final = 10_000
QUIET_S: Final = 10.0  # one to which nothing was added for so long is not being written any more
LOOK_S: Final = 0.5
MOST_TOLD: Final = 5


def newest(folder: Path, before_s: float | None = None, wait_s: float = 0.0, quiet_s: float = QUIET_S) -> Checkpoint:
    """Of those in `folder` (each a folder of its own, or `folder` itself) the complete one that was written last.

    `before_s`, unix time: only one that was written before it, since what came later may be wrong. Otherwise one that is newer and not complete
    is waited for, `wait_s` at most, and only as long as something is added to it every `quiet_s`. NoCheckpoint if there is none, or the folder is gone.
    """
    until_s = time.monotonic() + wait_s
    seen, seen_s = dict[Path, tuple[float, int]](), time.monotonic()
    while True:
        found, unfinished = _look(folder, before_s)
        now_s = time.monotonic()
        if (sizes := _sizes(unfinished)) != seen:
            seen, seen_s = sizes, now_s
        if before_s is not None or not unfinished or now_s >= until_s or now_s - seen_s >= quiet_s:
            break
        time.sleep(min(LOOK_S, until_s - now_s))
    if found is None:
        told = "; ".join(f"{one.path.name}: {one.why}" for one in unfinished[:MOST_TOLD]) or "holds none"
        raise NoCheckpoint(f"{folder}: {told}")
    return found


def _look(folder: Path, before_s: float | None) -> tuple[Checkpoint | None, list[Unfinished]]:
    """The newest one to go on from, and those newer than it that are none."""
    passed_over = list[Unfinished]()
    for place in _places(folder):
        one = _look_at(place)
        if isinstance(one, Checkpoint) and before_s is not None and one.written_s >= before_s:
            one = Unfinished(place, f"was written {one.written_s - before_s:.0f} s too late")
        if isinstance(one, Checkpoint):
            return one, passed_over
        if one is not None:
            passed_over.append(one)
    return None, passed_over


def _look_at(place: Path) -> Checkpoint | Unfinished | None:
    try:
        found = [one for kind in KINDS.values() if (one := kind.look(place)) is not None]
        place.stat()  # jobs delete old ones of their own, and a file system may go
    except OSError as why:
        return Unfinished(place, f"{why.strerror or why}, while it was looked at")
    return next((one for one in found if isinstance(one, Checkpoint)), found[0] if found else None)


def _places(folder: Path) -> list[Path]:
    """Newest first. A link is another name of what is there anyway."""
    try:
        with os.scandir(folder) as entries:
            inside = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as why:
        raise NoCheckpoint(f"{folder}: {why.strerror}") from None
    if len(inside) > MOST_FOLDERS:
        raise NoCheckpoint(f"{folder}: holds {len(inside)} folders, more than the {MOST_FOLDERS} that are looked through")
    return sorted((folder, *map(Path, inside)), key=_age, reverse=True)


def _age(place: Path) -> tuple[float, int, str]:
    """By when its marker was put there, or else something in it changed."""
    written_s = 0.0
    for path in (*(place / kind.marker for kind in KINDS.values()), place):
        try:
            written_s = path.stat().st_mtime
            break
        except OSError:
            continue
    return written_s, step_in(place.name) or 0, place.name


def _sizes(unfinished: list[Unfinished]) -> dict[Path, tuple[float, int]]:
    """What changes as they grow."""
    sizes = dict[Path, tuple[float, int]]()
    for one in unfinished:
        try:
            with os.scandir(one.path) as entries:
                stats = [entry.stat(follow_symlinks=False) for entry in entries]
        except OSError:
            continue  # it is gone, or goes
        sizes[one.path] = max((stat.st_mtime for stat in stats), default=0.0), sum(stat.st_size for stat in stats)
    return sizes
