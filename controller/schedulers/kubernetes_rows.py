"""Kubernetes' objects as we read them: fields that are checked, and pods under what starts them anew.

What the API server itself checks (nodes, pods, batch jobs) must be as it should, or nothing is known. What tenants write as they like (custom resources,
annotations) is Malformed, and then only that one job is told as one that may not be requeued.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeVar

from gpuwarden.controller.schedulers.kubernetes_api import Row
from gpuwarden.controller.schedulers.names import shown
from gpuwarden.controller.schedulers.scheduler import Unreachable

NOTE: Final = "gpuwarden/requeued"  # annotation of a job: how often by us, and which pods had to go the last time
NODES_OWN: Final = ("DaemonSet", "Node")  # owners of pods that belong to a node, and are no job
SYSTEM: Final = "kube-"  # namespaces that are Kubernetes' own

T = TypeVar("T")


class Malformed(Exception):
    """A tenant has written what cannot be: field and reason."""


class Form(Enum):
    """What a job is to Kubernetes, as it stands in its id: NAMESPACE/FORM/NAME, of a pod NAMESPACE/pod/NAME/the first eight digits of its uid."""

    JOBSET = "jobset"
    PYTORCHJOB = "pytorchjob"
    JOB = "job"
    POD = "pod"


@dataclass(frozen=True, slots=True)
class Rows:
    """What was listed. `volumes` are PersistentVolumes."""

    pods: Sequence[Row]
    volumes: Sequence[Row] = ()
    owners: Mapping[Form, Sequence[Row]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """A job: what starts it anew, None where that is not known or is none of ours to order, and its pods that have not ended."""

    job: str
    form: Form
    namespace: str
    row: Row | None
    pods: tuple[Row, ...]
    owner: str = ""  # of a pod: what kind of thing starts it anew

    @property
    def live(self) -> tuple[Row, ...]:
        return tuple(pod for pod in self.pods if not leaves(pod))


@dataclass(frozen=True, slots=True)
class Note:
    """That we have requeued a job `restarts` times, the last time by evicting these pods."""

    restarts: int = 0
    pods: frozenset[str] = frozenset()

    def text(self) -> str:
        return json.dumps({"restarts": self.restarts, "pods": sorted(self.pods)}, separators=(",", ":"))

    def left(self, group: Group) -> tuple[Row, ...]:
        """Those of them that have not been asked to go."""
        return tuple(pod for pod in group.live if uid(pod) in self.pods)


def groups(rows: Rows) -> dict[str, Group]:
    """By the job's id: every pod is in one, but those that belong to a node or to Kubernetes itself."""
    known = {(form, namespace(row), name(row)): row for form, listed in rows.owners.items() for row in listed}
    found: dict[str, list[Row]] = {job_id(form, space, called): [] for form, space, called in known if not _owned(known[form, space, called], known)}
    owners: dict[str, tuple[Form, str, str, str]] = {}
    for pod in rows.pods:
        if namespace(pod).startswith(SYSTEM) or _controller(pod)[1] in NODES_OWN:
            continue
        form, called, owner = _starter(pod, known)
        job = job_id(form, namespace(pod), called)
        found.setdefault(job, []).append(pod)
        owners[job] = (form, namespace(pod), called, owner)
    for form, space, called in known:
        owners.setdefault(job_id(form, space, called), (form, space, called, ""))
    return {
        job: Group(job, owners[job][0], owners[job][1], known.get(owners[job][:3]), tuple(pods), owners[job][3]) for job, pods in found.items()
    }


def job_id(form: Form, space: str, called: str) -> str:
    return f"{space}/{form.value}/{called}"


def note_of(row: Row) -> Note:
    """Malformed."""
    said = annotations(row).get(NOTE)
    if said is None:
        return Note()
    try:
        note = json.loads(said)
        return Note(wanted(note, "restarts", int), frozenset(str(pod) for pod in wanted(note, "pods", list)))
    except (ValueError, TypeError, RecursionError):
        raise Malformed(f"{NOTE}: is {shown(str(said))}") from None


def left_of(group: Group) -> tuple[Row, ...]:
    """Pods that had to go for our last requeue, and have not been asked to. Of a note that cannot be, none."""
    try:
        return note_of(group.row).left(group) if group.row is not None else ()
    except Malformed:
        return ()


def _starter(pod: Row, known: Mapping[tuple[Form, str, str], Row]) -> tuple[Form, str, str]:
    """(what it is, its name, the kind of its owner). A Job of a JobSet is started by that."""
    group, kind, called = _controller(pod)
    if (group, kind) == ("kubeflow.org", "PyTorchJob"):
        return Form.PYTORCHJOB, called, kind
    if (group, kind) == ("batch", "Job"):
        job = known.get((Form.JOB, namespace(pod), called))
        above = _controller(job) if job is not None else ("", "", "")
        if above[:2] == ("jobset.x-k8s.io", "JobSet"):
            return Form.JOBSET, above[2], above[1]
        return Form.JOB, called, kind
    return Form.POD, f"{name(pod)}/{uid(pod)[:8]}", kind


def _owned(row: Row, known: Mapping[tuple[Form, str, str], Row]) -> bool:
    """By another one of these: then it is no job of its own."""
    group, kind, called = _controller(row)
    return (group, kind) == ("jobset.x-k8s.io", "JobSet") and (Form.JOBSET, namespace(row), called) in known


def _controller(row: Row) -> tuple[str, str, str]:
    """(API group, kind, name) of what controls it; empty where nothing does."""
    for owner in optional(meta(row), "ownerReferences", list):
        if isinstance(owner, dict) and owner.get("controller") is True:
            return str(owner.get("apiVersion")).partition("/")[0], str(owner.get("kind")), str(owner.get("name"))
    return "", "", ""


def meta(row: Row) -> Row:
    return must(row, "metadata", dict)


def spec(row: Row) -> Row:
    return must(row, "spec", dict)


def name(row: Row) -> str:
    return must(meta(row), "name", str)


def namespace(row: Row) -> str:
    return must(meta(row), "namespace", str)


def uid(row: Row) -> str:
    return must(meta(row), "uid", str)


def version(row: Row) -> str:
    return must(meta(row), "resourceVersion", str)


def annotations(row: Row) -> Row:
    return optional(meta(row), "annotations", dict)


def labels(row: Row) -> Row:
    return optional(meta(row), "labels", dict)


def leaves(pod: Row) -> bool:
    """It was asked to end."""
    return meta(pod).get("deletionTimestamp") is not None


def place(pod: Row) -> str:
    """The node where it was put; empty: none yet."""
    return optional(spec(pod), "nodeName", str)


def condition(row: Row, kind: str) -> Row:
    """Of its status; empty where it is not told."""
    for one in optional(optional(row, "status", dict), "conditions", list):
        if isinstance(one, dict) and one.get("type") == kind:
            return one
    return {}


def must(row: Any, key: str, kind: type[T]) -> T:
    """Unreachable where it is not there."""
    found = row.get(key) if isinstance(row, dict) else None
    if type(found) is not kind:  # True is no number
        raise Unreachable(f"{key}: is {shown(str(found))}, should be {kind.__name__}: {shown(_named(row))}")
    return found


def optional(row: Any, key: str, kind: type[T]) -> T:
    """Empty where it is not there or null; Unreachable where it is something else."""
    return kind() if isinstance(row, dict) and row.get(key) is None else must(row, key, kind)


def wanted(row: Any, key: str, kind: type[T], default: T | None = None) -> T:
    """Of what a tenant writes: Malformed where it is not there, if it has no default, or is something else."""
    found = row.get(key) if isinstance(row, dict) else None
    if found is None and default is not None:
        return default
    if type(found) is not kind:
        raise Malformed(f"{key}: is {shown(str(found))}, should be {kind.__name__}")
    return found


def tables(row: Any, key: str) -> Iterator[Row]:
    """Of what a tenant writes: a list of tables. Malformed."""
    for one in wanted(row, key, list, []):
        if not isinstance(one, dict):
            raise Malformed(f"{key}: is no list of objects")
        yield one


def _named(row: Any) -> str:
    told = row.get("metadata", row) if isinstance(row, dict) else {}
    return str(told.get("name", "")) if isinstance(told, dict) else ""
