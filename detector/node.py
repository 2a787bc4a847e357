"""One node as the detector knows it: how far its telemetry has come, and where its devices stand in the arrays."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.decode import Sample

PAST_STARTS: Final = 8
LATE_NS: Final = 30_000_000_000  # a record that is older than the one before by less is of a late collector; by more, the clock was set back

Slots = NDArray[np.intp]


@dataclass(slots=True)
class Seats:
    """The devices of one kind in the newest sample, and their rows in the arrays."""

    ids: tuple[str, ...] = ()
    slots: Slots = field(default_factory=lambda: np.empty(0, np.intp))


@dataclass(slots=True)
class Node:
    """`partition` of the telemetry topic; `seen_s` (heard last) is by the detector's clock, `unix_ns` the node's."""

    name: str
    partition: int
    seen_s: float
    unix_ns: int = 0
    start: str = ""
    sequence: int = 0
    past_starts: deque[str] = field(default_factory=lambda: deque(maxlen=PAST_STARTS))
    seats: dict[Device, Seats] = field(default_factory=dict)
    slot_of: dict[tuple[Device, str], int] = field(default_factory=dict)
    gpus: dict[str, float] = field(default_factory=dict)  # every one ever seen, with when it was seen last
    unread: dict[str, int] = field(default_factory=dict)  # GPU to samples in a row without it
    joined: bool = False  # what the room says of it is seen to
    late: bool = False  # the newest sample is what a collector read too late for its pass, and that alone

    def is_repeat(self, sample: Sample) -> bool:
        """Whether this sample, or a later one, has been here before: at least once means sometimes twice."""
        if sample.agent_start == self.start:
            return sample.sequence <= self.sequence
        return sample.agent_start in self.past_starts

    def advance(self, sample: Sample) -> int:
        """Takes a sample that is no repeat; how many were lost before it. Where a node is joined in its middle none are known."""
        restarted = sample.agent_start != self.start
        expected = 1 if restarted and self.start else sample.sequence if restarted else self.sequence + 1
        if restarted and self.start:
            self.past_starts.append(self.start)
        self.late = not restarted and 0 < self.unix_ns - sample.unix_ns < LATE_NS
        self.start, self.sequence = sample.agent_start, sample.sequence
        self.unix_ns = self.unix_ns if self.late else sample.unix_ns
        return sample.sequence - expected
