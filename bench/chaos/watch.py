"""What the cards' limits were at every moment, and what the limiters had been granted then."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.row import FLOOR_W, Row
from gpuwarden.agent.limiter import events as limiter_events
from gpuwarden.agent.limiter.card import CardState
from gpuwarden.core.eventlog import read_head, read_steps
from gpuwarden.core.plain import Reader
from gpuwarden.proto.lease_pb2 import Grant, Sealed

PERIOD_S: Final = 0.05
OBEYED_WITHIN_S: Final = 1.0  # from the end of a lease to the floor
SAME_W: Final = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at all cards. `now_s` is CLOCK_BOOTTIME; the highest limit of each node."""

    now_s: float
    limits_w: dict[str, float]
    draw_w: float


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant as it reached a limiter: it covers limits up to `limit_w` from `arrived_s` to `ends_s`."""

    arrived_s: float
    ends_s: float
    limit_w: float


def boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Watch:
    """Looks twenty times a second, from construction to `close`."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self.seen: list[Seen] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            limits_w = {node: max(self._row.limits_w(node)) for node in self._row.nodes}
            self.seen.append(Seen(boottime_s(), limits_w, self._row.draw_w()))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def between(self, start_s: float, end_s: float) -> list[Seen]:
        return [one for one in self.seen if start_s <= one.now_s <= end_s]


def granted(row: Row, node: str) -> list[Granted]:
    """All grants that this node's limiters have been handed, in order, from their event logs."""
    reader = Reader((*limiter_events.Event.__args__, CardState))
    logs = [log for log in row.events.glob("limiter-*.jsonl") if _node(log) == node]
    steps = (step for log in logs for step in read_steps(log, reader) if isinstance(step.event, limiter_events.Directive))
    made = (_granted(step.now_s, step.event.sealed) for step in steps)
    return sorted(made, key=lambda one: one.arrived_s)


def _node(log: Path) -> str:
    setup = read_head(log)[1]
    assert isinstance(setup, dict)
    return str(setup["node"])


def _granted(now_s: float, sealed: bytes) -> Granted:
    grant = Grant.FromString(Sealed.FromString(sealed).payload)
    return Granted(now_s, grant.echo_stamp_s + grant.lease_s, max(grant.limits_w))


def uncovered(seen: list[Seen], node: str, grants: list[Granted]) -> Iterator[Seen]:
    """Looks at which the node was above its floor and no grant covered that, not even one that ended OBEYED_WITHIN_S ago."""
    for one in seen:
        if one.limits_w[node] <= FLOOR_W + SAME_W:
            continue
        running = (g for g in grants if g.arrived_s <= one.now_s <= g.ends_s + OBEYED_WITHIN_S)
        if not any(g.limit_w + SAME_W >= one.limits_w[node] for g in running):
            yield one
