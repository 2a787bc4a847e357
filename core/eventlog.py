"""The `(now_s, event)` stream of a machine, one JSON line a step, with a digest of the actions it led to.

A machine is deterministic, so the log replays to the same actions: an incident becomes a test. Keys are never in it.
"""

import contextlib
import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from gpuwarden.core.machine import Machine
from gpuwarden.core.plain import Plain, Reader, Unknown, to_plain
from gpuwarden.core.version import VERSION

FORMAT = 1
MAX_LINE_CHARS = 64 << 20

_log = logging.getLogger("gpuwarden.eventlog")


class BadLog(ValueError):
    """The log cannot be read: file, line and what is wrong."""


class EventLog:
    """Appends steps to `folder`/<part>-<name>.jsonl, or .2.jsonl and so on: a restart keeps the log of what was before it.

    A line is whole or, after a crash or on a full disk, the last one is cut short. A log that cannot be written ends there, since
    what replays must have no hole; the daemon goes on.
    """

    def __init__(self, folder: Path, part: str, name: str, setup: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = _new(folder, f"{part}-{name}")
        self._ended = False
        self.path = Path(self._file.name)
        self._line({"format": FORMAT, "version": VERSION, "part": part, "setup": to_plain(setup)})

    def write(self, now_s: float, event: object, actions: Sequence[object]) -> None:
        if self._ended:
            return
        try:
            self._line({"now_s": now_s, "event": to_plain(event), "actions": digest(actions)})
        except OSError as why:
            self._ended = True
            _log.error("event log %s: %s: it ends here, and the daemon goes on without it", self.path, why.strerror)

    def _line(self, plain: Plain) -> None:
        self._file.write(json.dumps(plain, separators=(",", ":")) + "\n")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written still cannot
            self._file.close()


def _new(folder: Path, name: str) -> TextIO:
    for start in itertools.count(1):
        path = folder / (f"{name}.jsonl" if start == 1 else f"{name}.{start}.jsonl")
        with contextlib.suppress(FileExistsError):
            return path.open("x", encoding="utf-8", buffering=1)
    raise AssertionError("counting does not end")


def digest(actions: Iterable[object]) -> str:
    """16 hex digits that stand for a step's actions."""
    plain = json.dumps([to_plain(action) for action in actions], separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a log, read back."""

    line: int
    now_s: float
    event: Any
    actions: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """One step done again. `same` says whether it led to the recorded actions."""

    step: Step
    actions: Sequence[object]
    same: bool


def read_head(path: Path) -> tuple[str, Plain]:
    """The daemon that wrote the log, and its machine's setup in plain form."""
    with path.open(encoding="utf-8") as lines:
        head = _parse(path, 1, lines.readline(MAX_LINE_CHARS))
    if not isinstance(head, dict) or head.get("format") != FORMAT or not {"part", "setup"} <= head.keys():
        raise BadLog(f"{path}:1: format: is not an event log of format {FORMAT}")
    return head["part"], head["setup"]


def read_steps(path: Path, reader: Reader) -> Iterator[Step]:
    """The steps, or BadLog. A last line without its end is what a crash leaves, and is passed over."""
    with path.open(encoding="utf-8") as lines:
        lines.readline(MAX_LINE_CHARS)
        number = 1
        while text := lines.readline(MAX_LINE_CHARS):
            number += 1
            if text.endswith("\n"):
                yield _step(path, number, _parse(path, number, text), reader)


def replay(steps: Iterable[Step], build: Callable[[], Machine[Any, Any]]) -> Iterator[Replayed]:
    """Steps a fresh machine through the log."""
    machine = build()
    for step in steps:
        actions = machine.step(step.now_s, step.event)
        yield Replayed(step, actions, digest(actions) == step.actions)


def _parse(path: Path, number: int, text: str) -> Plain:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as why:
        raise BadLog(f"{path}:{number}: is not JSON: {why}") from None


def _step(path: Path, number: int, plain: Plain, reader: Reader) -> Step:
    try:
        return Step(number, float(plain["now_s"]), reader.read(plain["event"]), str(plain["actions"]))
    except (KeyError, TypeError, Unknown) as why:
        raise BadLog(f"{path}:{number}: event: {why}") from None
