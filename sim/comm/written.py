"""What a simulated job's processes would write: NCCL Inspector's lines, as of NCCL 2.30.3, a file each; dumps and RAS answers of one that hangs."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpuwarden.core.nccl.inspector import COLLECTIVE, MESSAGE, Done
from gpuwarden.sim.comm.flight import dumps
from gpuwarden.sim.comm.hung import HungJob
from gpuwarden.sim.comm.ras_answer import answer


def line(done: Done) -> str:
    """Without the bandwidths, which follow from the rest."""
    prefix = COLLECTIVE if done.peer is None else MESSAGE
    perf: dict[str, Any] = {
        prefix: done.name, f"{prefix}_sn": done.number, **({} if done.peer is None else {"p2p_peer": done.peer}), f"{prefix}_msg_size_bytes": done.size_bytes,
        f"{prefix}_exec_time_us": round(done.took_us), f"{prefix}_timing_source": "kernel_gpu",
    }  # fmt: skip
    about = {
        "inspector_output_format_version": "v4.0", "git_rev": "", "rec_mechanism": "nccl_profiler_interface", "dump_timestamp_us": done.dumped_us,
        "hostname": done.process.host, "pid": done.process.pid,
    }  # fmt: skip
    header = {"id": done.communicator, "rank": done.rank, "n_ranks": done.ranks, "nnodes": 1}
    return json.dumps({"header": header, "metadata": about, f"{prefix}_perf": perf}, separators=(",", ":")).replace("/", "\\/")


def write(folder: Path, operations: Iterable[Done]) -> int:
    """How many lines."""
    lines = dict[str, list[str]]()
    for done in operations:
        lines.setdefault(f"{done.process.host}-pid{done.process.pid}.log", []).append(line(done))
    folder.mkdir(parents=True, exist_ok=True)
    for name, of in lines.items():
        (folder / name).write_text("\n".join(of) + "\n", encoding="utf-8")
    return sum(map(len, lines.values()))


def write_hung(folder: Path, job: HungJob) -> int:
    """Dumps as JSON, and RAS answers half a minute apart. How many dumps."""
    folder.mkdir(parents=True, exist_ok=True)
    for second in (0, 30):
        (folder / f"ras_{second}.json").write_bytes(answer(job, second))
    written = 0
    for rank, dump in dumps(job):
        (folder / f"nccl_trace_rank_{rank}").write_text(json.dumps(dump), encoding="utf-8")
        written += 1
    return written
