"""What the detector's machine is told, and what it orders."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gpuwarden.core.machine import Say
from gpuwarden.proto import topics


@dataclass(frozen=True, slots=True)
class Raw:
    """One record as it came, not yet looked at."""

    partition: int
    offset: int
    key: str
    payload: bytes
    topic: str = topics.TELEMETRY


@dataclass(frozen=True, slots=True)
class Polled:
    """One poll of the bus: every record of it, in order within a partition."""

    records: tuple[Raw, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """Once a second: time to look for silent nodes. Wall clock, because findings carry it."""

    unix_ns: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """Ids of the models of health that judge from now on, and that is tried beside it; both are at hand."""

    live: str | None
    shadow: str | None
    unix_ns: int


@dataclass(frozen=True, slots=True)
class Leaving:
    """Partitions may be about to go to other detectors of the group: what is known of them is to be durable first."""


@dataclass(frozen=True, slots=True)
class Moved:
    """(topic, partition): all that this detector reads from now on. `firing`: serialised findings that are firing, whoever published them."""

    places: tuple[tuple[str, int], ...]
    firing: tuple[bytes, ...]


Event: TypeAlias = Polled | Tick | Chosen | Leaving | Moved


@dataclass(frozen=True, slots=True)
class PublishFinding:
    """A serialised `Finding`, for the findings topic."""

    key: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class PublishProgress:
    """A serialised `JobProgress`, for the topic of scores."""

    job: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record refused at the door, as it came, with the field and the reason."""

    record: Raw
    reason: str


@dataclass(frozen=True, slots=True)
class Commit:
    """All published above is to be acknowledged first; then these offsets (topic and partition to next offset) are done with."""

    next_offsets: Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class PublishSummaries:
    """Serialised `MinuteSummaries`, for the scores topic."""

    group: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class HandOver:
    """All published above is to be acknowledged; then others may begin."""


Action: TypeAlias = PublishFinding | PublishProgress | PublishSummaries | DeadLetter | Commit | HandOver | Say
