"""Kubernetes' own: budgets, other writers, what may not be moved unasked, silent nodes, rights, and an API server that goes away. A real one answers.

Nodes and pods are objects there; what kubelets and controllers would write, the tests write (services/kube_cluster.py).
"""

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract.scheduler_places import OURS, THEIRS, KubernetesPlace
from services.kube import Denied
from services.kube_cluster import NODES, RIGHTS, KubeCluster
from services.port import free_port

from gpuwarden.controller.schedulers import kubernetes, kubernetes_api
from gpuwarden.controller.schedulers.kubernetes import Kubernetes
from gpuwarden.controller.schedulers.kubernetes_api import Api
from gpuwarden.controller.schedulers.kubernetes_rows import NOTE, Form
from gpuwarden.controller.schedulers.kubernetes_truth import REASON
from gpuwarden.controller.schedulers.scheduler import Availability, Kind, NotNow, Phase, Refused, Unreachable

HOST_N1 = {"nodeSelector": {"kubernetes.io/hostname": "host-n1"}}


@pytest.fixture
def place(kube_cluster: KubeCluster) -> KubernetesPlace:
    return KubernetesPlace(Kubernetes(NODES, kube_cluster.kubeconfig), kube_cluster)


def leaving(cluster: KubeCluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in cluster.pods() if pod["metadata"].get("deletionTimestamp")}


def names(cluster: KubeCluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in cluster.pods()}


# Cordon and taint.


def test_a_node_is_cordoned_with_why_and_what_it_was_and_given_back_as_it_was(place: KubernetesPlace) -> None:
    before = place.cluster.node("n1")
    place.scheduler.drain("n1", OURS)
    row = place.cluster.node("n1")
    taints = {taint["key"]: (taint.get("value"), taint["effect"]) for taint in row["spec"]["taints"]}
    assert taints["gpuwarden/quarantine"] == ("gpuwarden-q7-GPU-3-fell-off-the-bus-n1-asks-why-and-how-in-5-of", "PreferNoSchedule")
    assert row["spec"]["unschedulable"] is True and "nvidia.com/gpu" in taints
    assert row["metadata"]["annotations"][REASON] == OURS
    assert row["metadata"]["annotations"]["gpuwarden/before"].startswith('{"unschedulable":false,"taints":[{')
    place.cluster.kube.patched("/api/v1/nodes/n1", {"metadata": {"labels": {"rack": "r1"}}})  # others go on to write what is theirs
    place.scheduler.resume("n1", OURS)
    row = place.cluster.node("n1")
    assert row["spec"] == before["spec"] and "annotations" not in row["metadata"] and row["metadata"]["labels"]["rack"] == "r1"


def test_who_uncordons_by_hand_has_the_node_back_whatever_marks_are_left(place: KubernetesPlace) -> None:
    place.scheduler.drain("n1", OURS)
    place.cluster.uncordon("n1", "kubectl-uncordon")
    assert place.truth().nodes["n1"].availability is Availability.AVAILABLE
    with pytest.raises(Refused, match="node: n1 is available"):
        place.scheduler.resume("n1", OURS)
    place.cluster.cordon("n1", "kubectl-cordon")
    assert place.truth().nodes["n1"].reason == "cordoned by kubectl-cordon"  # and not ours, though our marks are there
    with pytest.raises(Refused, match="node: n1 is drained, for 'cordoned by kubectl-cordon', not drained for"):
        place.scheduler.resume("n1", OURS)
    place.cluster.uncordon("n1", "kubectl-uncordon")
    place.scheduler.drain("n1", "gpuwarden:q8 again")
    assert place.truth().nodes["n1"].reason == "gpuwarden:q8 again"


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], object]], list[str]]:
    """Somebody does this between our look and our order, which he is told the number of. Returns the paths of our orders."""

    def set_up(act: Callable[[int], object]) -> list[str]:
        orders, patch = list[str](), Api.patch

        def late(api: Api, path: str, body: Any) -> None:
            orders.append(path)
            act(len(orders))
            patch(api, path, body)

        monkeypatch.setattr(Api, "patch", late)
        return orders

    return set_up


def test_an_order_is_decided_anew_where_somebody_else_has_written_meanwhile(
    place: KubernetesPlace, meanwhile: Callable[[Callable[[int], object]], list[str]]
) -> None:
    """The API server answers 409 to what rests on an older state."""
    orders = meanwhile(lambda number: number == 1 and place.cluster.ready("n1", "True", "a heartbeat"))
    place.scheduler.drain("n1", OURS)
    assert len(orders) == 2 and place.truth().nodes["n1"].reason == OURS


def test_who_cordons_between_our_look_and_our_order_is_respected(
    place: KubernetesPlace, meanwhile: Callable[[Callable[[int], object]], list[str]]
) -> None:
    orders = meanwhile(lambda number: number == 1 and place.somebody_drains("n1", THEIRS))
    with pytest.raises(Refused, match="node: n1 is drained already, for 'cordoned by kubectl-cordon'"):
        place.scheduler.drain("n1", OURS)
    row = place.cluster.node("n1")
    assert len(orders) == 1 and "annotations" not in row["metadata"]


def test_a_node_that_others_write_all_the_time_is_left_alone(
    place: KubernetesPlace, meanwhile: Callable[[Callable[[int], object]], list[str]]
) -> None:
    orders = meanwhile(lambda number: place.cluster.ready("n1", "True", f"heartbeat {number}"))
    with pytest.raises(NotNow, match="node: n1 was changed by others each time, 5 times: nothing was done"):
        place.scheduler.drain("n1", OURS)
    assert len(orders) == 5 and "unschedulable" not in place.cluster.node("n1")["spec"]


def test_a_job_that_restarts_between_our_look_and_our_order_is_not_requeued(
    place: KubernetesPlace, meanwhile: Callable[[Callable[[int], object]], list[str]]
) -> None:
    name = place.cluster.jobset("n1", "n2")
    row = place.cluster.path("jobset", name)
    meanwhile(lambda number: place.cluster.kube.patched(f"{row}/status", {"status": {"restarts": 1}}))
    with pytest.raises(Refused, match=f"job: team/jobset/{name} was started anew 1 times, not 0"):
        place.scheduler.requeue(f"team/jobset/{name}", 0)
    assert leaving(place.cluster) == set()


def test_nodes_that_are_not_ours_are_neither_told_of_nor_touched(place: KubernetesPlace) -> None:
    job = place.job_on("n1", "n4")
    scheduler = Kubernetes(NODES[:3], place.cluster.kubeconfig)
    truth = scheduler.truth()
    assert set(truth.nodes) == set(NODES[:3]) and truth.jobs[job].nodes == ("n1",)
    with pytest.raises(Refused, match="node: n4 is not one of ours"):
        scheduler.drain("n4", OURS)
    with pytest.raises(Refused, match="node: Kubernetes knows of no n5"):
        Kubernetes(("n5",), place.cluster.kubeconfig).drain("n5", OURS)


# Restarts, and what may say no to them.


def test_a_budget_that_lets_too_few_go_is_told_before_the_first_pod_goes(place: KubernetesPlace) -> None:
    job = place.job_on("n1", "n2")
    place.cluster.budget("keep", job.rpartition("/")[2], allowed=1)
    with pytest.raises(NotNow, match=f"job: {job}: PodDisruptionBudget keep lets 1 of its 2 pods there go"):
        place.scheduler.requeue(job, 0)
    assert leaving(place.cluster) == set() and place.truth().jobs[job].restarts == 0
    place.cluster.budget("other", "another-job", allowed=0)
    place.cluster.gone("/apis/policy/v1/namespaces/team/poddisruptionbudgets/keep")
    place.scheduler.requeue(job, 0)
    assert len(leaving(place.cluster)) == 2


def test_the_api_servers_own_no_is_told_and_what_was_begun_goes_on_when_asked_again(place: KubernetesPlace) -> None:
    """Its budget counts as not reckoned yet, for which the API server answers 429. What was started anew meanwhile is not evicted for the same requeue."""
    job = place.job_on("n1", "n2")
    master, worker = sorted(names(place.cluster))
    place.cluster.kube.patched(place.cluster.path("pod", worker), {"metadata": {"labels": {"job": "worker"}}})
    place.cluster.budget("young", "worker", allowed=2, observedGeneration=0)
    with pytest.raises(NotNow, match=f"job: {job}: 1 of 2 pods may not be evicted: {worker}: 429: .*young.*still being processed"):
        place.scheduler.requeue(job, 0)
    assert leaving(place.cluster) == {master}
    assert place.truth().jobs[job].restarts == 0  # until all that had to go have been asked to
    row = place.cluster.row("pytorchjob", job.rpartition("/")[2])
    place.cluster.pod(f"{master}-again", "n3", row)
    place.cluster.kube.patched(
        "/apis/policy/v1/namespaces/team/poddisruptionbudgets/young/status", {"status": {"observedGeneration": 1}}
    )
    place.scheduler.requeue(job, 0)
    assert leaving(place.cluster) == {worker}
    truth = place.truth()
    assert (truth.jobs[job].restarts, truth.jobs[job].nodes) == (1, ("n3",))
    with pytest.raises(Refused, match=f"job: {job} was started anew 1 times, not 0"):
        place.scheduler.requeue(job, 0)


def test_two_budgets_over_one_pod_are_a_no(place: KubernetesPlace) -> None:
    """The API server answers 500 to an eviction there, always."""
    job = place.job_on("n1")
    for name in ("one", "two"):
        place.cluster.budget(name, job.rpartition("/")[2], allowed=1)
    with pytest.raises(NotNow, match=f"job: {job}: PodDisruptionBudgets one and two are over one pod"):
        place.scheduler.requeue(job, 0)
    assert leaving(place.cluster) == set()


def test_a_jobset_is_restarted_as_a_whole_and_its_own_restarts_count(place: KubernetesPlace) -> None:
    name = place.cluster.jobset("n1", "n2")
    job, row = f"team/jobset/{name}", place.cluster.path("jobset", name)
    truth = place.truth()
    assert set(truth.jobs) == {job}  # its Jobs are none of their own
    assert (truth.jobs[job].nodes, truth.jobs[job].nodes_min, truth.jobs[job].kind) == (("n1", "n2"), 2, Kind.BATCH)
    place.cluster.kube.patched(f"{row}/status", {"status": {"restarts": 2}})
    with pytest.raises(Refused, match=f"job: {job} was started anew 2 times, not 0"):
        place.scheduler.requeue(job, 0)
    place.scheduler.requeue(job, 2)
    assert len(leaving(place.cluster)) == 2 and place.scheduler.truth().jobs[job].phase is Phase.COMPLETING
    assert place.truth().jobs[job].restarts == 3
    with pytest.raises(Refused, match=f"job: {job} is no PyTorchJob"):
        place.scheduler.exclude(job, ["n1"])
    place.cluster.kube.patched(f"{row}/status", {"status": {"restarts": 3}})
    assert not place.truth().jobs[job].requeueable  # another failure would be its last


@pytest.mark.parametrize(
    ("form", "spec", "may"),
    [
        ("job", {}, True),
        ("job", {"backoffLimit": 0}, False),
        ("job", {"backoffLimit": 0, "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}}, True),
        ("jobset", {"failurePolicy": {"maxRestarts": 0}}, False),
        ("jobset", {"failurePolicy": {"maxRestarts": 3, "rules": [{"action": "FailJobSet"}]}}, False),
        ("jobset", {"failurePolicy": {"maxRestarts": 1}}, True),
        ("jobset", {"failurePolicy": "never"}, False),
        ("jobset", {"replicatedJobs": [{"template": {}}]}, False),
        ("pytorchjob", {"pytorchReplicaSpecs": {"Master": {"restartPolicy": "Never", "template": {"spec": {}}}}}, False),
        ("pytorchjob", {"pytorchReplicaSpecs": {"Master": {"restartPolicy": "OnFailure", "template": {"spec": {}}}}}, True),
        ("pytorchjob", {"pytorchReplicaSpecs": {"Master": {"template": {"spec": {"affinity": {"nodeAffinity": 7}}}}}}, False),
        ("pytorchjob", {"pytorchReplicaSpecs": ["Master"]}, False),
    ],
)
def test_only_what_its_owner_would_start_once_more_is_requeued(place: KubernetesPlace, form: str, spec: dict[str, Any], may: bool) -> None:
    """Whatever a tenant writes, nothing else is in doubt for it."""
    template = {"template": {"spec": {"containers": [{"name": "train", "image": "train"}], "restartPolicy": "Never"}}}
    row = place.cluster.job(form, {**(template if form == "job" else {}), **spec})
    job = f"team/{form}/{row['metadata']['name']}"
    owner = row
    if form == "jobset":
        owner = place.cluster.job("job", template, owner=row)
    place.cluster.pod("train-0", "n1", owner)
    truth = place.truth()
    assert (truth.jobs[job].requeueable, truth.jobs[job].phase, truth.nodes["n1"].jobs) == (may, Phase.RUNNING, (job,))
    if not may:
        with pytest.raises(Refused, match=f"job: {job} is batch and may not be requeued"):
            place.scheduler.requeue(job, 0)
        assert leaving(place.cluster) == set()


@pytest.mark.parametrize("note", ["garbage", "[" * 5000, '{"restarts":"2","pods":[]}', '{"restarts":1,"pods":"all"}', "[]"])
def test_a_note_that_somebody_else_has_written_makes_a_job_one_that_is_left_alone(place: KubernetesPlace, note: str) -> None:
    job = place.job_on("n1")
    place.cluster.kube.patched(place.cluster.path("pytorchjob", job.rpartition("/")[2]), {"metadata": {"annotations": {NOTE: note}}})
    assert not place.truth().jobs[job].requeueable
    with pytest.raises(Refused, match=f"job: {job} is batch and may not be requeued"):
        place.scheduler.requeue(job, 0)


def test_a_requeued_job_is_kept_off_a_node_by_every_alternative_that_it_has(place: KubernetesPlace) -> None:
    """The API server takes pods that are made after it."""
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]} for zone in "ab"]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    name = place.cluster.training("", spec={"affinity": affinity})
    place.scheduler.exclude(f"team/pytorchjob/{name}", ["n1", "n2"])
    place.scheduler.exclude(f"team/pytorchjob/{name}", ["n2", "n3"])
    role = place.cluster.row("pytorchjob", name)["spec"]["pytorchReplicaSpecs"]["Master"]
    made = place.cluster.pod("after", spec=role["template"]["spec"])
    kept = made["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [[one["values"] for one in term["matchFields"]] for term in kept] == [[["n1"], ["n2"], ["n3"]]] * 2
    assert [term["matchExpressions"] for term in kept] == [term["matchExpressions"] for term in terms]
    assert place.truth().jobs[f"team/pytorchjob/{name}"].excluded == ("n1", "n2", "n3")


# What is not moved unasked.


def only(place: KubernetesPlace) -> Any:
    (job,) = place.truth().jobs.values()
    return job


@pytest.mark.parametrize(
    ("volumes", "kind"),
    [
        ([], Kind.BATCH),
        ([{"name": "shm", "emptyDir": {"medium": "Memory"}}, {"name": "dev", "hostPath": {"path": "/dev/infiniband"}}], Kind.BATCH),
        ([{"name": "scratch", "emptyDir": {}}], Kind.LOCAL),
        ([{"name": "data", "persistentVolumeClaim": {"claimName": "local"}}], Kind.LOCAL),
        ([{"name": "data", "persistentVolumeClaim": {"claimName": "far"}}], Kind.BATCH),
    ],
)
def test_data_on_the_node_is_told(place: KubernetesPlace, volumes: list[Any], kind: Kind) -> None:
    volume = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "claimRef": {"namespace": "team", "name": "local"}}
    where = {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["host-n1"]}]}]}}
    made = {"metadata": {"name": "disk"}, "spec": {**volume, "local": {"path": "/data"}, "nodeAffinity": where, "storageClassName": "x"}}
    place.cluster.kube.asked("POST", "/api/v1/persistentvolumes", made)
    row = place.cluster.job("pytorchjob", {})
    place.cluster.pod("train-0", "n1", row, {"volumes": volumes})
    assert only(place).kind is kind


def test_pods_that_nothing_starts_anew_or_that_have_a_name_are_told_apart_and_each_is_a_job_of_its_own(place: KubernetesPlace) -> None:
    owner = {"apiVersion": "apps/v1", "metadata": {"name": "web", "uid": "1"}}
    for kind in ("StatefulSet", "ReplicaSet", "DaemonSet", "Notebook"):
        place.cluster.pod(kind.lower(), "n1", {**owner, "kind": kind})
    place.cluster.pod("bare", "n1")
    jobs = {job.job.split("/")[2]: job for job in place.truth().jobs.values()}
    assert {name: job.kind for name, job in jobs.items()} == {
        "statefulset": Kind.STATEFUL, "replicaset": Kind.BATCH, "notebook": Kind.BARE, "bare": Kind.BARE,
    }  # fmt: skip
    assert all(job.requeueable and job.nodes == ("n1",) for job in jobs.values())
    old = jobs["statefulset"].job
    place.scheduler.requeue(old, 0)
    assert leaving(place.cluster) == {"statefulset"}
    with pytest.raises(Refused, match=f"job: {old} is completing, not running"):
        place.scheduler.requeue(old, 0)
    place.cluster.play_kubelets()
    place.cluster.pod("statefulset", "n2", {**owner, "kind": "StatefulSet"})
    with pytest.raises(Refused, match=f"job: Kubernetes knows of no {old}"):  # who has its name by now is another
        place.scheduler.requeue(old, 0)
    assert leaving(place.cluster) == set()


def test_an_eviction_is_of_the_pod_that_was_seen_and_not_of_who_has_its_name(place: KubernetesPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    job, evict = place.job_on("n1"), Api.evict
    (pod,) = names(place.cluster)

    def late(api: Api, path: str, body: Any) -> None:
        place.cluster.gone(place.cluster.path("pod", pod))
        place.cluster.pod(pod, "n1", place.cluster.row("pytorchjob", job.rpartition("/")[2]))
        evict(api, path, body)

    monkeypatch.setattr(Api, "evict", late)
    place.scheduler.requeue(job, 0)
    assert (leaving(place.cluster), place.truth().jobs[job].restarts) == (set(), 1)


def test_nothing_is_forced_on_a_silent_node(place: KubernetesPlace) -> None:
    """Its pods end when its kubelet says so. What runs elsewhere by then is the job, and what is left there is told."""
    job = place.job_on("n1", "n2")
    place.scheduler.drain("n1", OURS)
    place.scheduler.requeue(job, 0)
    place.cluster.silent.add("n1")
    place.cluster.ready("n1", "Unknown", "Kubelet stopped\nposting node status.")
    truth = place.truth()
    assert (truth.nodes["n1"].availability, truth.nodes["n1"].reason, truth.nodes["n1"].jobs) == (Availability.DOWN, OURS, (job,))
    assert (truth.jobs[job].phase, truth.jobs[job].nodes) == (Phase.COMPLETING, ("n1",))
    row = place.cluster.row("pytorchjob", job.rpartition("/")[2])
    place.cluster.pod("again", "n3", row)
    truth = place.truth()
    assert (truth.jobs[job].phase, truth.jobs[job].nodes, truth.nodes["n1"].jobs) == (Phase.RUNNING, ("n3",), (job,))
    (stuck,) = leaving(place.cluster)
    with pytest.raises(Denied, match="403"):  # nor could it
        place.cluster.kube.asked("DELETE", f"{place.cluster.path('pod', stuck)}?gracePeriodSeconds=0", token=place.cluster.token)
    with pytest.raises(Refused, match="node: n1 is down"):
        place.scheduler.resume("n1", OURS)


def test_a_node_that_is_not_ready_says_why_and_is_left_to_those_who_know(place: KubernetesPlace) -> None:
    place.cluster.ready("n4", "False", "container runtime is down")
    assert place.truth().nodes["n4"].reason == "Not ready: container runtime is down"
    with pytest.raises(Refused, match="node: n4 is down already, for 'Not ready: container runtime is down'"):
        place.scheduler.drain("n4", OURS)


def test_what_is_kubernetes_own_is_no_job(place: KubernetesPlace) -> None:
    path = "/api/v1/namespaces/kube-system/pods"
    place.cluster.kube.asked("POST", path, {"metadata": {"name": "dns"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}})
    place.scheduler.drain("n1", OURS)
    assert (place.truth().jobs, place.truth().nodes["n1"].availability) == ({}, Availability.DRAINED)
    place.cluster.gone(f"{path}/dns")


# Rights.


def asks(verb: str, path: str) -> tuple[str, str, str]:
    """(API group, resource, verb), as rules name them."""
    parts = path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    resource = "/".join((rest[0], *rest[2:]))
    return group, resource, {"PATCH": "patch", "POST": "create"}.get(verb, "get" if len(rest) > 1 else "list")


def test_the_manifest_gives_what_is_asked_for_and_nothing_else(place: KubernetesPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    used, asked = set[tuple[str, str, str]](), Api._asked

    def noted(api: Api, verb: str, path: str, *more: Any) -> Any:
        used.add(asks(verb, path))
        return asked(api, verb, path, *more)

    monkeypatch.setattr(Api, "_asked", noted)
    training = place.job_on("n1")
    waits = place.waiting_job()
    jobset = f"team/jobset/{place.cluster.jobset('n2')}"
    row = place.cluster.job("job", {"template": {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}})
    place.cluster.pod("plain", "n3", row)
    place.scheduler.drain("n1", OURS)
    place.scheduler.resume("n1", OURS)
    place.scheduler.exclude(waits, ["n1"])
    for job in (training, jobset, f"team/job/{row['metadata']['name']}"):
        place.scheduler.requeue(job, 0)
    rules = next(one for one in yaml.safe_load_all(RIGHTS.read_text()) if one["kind"] == "ClusterRole")["rules"]
    given = {(group, resource, verb) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert used == given


# An API server that does not answer, or not as one.


def test_an_api_server_that_hangs_is_given_up_and_one_that_is_gone_is_no_empty_cluster(place: KubernetesPlace) -> None:
    place.truth()  # the client is loaded with the first call
    scheduler, server = Kubernetes(NODES, place.cluster.kubeconfig, call_s=0.5), place.cluster.kube.server
    server.send_signal(signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        for ask in (scheduler.truth, lambda: scheduler.drain("n1", OURS)):
            with pytest.raises(Unreachable, match=r"/api/v1/nodes(/n1)?: "):
                ask()
        assert time.monotonic() - began_s < 8.0
    finally:
        server.send_signal(signal.SIGCONT)
    place.until(lambda truth: set(truth.nodes) == set(NODES))
    gone = place.cluster.kube.kubeconfig("gone", "token", f"https://127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable, match=r"/api/v1/nodes: .*Connection refused"):
        Kubernetes(NODES, str(gone)).truth()


def test_who_is_not_known_or_has_no_rights_is_told_so(place: KubernetesPlace) -> None:
    stranger = place.cluster.kube.kubeconfig("stranger", "no such token")
    with pytest.raises(Unreachable, match="/api/v1/nodes: 401: Unauthorized"):
        Kubernetes(NODES, str(stranger)).truth()
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/gpuwarden-controller"
    binding = place.cluster.kube.asked("GET", path)
    place.cluster.kube.asked("DELETE", path)
    try:
        place.until_raises(Unreachable, "/api/v1/nodes: 403: nodes is forbidden")
    finally:
        del binding["metadata"]["resourceVersion"], binding["metadata"]["uid"]
        place.cluster.kube.asked("POST", path.rpartition("/")[0], binding)
    place.until_answers()


def test_a_cluster_without_jobsets_and_pytorchjobs_is_one_too(place: KubernetesPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    place.cluster.pod("bare", "n1")
    monkeypatch.setitem(kubernetes._KINDS, Form.JOBSET, ("jobset.x-k8s.io/v0", "jobsets"))
    assert [job.kind for job in place.truth().jobs.values()] == [Kind.BARE]
    monkeypatch.setitem(kubernetes._KINDS, Form.JOB, ("batch/v0", "jobs"))
    with pytest.raises(Unreachable, match=r"/apis/batch/v0/jobs: 404: the server could not find"):
        place.scheduler.truth()


def test_what_comes_in_pages_is_read_to_the_end(place: KubernetesPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {place.job_on("n1", "n2", "n3") for _ in range(3)}
    monkeypatch.setattr(kubernetes_api, "PAGE", 2)
    truth = place.scheduler.truth()
    assert (set(truth.nodes), set(truth.jobs)) == (set(NODES), jobs)
    assert {job.nodes for job in truth.jobs.values()} == {("n1", "n2", "n3")}


def test_without_the_client_it_says_what_to_install(place: KubernetesPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(Unreachable, match=r"kubernetes is not installed: pip install 'gpuwarden\[kubernetes\]'"):
        place.scheduler.truth()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "FileNotFoundError|ConfigException"),
        ("{", "ParserError|ScannerError"),
        ("[]", "kubeconfig: "),
        ("{}", "ConfigException"),
        ('{"current-context": "x", "contexts": [], "clusters": [], "users": []}', "ConfigException"),
    ],
)
def test_a_kubeconfig_that_is_none_is_told_by_its_path(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Unreachable, match=f"{file}: {says}" if "kubeconfig" not in says else str(file)):
        Kubernetes(NODES, str(file)).truth()
    with pytest.raises(Unreachable, match="the service account of our own pod: ConfigException"):
        Kubernetes(NODES).truth()


@pytest.fixture
def answers(kube_objects: KubeCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Kubernetes]]:
    """A server that says these bytes to whoever asks, one at a time with so many seconds between them. Without TLS."""
    import kubernetes.client  # noqa: F401 - else the first call takes as long as that

    monkeypatch.setattr(kubernetes_api, "MOST_PAGES", 20)
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve(said: bytes, pause_s: float) -> None:
        while not ended.is_set():
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            with caller:
                caller.recv(65536)
                for part in (said[at : at + 1] for at in range(len(said))) if pause_s else (said,):
                    try:
                        caller.sendall(part)
                    except OSError:
                        break
                    if ended.wait(pause_s):
                        return

    def set_up(said: bytes, pause_s: float = 0.0, call_s: float = 5.0) -> Kubernetes:
        threading.Thread(target=serve, args=(said, pause_s), daemon=True).start()
        file = kube_objects.kube.kubeconfig("fake", "token", f"http://127.0.0.1:{listener.getsockname()[1]}")
        return Kubernetes(NODES, str(file), call_s)

    yield set_up
    ended.set()
    listener.close()


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (http(b"garbage"), "200: no JSON, but 'garbage'"),
        (http(b"[" * 5000), "no JSON"),
        (http(b"{}"), "items: is no list of objects"),
        (http(b'{"items": [1]}'), "items: is no list of objects"),
        (http(b'{"items": [], "metadata": {"continue": "for ever"}}'), "more than 10000 objects"),
        (http(b'{"items": [{"metadata": {"name": 7}}]}'), "name: is '7', should be str"),
        (http(b'{"items": [{"metadata": {"name": "n1"}, "spec": []}]}'), "namespace: is 'None', should be str: 'n1'"),
        (http(b'{"items": [{"metadata": {"name": "n1", "namespace": "a", "uid": "1"}, "spec": []}]}'), r"spec: is '\[\]', should be dict: 'n1'"),
        (http(b'{"message": "etcd is gone"}', b"500 No"), "500: etcd is gone"),
        (http(b"[]", b"429 Later"), "429"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\n{}", "302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{", "/api/v1/nodes: "),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "/api/v1/nodes: "),
        (b"", "/api/v1/nodes: "),
    ],
)
def test_what_is_no_answer_of_an_api_server_is_no_empty_cluster(answers: Callable[..., Kubernetes], said: bytes, says: str) -> None:
    with pytest.raises(Unreachable, match=says):
        answers(said).truth()


def test_a_server_that_never_stops_to_say_something_is_given_up_and_nothing_else_is_begun_beside_it(answers: Callable[..., Kubernetes]) -> None:
    scheduler = answers(b"HTTP/1.1 200 OK\r\n" + b"X" * 1000, 0.05, 0.4)
    began_s = time.monotonic()
    with pytest.raises(Unreachable, match=r"/api/v1/nodes: no answer within 1.2 s"):
        scheduler.truth()
    with pytest.raises(Unreachable, match="an earlier call has not ended yet"):
        scheduler.truth()
    assert time.monotonic() - began_s < 4.0
