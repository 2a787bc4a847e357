"""Runs a workload at each point and measures what it takes and draws. Whatever happens, the card is left as it was found."""

import math
import os
import select
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final

from gpuwarden.agent.child import Child, ChildFailed, Hung
from gpuwarden.agent.profile.card import Profiled, Seen
from gpuwarden.agent.profile.points import Point

SESSION: Final = "gpuwarden.agent.profile.session:Session"
READ_S: Final = 0.1  # as often as a data-centre card has a new reading
DEADLINE_S: Final = 2.0
SETTLE_S: Final = 1.0  # until a card obeys
TOLD_BYTES: Final = 300
NOT_ALLOWED: Final = "NoPermission"  # NVML's word


class ProfileError(Exception):
    """The card or the workload does not let itself be measured: which, and why."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one run. `p99_w` is over readings ten times a second, `mean_w` from the energy counter where there is one."""

    point: Point
    duration_s: float
    mean_w: float
    p99_w: float
    clock_hz: float


class Card:
    """One card that is set and read, in a child process under deadlines."""

    def __init__(self, index: int) -> None:
        """ProfileError if there is no such card, or it cannot be set."""
        self._child = Child(SESSION, index, types=(Profiled, Seen))
        self.found: Profiled = self._call("card")

    def set(self, point: Point) -> None:
        self._told(self._call("lock", point.clock_hz), "lock its clock")
        self._told(self._call("limit", point.limit_w or self.found.limit_w), "set its limit")

    def seen(self) -> Seen:
        told: Seen = self._call("seen")
        return told

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """Unlocked and at the limit that it had, even if the driver failed meanwhile."""
        try:
            yield
        finally:
            try:
                self._restored()
            finally:
                self._child.close()

    def _restored(self) -> None:
        end_s = time.monotonic() + 3 * DEADLINE_S
        while True:
            try:
                self.set(Point(1.0))
            except ProfileError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.5)  # a child that failed is started anew
            else:
                return

    def _told(self, refused: str, what: str) -> None:
        if refused:
            hint = "; only root may" if refused == NOT_ALLOWED else ""
            raise ProfileError(f"card {self.found.index}: cannot {what}: {refused}{hint}")

    def _call(self, method: str, *arguments: object) -> Any:
        try:
            return self._child.call(method, *arguments, deadline_s=DEADLINE_S)
        except (Hung, ChildFailed) as why:
            raise ProfileError(f"{why}") from None


def measured(
    card: Card, points: Sequence[Point], command: Sequence[str], repeats: int, progress: Callable[[str], object]
) -> tuple[list[Measured], float]:
    """Each point `repeats` times, after one run that warms up; and by how much a last run at the first point took longer than its first ones."""
    made: list[Measured] = []
    progress("warming up")
    _run(card, points[0], command)
    for point in points:
        for repeat in range(repeats):
            progress(f"{100 * point.ratio:.1f} %, run {repeat + 1} of {repeats}")
            made.append(_run(card, point, command))
    progress("once more as in the beginning")
    first_s = statistics.median(one.duration_s for one in made[:repeats])
    return made, _run(card, points[0], command).duration_s / first_s - 1.0


def _run(card: Card, point: Point, command: Sequence[str]) -> Measured:
    card.set(point)
    time.sleep(SETTLE_S)
    before = card.seen()
    with tempfile.TemporaryFile() as errors:
        seen, duration_s, status = _watched(card, command, errors)
        if status != 0:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - TOLD_BYTES))
            raise ProfileError(f"{command[0]} ended with status {status}: {errors.read().decode(errors='replace').strip()}")
    energy_j = card.seen().energy_j - before.energy_j
    powers_w = sorted(one.power_w for one in seen if not math.isnan(one.power_w))
    if not powers_w:
        raise ProfileError(f"{command[0]} took {duration_s:.2f} s, too short for a reading: let it take some seconds")
    mean_w = energy_j / duration_s if energy_j > 0 else statistics.fmean(powers_w)
    p99_w = powers_w[min(len(powers_w) - 1, int(0.99 * len(powers_w)))]
    return Measured(point, duration_s, mean_w, p99_w, statistics.median(one.clock_hz for one in seen))


def _watched(card: Card, command: Sequence[str], errors: IO[bytes]) -> tuple[list[Seen], float, int]:
    """A reading each READ_S until it ends; how long it took, s; its status."""
    start_s, seen = time.monotonic(), list[Seen]()
    try:
        running = subprocess.Popen(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": card.found.uuid}, stdout=subprocess.DEVNULL, stderr=errors)
    except OSError as why:
        raise ProfileError(f"{command[0]}: {why.strerror}") from None
    with running:
        try:
            ended, descriptor = select.poll(), os.pidfd_open(running.pid)  # `wait` with a timeout looks every 50 ms
            ended.register(descriptor, select.POLLIN)
            while not ended.poll(1000 * READ_S):
                seen.append(card.seen())
            duration_s = time.monotonic() - start_s
            os.close(descriptor)
        finally:
            running.kill()  # one that has ended does not mind
        return seen, duration_s, running.wait()
