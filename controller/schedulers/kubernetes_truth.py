"""What Kubernetes' objects say, as Truth: of the nodes that are ours, and of the jobs that are on them or wait. Half of a truth is a lie: it is refused with its field."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from gpuwarden.controller.schedulers.kubernetes_api import MANAGER, Row
from gpuwarden.controller.schedulers.kubernetes_placing import HOSTNAME, excluded, required, templates
from gpuwarden.controller.schedulers.kubernetes_rows import (
    Form,
    Group,
    Malformed,
    Rows,
    annotations,
    condition,
    groups,
    labels,
    meta,
    must,
    name,
    note_of,
    optional,
    place,
    spec,
    tables,
    wanted,
)
from gpuwarden.controller.schedulers.names import check_job
from gpuwarden.controller.schedulers.scheduler import (
    Availability,
    JobTruth,
    Kind,
    NodeTruth,
    Phase,
    Refused,
    Truth,
)

REASON: Final = "gpuwarden/reason"  # annotation of a node that we have cordoned
QUEUE: Final = "kueue.x-k8s.io/queue-name"  # label of a job that Kueue lets go on by itself
_ON_NODES: Final = (Phase.RUNNING, Phase.COMPLETING)
_BY_OWNER: Final[Mapping[str, Kind]] = {"ReplicaSet": Kind.BATCH, "ReplicationController": Kind.BATCH, "StatefulSet": Kind.STATEFUL}
_ENDED: Final = ("Complete", "Completed", "Failed", "Succeeded")  # conditions of a Job, JobSet or PyTorchJob
_BACKOFF: Final = 6  # of a Job that says nothing
_DISRUPTED: Final = "DisruptionTarget"  # condition of a pod that was evicted


def truth_of(nodes: Sequence[Row], rows: Rows, ours: Collection[str]) -> Truth:
    """Unreachable says what is wrong with them. Nodes were listed first: on one that was cordoned then, there can only have become less since."""
    listed = {name(node): node for node in nodes if name(node) in ours}
    hosts = hosts_of(nodes)
    jobs, there = dict[str, JobTruth](), defaultdict[str, list[str]](list)
    for group in groups(rows).values():
        on_ours = sorted({place(pod) for pod in group.pods} & listed.keys())
        job = job_truth(group, rows.volumes, ours, hosts)
        if on_ours or (job.phase in (Phase.PENDING, Phase.HELD) and group.form is not Form.POD):
            jobs[job.job] = job
        for node in on_ours:
            there[node].append(job.job)
    return Truth({node: node_truth(row, tuple(sorted(there.get(node, ())))) for node, row in listed.items()}, jobs)


def hosts_of(nodes: Sequence[Row]) -> dict[str, str]:
    return {str(labels(node).get(HOSTNAME, name(node))): name(node) for node in nodes}


def node_truth(row: Row, jobs: tuple[str, ...]) -> NodeTruth:
    cordoned = spec(row).get("unschedulable") is True
    reason = _reason(row) if cordoned else ""
    if silent := _not_ready(row):
        return NodeTruth(name(row), Availability.DOWN, reason or silent, jobs)
    if not cordoned:
        return NodeTruth(name(row), Availability.AVAILABLE, "", jobs)  # our marks may be left there by who has uncordoned it
    return NodeTruth(name(row), Availability.DRAINING if jobs else Availability.DRAINED, reason, jobs)


def job_truth(group: Group, volumes: Sequence[Row], ours: Collection[str], hosts: Mapping[str, str]) -> JobTruth:
    """Of what a tenant has written and cannot be, nothing is believed but that its pods are there."""
    phase = _phase(group)
    pods = (group.live if phase is Phase.RUNNING else group.pods) if phase in _ON_NODES else ()
    nodes = tuple(sorted({place(pod) for pod in pods} & set(ours)))
    kind = _kind(group, volumes)
    try:
        found = templates(group)
        return JobTruth(
            job=group.job, phase=phase, kind=kind, nodes=nodes, restarts=_restarts(group), nodes_min=len(nodes) or sum(one.pods for one in found),
            requeueable=_named(group.job) and _starts_again(group), excluded=excluded(found, hosts), required=required(found, hosts),
        )  # fmt: skip
    except Malformed:
        return JobTruth(group.job, phase, kind, nodes, 0, len(nodes), requeueable=False)


def _reason(row: Row) -> str:
    """Ours where our note is there and nobody else has cordoned it since; else who has, as the API server notes it."""
    by = next((str(entry.get("manager")) for entry in _fields(row) if _has_cordoned(entry)), "")
    ours = annotations(row).get(REASON)
    if ours is not None and by in (MANAGER, ""):
        return str(ours)
    return f"cordoned by {by}" if by else "cordoned"


def _fields(row: Row) -> Iterator[Row]:
    return (entry for entry in optional(meta(row), "managedFields", list) if isinstance(entry, dict))


def _has_cordoned(entry: Row) -> bool:
    return "f:unschedulable" in optional(optional(entry, "fieldsV1", dict), "f:spec", dict)


def _not_ready(row: Row) -> str:
    """Why the scheduler itself does not reach it; empty where it does."""
    ready = condition(row, "Ready")
    if ready.get("status") == "True":
        return ""
    said = re.sub(r"\s+", " ", str(ready.get("message") or ready.get("reason") or "no condition Ready"))[:100]
    return f"{'Not ready' if ready.get('status') == 'False' else 'Not responding'}: {said}"


def _phase(group: Group) -> Phase:
    if any(place(pod) for pod in group.live):
        return Phase.RUNNING
    if any(place(pod) for pod in group.pods):
        return Phase.COMPLETING
    row = group.row
    if row is None or any(condition(row, kind).get("status") == "True" for kind in _ENDED):
        return Phase.PENDING if group.live else Phase.ENDED
    return Phase.HELD if _suspended(group.form, row) and QUEUE not in labels(row) else Phase.PENDING


def _suspended(form: Form, row: Row) -> bool:
    policy = spec(row).get("runPolicy") if form is Form.PYTORCHJOB else spec(row)
    return isinstance(policy, dict) and policy.get("suspend") is True


def _kind(group: Group, volumes: Sequence[Row]) -> Kind:
    claims = {_claim(volume) for volume in volumes if "local" in spec(volume) or "hostPath" in spec(volume)}
    if any(_keeps(pod, claims) for pod in group.pods):
        return Kind.LOCAL
    return _BY_OWNER.get(group.owner, Kind.BARE) if group.form is Form.POD else Kind.BATCH


def _claim(volume: Row) -> tuple[str, str]:
    claim = optional(spec(volume), "claimRef", dict)
    return optional(claim, "namespace", str), optional(claim, "name", str)


def _keeps(pod: Row, claims: Collection[tuple[str, str]]) -> bool:
    """Data on the node, which an eviction would lose. What is in memory is lost whatever one does; a hostPath is the node's own."""
    for volume in optional(spec(pod), "volumes", list):
        scratch = volume.get("emptyDir")
        if scratch is not None and optional(scratch, "medium", str) != "Memory":
            return True
        claim = optional(optional(volume, "persistentVolumeClaim", dict), "claimName", str)
        if volume.get("ephemeral") is not None:
            claim = f"{name(pod)}-{must(volume, 'name', str)}"
        if claim and (must(meta(pod), "namespace", str), claim) in claims:
            return True
    return False


def _restarts(group: Group) -> int:
    """By us, once none is left of the pods that had to go for it, and by a JobSet itself. Where it counts ours too, one is two: a count too many only refuses."""
    if group.row is None:
        return 0
    note = note_of(group.row)
    own = wanted(_status(group.row), "restarts", int, 0) if group.form is Form.JOBSET else 0
    return note.restarts + own - (1 if note.left(group) else 0)


def _starts_again(group: Group) -> bool:
    """Whether what starts it anew would do so once more, by its own rules."""
    if group.form is Form.POD:
        return True
    if group.row is None:
        return False
    match group.form:
        case Form.JOBSET:
            policy, status = wanted(spec(group.row), "failurePolicy", dict, {}), _status(group.row)
            counted = wanted(status, "restartsCountTowardsMax", int, wanted(status, "restarts", int, 0))
            fails = any(rule.get("action") == "FailJobSet" for rule in tables(policy, "rules"))
            return not fails and wanted(policy, "maxRestarts", int, 0) > counted
        case Form.PYTORCHJOB:
            replicas = wanted(spec(group.row), "pytorchReplicaSpecs", dict).values()
            return all(wanted(replica, "restartPolicy", str, "") != "Never" for replica in replicas)
        case Form.JOB:
            return _bears_eviction(group, group.row)


def _bears_eviction(group: Group, job: Row) -> bool:
    """Its policy does not count an eviction as a failure, or it may fail once more for each of its pods."""
    for rule in tables(wanted(spec(job), "podFailurePolicy", dict, {}), "rules"):
        if rule.get("action") == "Ignore" and any(one.get("type") == _DISRUPTED for one in tables(rule, "onPodConditions")):
            return True
    left = wanted(spec(job), "backoffLimit", int, _BACKOFF) - wanted(_status(job), "failed", int, 0)
    return spec(job).get("backoffLimitPerIndex") is None and left >= len(group.live)


def _status(row: Row) -> Row:
    return wanted(row, "status", dict, {})


def _named(job: str) -> bool:
    """By an id that can be ordered."""
    try:
        check_job(job)
    except Refused:
        return False
    return True
