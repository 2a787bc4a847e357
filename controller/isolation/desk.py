"""The isolating machine as a daemon runs it: findings come as they lie on the bus, what must be durable leaves as one entry, and the picture every second."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from gpuwarden.controller.events import FindingArrived
from gpuwarden.controller.finding_opened import opened
from gpuwarden.controller.isolation import events
from gpuwarden.controller.isolation.config import IsolationConfig
from gpuwarden.controller.isolation.door import kept, signal_of
from gpuwarden.controller.isolation.events import (
    Act,
    Answered,
    EndPower,
    Forget,
    Keep,
    Line,
    SignalHeard,
    Tell,
    Tick,
)
from gpuwarden.controller.isolation.machine import Isolation
from gpuwarden.controller.isolation.picture import picture_of
from gpuwarden.controller.isolation.records import key_of
from gpuwarden.core.machine import Level, Say
from gpuwarden.proto.control_pb2 import Isolation as Picture


@dataclass(frozen=True, slots=True)
class Written:
    """Durable in one transaction before the actions that follow: ledger lines, and records as JSON by key, None for what is over."""

    lines: tuple[Line, ...]
    records: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """As it now is, for the API, the page and the terminal."""

    picture: Picture


Event: TypeAlias = events.Event | FindingArrived
Action: TypeAlias = Written | Act | EndPower | Tell | Answered | Say | Shown


class Desk:
    """From a configuration on; the first event is Started."""

    def __init__(self, config: IsolationConfig) -> None:
        self._machine = Isolation(config)
        self._refused = 0

    def step(self, now_s: float, event: Event) -> list[Action]:
        """A bad finding is said and counted."""
        if not isinstance(event, FindingArrived):
            done = list(_together(self._machine.step(now_s, event)))
            return [*done, Shown(picture_of(self._machine))] if isinstance(event, Tick) else done
        try:
            signal = signal_of(opened(event.payload))
        except ValueError as why:
            self._refused += 1
            return [Say(f"isolation refused a finding, {self._refused} by now: {why}", Level.WARNING)]
        return list(_together(self._machine.step(now_s, SignalHeard(signal))))


def _together(actions: Iterable[events.Action]) -> Iterator[Action]:
    """What is to be written before the next act is one entry: each costs a wait for the disk."""
    lines, records = list[Line](), dict[str, str | None]()
    for action in actions:
        match action:
            case Line():
                lines.append(action)
            case Keep():
                records[key_of(action.record)] = kept(action.record)
            case Forget():
                records[action.key] = None
            case _:
                if lines or records:
                    yield Written(tuple(lines), tuple(records.items()))
                    lines, records = [], {}
                yield action
    if lines or records:
        yield Written(tuple(lines), tuple(records.items()))
