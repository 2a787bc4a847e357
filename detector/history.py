"""Records telemetry as it comes from the bus: what is flushed is durable, and only then may its offsets be committed."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from gpuwarden.detector.history_file import file_name, folder_of, hour_key, write
from gpuwarden.detector.history_jobs import JOB_BYTES, jobs_of
from gpuwarden.detector.history_table import Kept, tables
from gpuwarden.proto.decode import Refused, decode

MOST_BYTES: Final = 128 << 20  # that wait in memory: what 1,000 nodes of 8 GPUs send in 40 s or so
SAMPLE_BYTES: Final = 800  # what Python takes for a sample beside its readings

_log = logging.getLogger("gpuwarden.recorder")


@dataclass(slots=True)
class Counts:
    """What a recorder has done so far. `refused` is by the field that was wrong."""

    samples: int = 0
    files: int = 0
    bytes: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        each = {"samples": self.samples, "files": self.files, "bytes": self.bytes}
        return {**each, "rows": dict(self.rows), "refused": dict(self.refused)}


@dataclass(frozen=True, slots=True)
class _Taken:
    offset: int
    digest: bytes
    kept: Kept


class Recorder:
    """Writes Parquet files of the telemetry that it takes. What comes again is written again: readers pass over repeats."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: defaultdict[int, list[_Taken]] = defaultdict(list)
        self._waiting_bytes = 0
        self._taken: dict[int, int] = {}
        self._durable: dict[int, int] = {}
        self._told = set[str]()
        self.counts = Counts()

    def take(self, partition: int, offset: int, payload: bytes) -> None:
        """Writes, and so may raise OSError, once MOST_BYTES wait. A payload that may not come in is counted and told of."""
        try:
            self._add(partition, offset, payload)
        except Refused as why:
            self._refuse(partition, offset, why)
        self._taken[partition] = max(offset + 1, self._taken.get(partition, 0))
        if self._waiting_bytes >= MOST_BYTES:
            self._settle()

    def _add(self, partition: int, offset: int, payload: bytes) -> None:
        sample = decode(payload)
        kept = Kept(replace(sample, processes=()), jobs_of(sample))
        self._waiting[partition].append(_Taken(offset, blake2b(payload, digest_size=8).digest(), kept))
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

        After an OSError what waits still waits.
        """
        self._settle()
        durable, self._durable = self._durable, {}
        return durable

    def _settle(self) -> None:
        for partition, waiting in list(self._waiting.items()):
            for hour, taken in _by_hour(waiting):
                self._write(partition, hour, taken)
            self.counts.samples += len(waiting)
            del self._waiting[partition]
        self._waiting_bytes = 0
        self._told.clear()
        self._durable |= self._taken
        self._taken.clear()

    def _write(self, partition: int, hour: str, taken: list[_Taken]) -> None:
        offsets = [one.offset for one in taken]
        name = file_name(hour, partition, min(offsets), max(offsets), [one.digest for one in taken])
        for kind, table in tables([one.kept for one in taken]):
            path = folder_of(self._folder, kind, hour) / name
            write(table, path)
            self.counts.files += 1
            self.counts.bytes += path.stat().st_size
            self.counts.rows[kind] += table.num_rows


def _by_hour(waiting: list[_Taken]) -> Iterator[tuple[str, list[_Taken]]]:
    hours: defaultdict[str, list[_Taken]] = defaultdict(list)
    for one in waiting:
        hours[hour_key(one.kept.sample.unix_ns)].append(one)
    yield from hours.items()
