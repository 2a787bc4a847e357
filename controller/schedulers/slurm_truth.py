"""What Slurm's `sinfo --json` and `squeue --json` say, as Truth. What is not as it should be is refused with its field: half of a truth is a lie.

As Slurm 22.05 prints it (data format openapi/v0.0.38). Later ones print otherwise, and are refused by the format that they name.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from gpuwarden.controller.power.hostlist import BadHostlist, expand, split
from gpuwarden.controller.schedulers.names import shown
from gpuwarden.controller.schedulers.scheduler import (
    Availability,
    JobTruth,
    Kind,
    NodeTruth,
    Phase,
    Truth,
    Unreachable,
)

FORMAT: Final = "openapi/v0.0.38"

_OUT: Final = ("DRAIN", "FAIL")  # of state_flags: it gets no work
_NOT_REACHED: Final = ("down", "unknown", "error", "future", "invalid")
_PHASES: Final[Mapping[str, Phase]] = {
    "PENDING": Phase.PENDING, "RUNNING": Phase.RUNNING, "SUSPENDED": Phase.SUSPENDED, "COMPLETING": Phase.COMPLETING,
    "CONFIGURING": Phase.RUNNING, "STAGE_OUT": Phase.COMPLETING, "SIGNALING": Phase.RUNNING, "STOPPED": Phase.SUSPENDED,
    "RESIZING": Phase.RUNNING, "REQUEUED": Phase.PENDING, "REQUEUE_HOLD": Phase.HELD, "SPECIAL_EXIT": Phase.HELD,
    "REQUEUE_FED": Phase.PENDING, "RESV_DEL_HOLD": Phase.HELD,
}  # fmt: skip
_ENDED: Final = frozenset(
    ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY", "REVOKED")
)
_ON_NODES: Final = (Phase.RUNNING, Phase.SUSPENDED, Phase.COMPLETING)
_NODES_ASKED: Final = re.compile(r"(?:^|,)node=(\d{1,9})(?:,|$)")

T = TypeVar("T")


def truth_of(sinfo: Sequence[Any], squeue: Sequence[Any]) -> Truth:
    """From the rows of both, sinfo's read first: on a node that was drained then, there can only have become less since.

    Unreachable says what is wrong with them.
    """
    if not sinfo:
        raise Unreachable("sinfo: nodes: are none")
    listed = [_job(job, f"squeue: jobs[{index}]") for index, job in enumerate(squeue)]
    there: dict[str, list[str]] = defaultdict(list)
    for job in listed:
        for node in job.nodes:
            there[node].append(job.job)
    nodes = [_node(node, there, f"sinfo: nodes[{index}]") for index, node in enumerate(sinfo)]
    return Truth({node.node: node for node in nodes}, {job.job: job for job in listed})


def rows(printed: bytes, tool: str, key: str) -> Sequence[Any]:
    """The list under `key`. A tool that got no answer prints an empty one beside its errors, and exits with 0."""
    try:
        document = json.loads(printed)
    except ValueError:
        raise Unreachable(f"{tool}: does not print JSON, but {shown(printed[:80].decode(errors='replace'))}") from None
    except RecursionError:
        raise Unreachable(f"{tool}: prints JSON that is nested too deeply") from None
    if errors := _field(document, "errors", list, tool):
        raise Unreachable(f"{tool}: {shown(' '.join(map(str, errors)))}")
    plugin = _field(_field(document, "meta", dict, tool), "plugin", dict, f"{tool}: meta")
    spoken = _field(plugin, "type", str, f"{tool}: meta.plugin")
    if spoken != FORMAT:
        raise Unreachable(f"{tool}: meta.plugin.type: is {shown(spoken)}, should be {FORMAT}")
    found: Sequence[Any] = _field(document, key, list, tool)
    return found


def _node(row: Any, there: Mapping[str, Sequence[str]], where: str) -> NodeTruth:
    name, state = _field(row, "name", str, where), _field(row, "state", str, where)
    flags = _field(row, "state_flags", list, where)
    jobs = tuple(there.get(name, ()))
    busy = bool(jobs) or "COMPLETING" in flags or _field(row, "alloc_cpus", int, where) > 0
    out = any(flag in flags for flag in _OUT)
    if state in _NOT_REACHED:
        availability = Availability.DOWN
    elif out:
        availability = Availability.DRAINING if busy else Availability.DRAINED
    else:
        return NodeTruth(name, Availability.AVAILABLE, "", jobs)  # a reason may be left there that says nothing any more
    return NodeTruth(name, availability, _field(row, "reason", str, where), jobs)


def _job(row: Any, where: str) -> JobTruth:
    job = str(_field(row, "job_id", int, where))
    phase = _phase(row, where)
    batch = _field(row, "batch_flag", bool, where)
    return JobTruth(
        job=job, phase=phase, kind=_kind(row, batch, where),
        nodes=_names(row, "nodes", where) if phase in _ON_NODES else (),
        restarts=_field(row, "restart_cnt", int, where),
        nodes_min=_nodes_min(row, where),
        requeueable=batch and _field(row, "requeue", bool, where),
        excluded=_names(row, "excluded_nodes", where),
        required=_names(row, "required_nodes", where),
    )  # fmt: skip


def _phase(row: Any, where: str) -> Phase:
    state = _field(row, "job_state", str, where)
    if state in _ENDED:
        return Phase.ENDED
    if state not in _PHASES:
        raise Unreachable(f"{where}.job_state: is {shown(state)}, which is not known")
    waits_for_ever = state == "PENDING" and _field(row, "priority", int, where) == 0
    return Phase.HELD if waits_for_ever else _PHASES[state]


def _kind(row: Any, batch: bool, where: str) -> Kind:
    if _field(row, "het_job_id", int, where):
        return Kind.HETEROGENEOUS
    if _field(row, "array_job_id", int, where):
        return Kind.ARRAY
    return Kind.BATCH if batch else Kind.INTERACTIVE


def _nodes_min(row: Any, where: str) -> int:
    """What it asked for; one that may have more has more in `node_count` while it runs."""
    asked = _NODES_ASKED.search(_field(row, "tres_req_str", str, where))
    return int(asked[1]) if asked else _field(row, "node_count", int, where)


def _names(row: Any, key: str, where: str) -> tuple[str, ...]:
    try:
        return expand(split(_field(row, key, str, where)))
    except BadHostlist as why:
        raise Unreachable(f"{where}.{key}: {why}") from None


def _field(row: Any, key: str, kind: type[T], where: str) -> T:
    found = row.get(key) if isinstance(row, dict) else None
    if type(found) is not kind:  # True is no number
        raise Unreachable(f"{where}.{key}: is {shown(str(found))}, should be {kind.__name__}")
    return found
