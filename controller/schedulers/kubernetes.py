"""Kubernetes: nodes are cordoned, jobs are restarted by evicting their pods, which whatever owns them starts anew. It deletes nothing, and forces nothing.

Nothing is changed that was not read just before, on the condition that it still is as it was read, and what was asked for is read back.
"""

import json
import re
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, TypeVar
from urllib.parse import quote

from gpuwarden.controller.schedulers.conditions import (
    check_drain,
    check_exclude,
    check_requeue,
    check_resume,
    out_for,
)
from gpuwarden.controller.schedulers.kubernetes_api import Absent, Api, Conflict, Declined, Row
from gpuwarden.controller.schedulers.kubernetes_budgets import refusal
from gpuwarden.controller.schedulers.kubernetes_placing import kept_off, templates
from gpuwarden.controller.schedulers.kubernetes_rows import (
    NOTE,
    Form,
    Group,
    Malformed,
    Note,
    Rows,
    groups,
    left_of,
    name,
    namespace,
    note_of,
    spec,
    uid,
    version,
)
from gpuwarden.controller.schedulers.kubernetes_truth import REASON, hosts_of, job_truth, node_truth, truth_of
from gpuwarden.controller.schedulers.names import check_job, check_node, check_nodes, check_reason, shown
from gpuwarden.controller.schedulers.scheduler import JobTruth, NodeTruth, NotNow, Phase, Refused, Truth

CALL_S: Final = 10.0  # of one question
EVICT_S: Final = 30.0  # for all pods of a job; what is left then goes when it is asked again
TRIES: Final = 5  # where somebody else writes between our look and our order
MOST_PODS: Final = 4000  # of a job: their uids are noted on it, and 256 KiB is what annotations may have
BEFORE: Final = "gpuwarden/before"  # annotation of a node: what it was as we came
TAINT: Final = "gpuwarden/quarantine"
_NODES: Final = "/api/v1/nodes"
_ENDED_NOT: Final = "status.phase!=Succeeded,status.phase!=Failed"
_KINDS: Final = {
    Form.JOB: ("batch/v1", "jobs"), Form.JOBSET: ("jobset.x-k8s.io/v1alpha2", "jobsets"), Form.PYTORCHJOB: ("kubeflow.org/v1", "pytorchjobs"),
}  # fmt: skip
_SPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NO_VALUE: Final = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)  # of a taint

T = TypeVar("T")


class Kubernetes:
    """`nodes` are ours: no other is told of, cordoned or given back. One thread at a time may call."""

    def __init__(self, nodes: Collection[str], kubeconfig: str = "", call_s: float = CALL_S) -> None:
        self._nodes, self._api = frozenset(nodes), Api(kubeconfig, call_s)

    def truth(self) -> Truth:
        return truth_of(self._api.listed(_NODES), self._rows(""), self._nodes)

    def drain(self, node: str, reason: str) -> None:
        check_reason(reason)
        path = self._node(node)

        def order() -> None:
            row = self._api.get(path)
            found = node_truth(row, self._jobs_on(node))
            check_drain(found, reason)
            if not out_for(found, reason):
                self._api.patch(path, _on_condition(row, _cordoned(row, reason)))

        self._settle("node", node, order)
        if not out_for(found := self._now(path), reason):
            raise Refused(f"node: {node} was cordoned, and is {found.availability.value}, for {shown(found.reason)}")

    def resume(self, node: str, reason: str) -> None:
        check_reason(reason)
        path = self._node(node)

        def order() -> None:
            row = self._api.get(path)
            check_resume(node_truth(row, self._jobs_on(node)), reason)
            self._api.patch(path, _on_condition(row, _uncordoned(row)))

        self._settle("node", node, order)
        if out_for(self._now(path), reason):
            raise Refused(f"node: {node} is still cordoned")

    def requeue(self, job: str, restarts_seen: int) -> None:
        """Which pods have to go is noted on the job first: whoever asks again goes on with these, and evicts none that was started since."""

        def order() -> tuple[Row, ...]:
            group, found = self._job(job)
            if found.restarts == restarts_seen and (left := left_of(group)):
                return left
            check_requeue(found, restarts_seen)
            if why := refusal(self._api.listed(f"/apis/policy/v1/namespaces/{group.namespace}/poddisruptionbudgets"), group.live):
                raise NotNow(f"job: {job}: {why}")
            if group.row is not None:
                self._api.patch(self._path(group, group.row), _on_condition(group.row, _noted(group, group.row)))
            return group.live

        self._evict(job, self._settle("job", job, order))
        if (after := self._find(job)) is not None and (after[1].restarts, after[1].phase) == (restarts_seen, Phase.RUNNING):
            raise Refused(f"job: {job} was not requeued: its pods are still there")

    def exclude(self, job: str, nodes: Sequence[str]) -> None:
        """Of a PyTorchJob, for pods that are made from now on: of all others Kubernetes lets nobody change that while they are not suspended."""
        check_nodes(nodes)

        def order() -> None:
            group, found = self._job(job)
            check_exclude(found, nodes, Phase.COMPLETING)
            for node in nodes:
                self._node(node)
            if not set(nodes) - set(found.excluded):
                return
            if group.form is not Form.PYTORCHJOB or group.row is None:
                raise Refused(f"job: {job} is no PyTorchJob, and is kept off no nodes but those that are cordoned")
            self._api.patch(self._path(group, group.row), _on_condition(group.row, _kept_off(group, nodes)))

        self._settle("job", job, order)
        if lacking := set(nodes) - set(self._job(job)[1].excluded):
            raise Refused(f"nodes: {job} may still be started on {', '.join(sorted(lacking)[:3])}")

    def _settle(self, field: str, called: str, order: Callable[[], T]) -> T:
        """It reads, decides, and writes on the condition that it is still so; from the start again where somebody else was quicker."""
        for _ in range(TRIES):
            try:
                return order()
            except Conflict:
                continue
            except Absent:
                raise Refused(f"{field}: Kubernetes knows of no {called}") from None
            except (Declined, Malformed) as why:
                raise Refused(f"{field}: {called}: {why}") from None
        raise NotNow(f"{field}: {called} was changed by others each time, {TRIES} times: nothing was done")

    def _evict(self, job: str, pods: Sequence[Row]) -> None:
        """With the grace that each asks for. NotNow with what a budget says; what has gone by itself has gone."""
        until_s, refused = time.monotonic() + EVICT_S, list[str]()
        for index, pod in enumerate(pods):
            if time.monotonic() > until_s:
                raise NotNow(f"job: {job}: {index} of {len(pods)} pods were evicted within {EVICT_S:g} s")
            try:
                self._api.evict(f"{_pods(namespace(pod))}/{quote(name(pod), safe='')}/eviction", _eviction(pod))
            except (Absent, Conflict):
                continue
            except Declined as why:
                refused.append(f"{name(pod)}: {why}")
        if refused:
            raise NotNow(f"job: {job}: {len(refused)} of {len(pods)} pods may not be evicted: {refused[0]}")

    def _job(self, job: str) -> tuple[Group, JobTruth]:
        check_job(job)
        found = self._find(job)
        if found is None:
            raise Refused(f"job: Kubernetes knows of no {job}")
        return found

    def _find(self, job: str) -> tuple[Group, JobTruth] | None:
        """From what is in its namespace."""
        space = job.partition("/")[0]
        if _SPACE.fullmatch(space) is None or job.count("/") < 2:
            return None
        rows = self._rows(space)
        group = groups(rows).get(job)
        if group is None:
            return None
        return group, job_truth(group, rows.volumes, self._nodes, hosts_of(self._api.listed(_NODES)))

    def _jobs_on(self, node: str) -> tuple[str, ...]:
        """By whatever ids: whether there are any is all that is asked."""
        return tuple(groups(Rows(self._api.listed(_pods(""), fieldSelector=f"spec.nodeName={node},{_ENDED_NOT}"))))

    def _node(self, node: str) -> str:
        """Its path, if it is one of ours."""
        check_node(node)
        if node not in self._nodes:
            raise Refused(f"node: {node} is not one of ours")
        return f"{_NODES}/{quote(node, safe='')}"

    def _now(self, path: str) -> NodeTruth:
        """Jobs left out."""
        return self._settle("node", path, lambda: node_truth(self._api.get(path), ()))

    def _rows(self, space: str) -> Rows:
        """In this namespace, in all if it is empty. Pods first: what owns them is then there, or has just gone."""
        pods = self._api.listed(_pods(space), fieldSelector=_ENDED_NOT)
        owners = {form: self._owners(form, space) for form in _KINDS}
        return Rows(pods, self._api.listed("/api/v1/persistentvolumes"), owners)

    def _owners(self, form: Form, space: str) -> Sequence[Row]:
        """Of the kinds that are not Kubernetes' own, none where the cluster has no such kind."""
        version, plural = _KINDS[form]
        path = f"/apis/{version}/{_in(space)}{plural}"
        return self._api.listed(path) if form is Form.JOB else self._api.listed_if_known(path)

    def _path(self, group: Group, row: Row) -> str:
        version, plural = _KINDS[group.form]
        return f"/apis/{version}/{_in(group.namespace)}{plural}/{quote(name(row), safe='')}"


def _pods(space: str) -> str:
    return f"/api/v1/{_in(space)}pods"


def _in(space: str) -> str:
    return f"namespaces/{space}/" if space else ""


def _cordoned(row: Row, reason: str) -> Row:
    """The taint shows the reason where people look; it is the cordon that holds, so that who takes that off has the node back."""
    before = {"unschedulable": spec(row).get("unschedulable") is True, "taints": spec(row).get("taints") or []}
    taint = {"key": TAINT, "value": _NO_VALUE.sub("-", reason)[:63].strip("-._"), "effect": "PreferNoSchedule"}
    marks = {REASON: reason, BEFORE: json.dumps(before, separators=(",", ":"))}
    return {"metadata": {"annotations": marks}, "spec": {"unschedulable": True, "taints": [*_others_taints(row), taint]}}


def _uncordoned(row: Row) -> Row:
    return {"metadata": {"annotations": {REASON: None, BEFORE: None}}, "spec": {"unschedulable": None, "taints": _others_taints(row)}}


def _others_taints(row: Row) -> list[Row]:
    return [taint for taint in spec(row).get("taints") or [] if taint.get("key") != TAINT]


def _noted(group: Group, row: Row) -> Row:
    if len(group.live) > MOST_PODS:
        raise Refused(f"job: {group.job} has {len(group.live)} pods, should be {MOST_PODS} at most")
    note = Note(note_of(row).restarts + 1, frozenset(map(uid, group.live)))
    return {"metadata": {"annotations": {NOTE: note.text()}}}


def _kept_off(group: Group, nodes: Sequence[str]) -> Row:
    return {"spec": {"pytorchReplicaSpecs": {one.role: {"template": {"spec": kept_off(one, nodes)}} for one in templates(group)}}}


def _on_condition(row: Row, body: Row) -> Row:
    return {**body, "metadata": {**body.get("metadata", {}), "resourceVersion": version(row)}}


def _eviction(pod: Row) -> Row:
    return {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name(pod)}, "deleteOptions": {"preconditions": {"uid": uid(pod)}},
    }  # fmt: skip
