"""The way between a node's limiter and its controller, agent included: messages are lost, late, repeated, overtaken, held back, replayed."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from gpuwarden.sim.timeline import Timeline

USUAL_DELAY_S: Final = (0.001, 0.005)
KEPT: Final = 40  # messages that a lying agent has in store
FEW: Final = 4
LIE_LATE_S: Final = 15.0

Deliver = Callable[[bytes], None]
Message = tuple[Deliver, bytes]


@dataclass(slots=True)
class Weather:
    """How it is now, everywhere."""

    loss: float = 0.0
    late_s: float = 0.0
    repeats: float = 0.0


CLEAR: Final = Weather()


@dataclass(slots=True)
class Way:
    """Of one node. `cut`: '', or 'lost' or 'held': what becomes of messages. `agent`: '' as it should be, 'hung' or 'lying'."""

    cut: str = ""
    agent: str = ""
    withholds: float = 0.4
    """Of what a lying agent gets; at 1 it has a few old messages alone, and repeats those."""
    held: list[Message] = field(default_factory=list)
    kept: deque[Message] = field(default_factory=lambda: deque(maxlen=KEPT))


class Network:
    """Any message may overtake any other: each has a delay of its own. `usual`: the weather where no fault makes it worse."""

    def __init__(self, nodes: int, time: Timeline, chance: Random, usual: Weather = CLEAR) -> None:
        self.ways = [Way() for _ in range(nodes)]
        self._usual, self.weather = usual, replace(usual)
        self._time, self._chance = time, chance

    def carry(self, node: int, deliver: Deliver, message: bytes) -> None:
        way = self.ways[node]
        if way.agent == "lying":
            self._lie(way, deliver, message)
        elif way.agent == "hung" or way.cut == "held":
            way.held.append((deliver, message))
        elif way.cut != "lost" and self._chance.random() >= self.weather.loss:
            self._send(way, deliver, message, self.weather.late_s)

    def _send(self, way: Way, deliver: Deliver, message: bytes, late_s: float) -> None:
        delay_s = self._chance.uniform(*USUAL_DELAY_S) + (self._chance.uniform(0.0, late_s) if late_s else 0.0)
        self._time.after(delay_s, lambda: self._arrive(way, deliver, message))
        if self.weather.repeats and self._chance.random() < self.weather.repeats:
            self._time.after(delay_s + self._chance.uniform(0.0, 3.0), lambda: self._arrive(way, deliver, message))

    def _arrive(self, way: Way, deliver: Deliver, message: bytes) -> None:
        if way.agent == "hung" or way.cut == "held":
            way.held.append((deliver, message))
        elif way.cut != "lost":
            deliver(message)

    def _lie(self, way: Way, deliver: Deliver, message: bytes) -> None:
        """A captured agent can neither read nor forge: it withholds, delays and repeats, either way."""
        if way.withholds < 1.0 or len(way.kept) < FEW:
            way.kept.append((deliver, message))
        if self._chance.random() >= way.withholds:
            self._send(way, deliver, message, LIE_LATE_S if self._chance.random() < 0.5 else 0.0)
        if self._chance.random() < 0.5:
            self._send(way, *self._chance.choice(way.kept), late_s=0.0)

    def clear_up(self) -> None:
        self.weather = replace(self._usual)

    def heal(self, node: int) -> None:
        """What was held back comes now."""
        way = self.ways[node]
        held, way.held = way.held, []
        way.cut = way.agent = ""
        way.kept.clear()
        for deliver, message in held:
            deliver(message)
