"""What NCCL's RAS port would answer of a hung job, as NCCL 2.28 writes it. It counts launches, and knows nothing of messages, nor of all-to-all, which is made of them."""

import json
from collections import Counter, defaultdict
from typing import Any, Final

from gpuwarden.sim.comm.block import process_of
from gpuwarden.sim.comm.hung import HungJob
from gpuwarden.sim.comm.programs import NAMES, Group
from gpuwarden.sim.comm.shape import CARDS

COUNTED: Final = {"all_reduce": "AllReduce", "_reduce_scatter_base": "ReduceScatter"}
RUNNING: Final = {"init_state": 0, "async_error": 0, "finalize_called": False, "destroy_flag": False, "abort_flag": False}
GONE: Final = {"unresponsive": True, "considered_dead": True}


def answer(job: HungJob, second: int) -> bytes:
    """The same at any second, since nothing gets on."""
    launched = defaultdict[Group, dict[int, int]](dict)
    for rank, (program, asked) in enumerate(zip(job.programs, job.asked, strict=True)):
        counts = Counter(asks.group for asks in program[:asked])
        for group in job.groups(rank):
            launched[group][rank] = counts[group]
    communicators = [_communicator(number, group, of, job.dead) for number, (group, of) in enumerate(launched.items())]
    whole = {"nccl_version": "2.28.7", "timestamp": f"2026-01-01 00:00:{second:02}", "communicators_count": len(communicators), "communicators": communicators}
    return f"SERVER PROTOCOL 2\nOK\n{json.dumps(whole)}\n".encode()


def _communicator(number: int, group: Group, launched: dict[int, int], dead: frozenset[int]) -> dict[str, Any]:
    counted, gone = COUNTED.get(NAMES.get(group.desc, "")), dead.intersection(group.ranks)
    ranks = [
        {**_who(place, rank), "status": RUNNING, "collective_counts": {"AllReduce": 0, "ReduceScatter": 0} | ({counted: launched[rank]} if counted else {})}
        for place, rank in enumerate(group.ranks) if rank not in gone
    ]  # fmt: skip
    missing = [{**_who(place, rank), "status": GONE} for place, rank in enumerate(group.ranks) if rank in gone]
    return {
        "hash": f"0x{number:x}", "secondary_hash": "0x0", "size": len(group.ranks), "ranks_count": len(ranks), "missing_ranks_count": len(missing),
        "ranks": ranks, "missing_ranks": missing,
    }  # fmt: skip


def _who(place: int, rank: int) -> dict[str, Any]:
    process = process_of(rank)
    return {"rank": place, "host": process.host, "pid": process.pid, "cuda_dev": rank % CARDS, "nvml_dev": rank % CARDS}
