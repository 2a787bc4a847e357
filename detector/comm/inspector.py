"""NCCL Inspector's logs: one JSON object a line for each operation that was done, from every process of a job.

Fields are known by their names, never by the version: that says "v4.0" from NCCL 2.28 to 2.31 although fields came (`p2p_perf` with 2.30.3).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpuwarden.detector.comm.ras import Process

MOST_BYTES: Final = 1 << 20  # of a line; verbose ones with 64 channels have some 20,000
COLLECTIVE, MESSAGE = "coll", "p2p"


class BadLine(ValueError):
    """The field and the reason."""


@dataclass(frozen=True, slots=True)
class Done:
    """An operation as one rank of a communicator saw it. `number` counts those of `name` in the communicator, alike at all its ranks for
    collectives. `peer` is a rank of the communicator, None for a collective. `took_us`: its kernel's time, which has the waiting in it."""

    communicator: str
    rank: int
    ranks: int
    process: Process
    name: str
    number: int
    size_bytes: int
    took_us: float
    peer: int | None
    dumped_us: int


def read(line: bytes) -> Done | None:
    """None for a line that tells of no operation, such as `dump_stats`. Raises BadLine."""
    if len(line) > MOST_BYTES:
        raise BadLine(f"line: has more than {MOST_BYTES} bytes")
    try:
        whole = json.loads(line)
    except (ValueError, RecursionError) as why:
        raise BadLine(f"line: is no JSON: {str(why)[:100]}") from None
    told = _mapping(whole, "line")
    for prefix, field in ((COLLECTIVE, "coll_perf"), (MESSAGE, "p2p_perf")):
        if field in told:
            return _done(told, prefix, field)
    return None


def _done(told: Mapping[str, Any], prefix: str, field: str) -> Done:
    header, about, perf = (_mapping(told.get(name), name) for name in ("header", "metadata", field))
    took_us = perf.get(f"{prefix}_exec_time_us")
    if not isinstance(took_us, int | float) or isinstance(took_us, bool) or not 0 <= took_us < 1e12:
        raise BadLine(f"{field}.{prefix}_exec_time_us: is {str(took_us)[:50]!r}, should be microseconds")
    rank, ranks = _whole(header, "rank", "header"), _whole(header, "n_ranks", "header")
    if rank >= ranks:
        raise BadLine(f"header.rank: is {rank} of {ranks}")
    return Done(
        _text(header, "id", "header"), rank, ranks, Process(_text(about, "hostname", "metadata"), _whole(about, "pid", "metadata")),
        _text(perf, prefix, field), _whole(perf, f"{prefix}_sn", field), _whole(perf, f"{prefix}_msg_size_bytes", field), float(took_us),
        _whole(perf, "p2p_peer", field) if prefix == MESSAGE else None, _whole(about, "dump_timestamp_us", "metadata"),
    )  # fmt: skip


def _mapping(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadLine(f"{field}: is a {type(value).__name__}, should be a mapping")
    return value


def _whole(of: Mapping[str, Any], name: str, field: str) -> int:
    value = of.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise BadLine(f"{field}.{name}: is {str(value)[:50]!r}, should be a whole number from 0 on")
    return value


def _text(of: Mapping[str, Any], name: str, field: str) -> str:
    value = of.get(name)
    if not isinstance(value, str) or not value:
        raise BadLine(f"{field}.{name}: is {str(value)[:50]!r}, should be text")
    return value
