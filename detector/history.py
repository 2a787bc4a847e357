"""Records telemetry as it comes from the bus: what is flushed is durable, and only then may its offsets be committed."""

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Protocol

from gpuwarden.detector.history_jobs import JOB_BYTES, jobs_of
from gpuwarden.detector.history_table import Kept
from gpuwarden.proto.decode import Refused, Sample, decode

MOST_BYTES: Final = 128 << 20  # that wait in memory: what 1,000 nodes of 8 GPUs send in 40 s or so
SAMPLE_BYTES: Final = 800  # what Python takes for a sample beside its readings

_log = logging.getLogger("gpuwarden.recorder")


@dataclass(frozen=True, slots=True)
class Taken:
    """One record. `digest` stands for its payload."""

    offset: int
    digest: bytes
    kept: Kept


class Store(Protocol):
    """Where history is kept. A recorder has one: offsets that are committed speak of one place."""

    def admit(self, sample: Sample) -> None:
        """Raises Refused for what can never be kept there."""
        ...

    def parts(self, taken: Sequence[Taken]) -> Iterable[Sequence[Taken]]:
        """What is written at once, of what waits of one partition."""
        ...

    def write(self, partition: int, part: Sequence[Taken]) -> Mapping[str, int]:
        """Rows by their kind. All is durable on return; what is written again is there once. NotStored if it cannot be."""
        ...

    def figures(self) -> dict[str, Any]:
        """What it has done so far, for JSON."""
        ...


class NotStored(OSError):
    """What was to be written is not: where, and why. It still waits."""


@dataclass(slots=True)
class Counts:
    """What a recorder has done so far. `refused` is by the field that was wrong."""

    samples: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {"samples": self.samples, "rows": dict(self.rows), "refused": dict(self.refused)}


class Recorder:
    """Keeps the telemetry that it takes. What comes again is written again: a store, or its readers, pass over repeats."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: defaultdict[int, list[Taken]] = defaultdict(list)
        self._waiting_bytes = 0
        self._parts: deque[tuple[int, Sequence[Taken]]] = deque()  # of what waits: not done yet when a write failed
        self._taken: dict[int, int] = {}
        self._durable: dict[int, int] = {}
        self._told = set[str]()
        self.counts = Counts()

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.counts.figures(), **self._store.figures()}

    def take(self, partition: int, offset: int, payload: bytes) -> None:
        """Writes, and so may raise NotStored, once MOST_BYTES wait. A payload that may not come in is counted and told of."""
        try:
            self._add(partition, offset, payload)
        except Refused as why:
            self._refuse(partition, offset, why)
        self._taken[partition] = max(offset + 1, self._taken.get(partition, 0))
        if self._waiting_bytes >= MOST_BYTES:
            self._settle()

    def _add(self, partition: int, offset: int, payload: bytes) -> None:
        sample = decode(payload)
        self._store.admit(sample)
        kept = Kept(sample._replace(processes=()), jobs_of(sample))
        self._waiting[partition].append(Taken(offset, blake2b(payload, digest_size=8).digest(), kept))
        kept_bytes = len(payload) if sample.events else 0  # the events keep their whole message
        kept_bytes += JOB_BYTES * sum(map(len, kept.jobs.values()))
        self._waiting_bytes += SAMPLE_BYTES + kept_bytes + sum(readings.values.nbytes for readings in sample.readings)

    def _refuse(self, partition: int, offset: int, why: Refused) -> None:
        """One sentence for each field between two flushes: who sends rubbish sends much of it."""
        self.counts.refused[why.field] += 1
        if why.field not in self._told:
            self._told.add(why.field)
            _log.warning("partition %d, offset %d is left out: %s", partition, offset, why)

    def flush(self) -> Mapping[int, int]:
        """The offsets to go on from, by partition, where there are new ones: all before them is durable.

        After NotStored what waits still waits.
        """
        self._settle()
        durable, self._durable = self._durable, {}
        return durable

    def _settle(self) -> None:
        for partition, waiting in self._waiting.items():
            self._parts.extend((partition, part) for part in self._store.parts(waiting))
        self._waiting.clear()
        while self._parts:
            partition, part = self._parts[0]
            self.counts.rows.update(self._store.write(partition, part))
            self.counts.samples += len(part)
            self._parts.popleft()
        self._waiting_bytes = 0
        self._told.clear()
        self._durable |= self._taken
        self._taken.clear()
