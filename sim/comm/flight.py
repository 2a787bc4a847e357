"""The dumps that a hung job's processes leave: PyTorch's Flight Recorder's, version 2.9."""

from collections.abc import Iterator
from typing import Any

from gpuwarden.sim.comm.hung import HungJob
from gpuwarden.sim.comm.programs import Asks

Dump = dict[str, Any]


def dumps(job: HungJob) -> Iterator[tuple[int, Dump]]:
    """Rank and dump, of all whose process lives. Groups have other names at each, as recorded."""
    written = dict[int, str]()
    for rank in range(job.shape.ranks):
        if rank not in job.dead:
            yield rank, _dump(job, rank, written)


def _dump(job: HungJob, rank: int, written: dict[int, str]) -> Dump:
    config, status, entries = {}, {}, list[Dump]()
    groups = job.groups(rank)
    number_of, told, asked = {id(group): number for number, group in enumerate(groups)}, job.told(rank), job.asked[rank]
    counts = [[0, 0] for _ in groups]
    for place, asks in enumerate(job.programs[rank][:asked]):
        number = number_of[id(asks.group)]
        counts[number][0] += 1
        counts[number][1] += place < told
        if place >= told:
            entries.append(_entry(rank, asks, place, number, counts[number][0]))
    for number, group in enumerate(groups):
        text = written.setdefault(id(group), str(list(group.ranks)))
        config[_name(number)] = {"name": _name(number), "desc": group.desc, "ranks": text}
        enqueued, completed = counts[number]
        status[str(number)] = {"last_enqueued_collective": enqueued, "last_started_collective": -1, "last_completed_collective": completed}
    return {"version": "2.9", "nccl_version": "2.27.3", "pg_config": config, "pg_status": status, "entries": entries}


def _name(number: int) -> str:
    return str(10 * number + 3)


def _entry(rank: int, asks: Asks, place: int, number: int, sequence: int) -> Dump:
    return {
        "record_id": place, "pg_id": number, "process_group": (_name(number), asks.group.desc), "collective_seq_id": sequence, "p2p_seq_id": 0,
        "op_id": sequence, "profiling_name": f"nccl:{_said(rank, asks)}", "time_created_ns": 1000 * place, "state": "scheduled", "retired": False,
        "is_p2p": asks.peer is not None,
    }  # fmt: skip


def _said(rank: int, asks: Asks) -> str:
    """Messages name ranks within the group."""
    if asks.peer is None:
        return asks.name
    mine, other = asks.group.ranks.index(rank), asks.group.ranks.index(asks.peer)
    return f"{asks.name} {mine}{'->' if asks.name == 'send' else '<-'}{other}"
