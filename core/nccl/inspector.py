"""NCCL Inspector's logs: one JSON object a line for each operation that was done, from every process of a job.

Fields are known by their names: the version says "v4.0" from NCCL 2.28 to 2.31 although fields came (`p2p_perf` with 2.30.3). Another than 4 is none that we know.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpuwarden.core.nccl.fields import Bad, count, mapping, shown, word
from gpuwarden.core.nccl.process import Process

MOST_BYTES: Final = 1 << 20  # of a line; verbose ones with 64 channels have some 20,000
MOST_US: Final = 2**32  # more than an hour
KNOWN: Final = "v4."
COLLECTIVE, MESSAGE = "coll", "p2p"


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
    """None for a line that tells of no operation, such as `dump_stats`. Raises Bad."""
    told = _loaded(line)
    for prefix, field in ((COLLECTIVE, "coll_perf"), (MESSAGE, "p2p_perf")):
        if field in told:
            return _done(told, prefix, field)
    return None


def _loaded(line: bytes) -> Mapping[str, Any]:
    if len(line) > MOST_BYTES:
        raise Bad(f"line: has more than {MOST_BYTES} bytes")
    try:
        whole = json.loads(line)
    except (ValueError, RecursionError) as why:
        raise Bad(f"line: is no JSON: {str(why)[:100]}") from None
    return mapping(whole, "line")


def _done(told: Mapping[str, Any], prefix: str, field: str) -> Done:
    header, about, perf = (mapping(told.get(name), name) for name in ("header", "metadata", field))
    took_us = perf.get(f"{prefix}_exec_time_us")
    version = about.get("inspector_output_format_version", KNOWN)
    if not isinstance(version, str) or not version.startswith(KNOWN):
        raise Bad(f"metadata.inspector_output_format_version: is {shown(version)}, this reader knows {KNOWN}x")
    if not isinstance(took_us, int | float) or isinstance(took_us, bool) or not 0 <= took_us < MOST_US:
        raise Bad(f"{field}.{prefix}_exec_time_us: is {shown(took_us)}, should be microseconds")
    rank, ranks = (count(header.get(name), f"header.{name}") for name in ("rank", "n_ranks"))
    if rank >= ranks:
        raise Bad(f"header.rank: is {rank} of {ranks}")
    number, size_bytes = (count(perf.get(f"{prefix}_{name}"), f"{field}.{prefix}_{name}") for name in ("sn", "msg_size_bytes"))
    process = Process(word(about.get("hostname"), "metadata.hostname"), count(about.get("pid"), "metadata.pid"))
    peer = count(perf.get("p2p_peer"), f"{field}.p2p_peer") if prefix == MESSAGE else None
    dumped_us = count(about.get("dump_timestamp_us"), "metadata.dump_timestamp_us")
    communicator, name = word(header.get("id"), "header.id"), word(perf.get(prefix), f"{field}.{prefix}")
    return Done(communicator, rank, ranks, process, name, number, size_bytes, float(took_us), peer, dumped_us)
