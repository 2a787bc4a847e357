"""Nodes and jobs in a real API server. There is no kubelet, scheduler or controller: what these would write, the test writes.

It plays the kubelet where a pod was asked to end, and the operator where pods are started anew.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from services.kube import Denied, Kube

NODES: Final = ("n1", "n2", "n3", "n4")
SPACE: Final = "team"
RIGHTS: Final = Path(__file__).parents[2] / "deploy" / "kubernetes" / "rbac.yaml"
WAIT_S: Final = 20.0
_POD = {"containers": [{"name": "train", "image": "train"}]}
_OWNERS: Final = {"pytorchjob": ("kubeflow.org/v1", "PyTorchJob"), "jobset": ("jobset.x-k8s.io/v1alpha2", "JobSet"), "job": ("batch/v1", "Job")}
_PLURALS: Final = {"Namespace": "namespaces", "ServiceAccount": "serviceaccounts", "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings"}
_VOLUMES: Final = "/api/v1/persistentvolumes"
_CUSTOM: Final = {"jobset": "/apis/jobset.x-k8s.io/v1alpha2", "pytorchjob": "/apis/kubeflow.org/v1", "job": "/apis/batch/v1"}


class KubeCluster:
    """Four nodes. `kubeconfig` is for the service account with the rights that deploy/kubernetes/rbac.yaml gives it."""

    def __init__(self, kube: Kube) -> None:
        self.kube, self.silent, self._count = kube, set[str](), 0
        for group, version, kind in (("jobset.x-k8s.io", "v1alpha2", "JobSet"), ("kubeflow.org", "v1", "PyTorchJob")):
            self._custom(group, version, kind)
        for document in yaml.safe_load_all(RIGHTS.read_text()):
            self._apply(document)
        self._apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        token = kube.asked("POST", "/api/v1/namespaces/gpuwarden/serviceaccounts/gpuwarden-controller/token", {"spec": {}})
        self.token: str = token["status"]["token"]
        self.kubeconfig = str(kube.kubeconfig("gpuwarden", self.token))

    def clean(self) -> None:
        """Four nodes that are ready, and nothing else."""
        self.silent.clear()
        for volume in self.kube.asked("GET", _VOLUMES)["items"]:
            self.kube.patched(f"{_VOLUMES}/{volume['metadata']['name']}", {"metadata": {"finalizers": None}})
        for path in (*(self.path(form) for form in _OWNERS), f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets", _VOLUMES):
            self.kube.asked("DELETE", f"{path}?propagationPolicy=Background")
        self.kube.asked("DELETE", f"{self.path('pod')}?gracePeriodSeconds=0")
        self.kube.asked("DELETE", "/api/v1/nodes")
        for node in NODES:
            self.add_node(node)

    def add_node(self, node: str) -> None:
        self.kube.asked("POST", "/api/v1/nodes", {"metadata": {"name": node, "labels": {"kubernetes.io/hostname": f"host-{node}"}}})
        self.ready(node, "True", "kubelet is posting ready status")
        self.kube.patched(f"/api/v1/nodes/{node}", {"spec": {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}})

    def ready(self, node: str, status: str, message: str) -> None:
        """As its kubelet says, or the node controller where that is silent."""
        condition = {"type": "Ready", "status": status, "reason": "Tests", "message": message}
        self.kube.patched(f"/api/v1/nodes/{node}/status", {"status": {"conditions": [condition]}})

    def node(self, node: str) -> Any:
        return self.kube.asked("GET", f"/api/v1/nodes/{node}")

    def path(self, form: str, name: str = "") -> str:
        base = _CUSTOM.get(form, "/api/v1")
        return f"{base}/namespaces/{SPACE}/{form}s" + (f"/{name}" if name else "")

    def row(self, form: str, name: str) -> Any:
        return self.kube.asked("GET", self.path(form, name))

    def job(self, form: str, spec: Mapping[str, Any], name: str = "", owner: Any = None) -> Any:
        """The object as it is made."""
        version, kind = _OWNERS[form]
        self._count += 1
        owners = {"ownerReferences": [_owner(owner)]} if owner else {}
        made = {"apiVersion": version, "kind": kind, "metadata": {"name": name or f"train-{self._count}", **owners}, "spec": spec}
        return self.kube.asked("POST", self.path(form), made)

    def pod(self, name: str, node: str = "", owner: Any = None, spec: Mapping[str, Any] | None = None, labels: Mapping[str, str] | None = None) -> Any:
        """On the node it runs and is ready."""
        meta = {"name": name, "labels": labels or {}, **({"ownerReferences": [_owner(owner)]} if owner else {})}
        made = self.kube.asked("POST", self.path("pod"), {"metadata": meta, "spec": {**_POD, **(spec or {}), **({"nodeName": node} if node else {})}})
        if node:
            ready = {"type": "Ready", "status": "True"}
            self.kube.patched(f"{self.path('pod', name)}/status", {"status": {"phase": "Running", "conditions": [ready]}})
        return made

    def training(self, *nodes: str, spec: Mapping[str, Any] | None = None, suspend: bool = False, pods: bool = True) -> str:
        """The name of a PyTorchJob of a pod for each node, which asks for it by name and runs there."""
        roles = ("Master", *(f"Worker{index}" for index in range(1, len(nodes))))
        parts = {
            role: {"replicas": 1, "template": {"spec": {**_POD, **(spec or {"nodeSelector": {"kubernetes.io/hostname": f"host-{node}"}})}}}
            for role, node in zip(roles, nodes, strict=True)
        }
        row = self.job("pytorchjob", {"runPolicy": {"suspend": suspend}, "pytorchReplicaSpecs": parts})
        name: str = row["metadata"]["name"]
        for role, node in zip(roles if pods else (), nodes, strict=False):
            self.pod(f"{name}-{role.lower()}", node, row, labels={"job": name})
        return name

    def jobset(self, *nodes: str, **policy: Any) -> str:
        """The name of a JobSet of a Job with a pod for each node."""
        template = {"spec": {"template": {"spec": {**_POD, "restartPolicy": "Never"}}}}
        parts = [{"name": "w", "replicas": len(nodes), "template": template}]
        row = self.job("jobset", {"replicatedJobs": parts, "failurePolicy": {"maxRestarts": 3, **policy}})
        name: str = row["metadata"]["name"]
        for index, node in enumerate(nodes):
            child = self.job("job", template["spec"], f"{name}-w-{index}", row)
            self.pod(f"{name}-w-{index}-0", node, child)
        return name

    def budget(self, name: str, job: str, allowed: int, **status: Any) -> None:
        """As the disruption controller would have reckoned it."""
        path = f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets"
        made = {"metadata": {"name": name}, "spec": {"maxUnavailable": allowed, "selector": {"matchLabels": {"job": job}}}}
        generation = self.kube.asked("POST", path, made)["metadata"]["generation"]
        reckoned = {"disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 2 - allowed, "expectedPods": 2, "observedGeneration": generation}
        self.kube.patched(f"{path}/{name}/status", {"status": {**reckoned, **status}})

    def play_kubelets(self) -> None:
        """A pod that was asked to end has ended, where its node is not silent."""
        for pod in self.kube.asked("GET", self.path("pod"))["items"]:
            if pod["metadata"].get("deletionTimestamp") and pod["spec"].get("nodeName") not in self.silent:
                self.gone(self.path("pod", pod["metadata"]["name"]))

    def gone(self, path: str) -> None:
        try:
            self.kube.asked("DELETE", f"{path}?gracePeriodSeconds=0&propagationPolicy=Background")
        except Denied as why:
            assert why.status == 404, why

    def cordon(self, node: str, by: str) -> None:
        self.kube.patched(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}, f"?fieldManager={by}")

    def uncordon(self, node: str, by: str) -> None:
        self.kube.patched(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}, f"?fieldManager={by}")

    def pods(self) -> Sequence[Any]:
        found: Sequence[Any] = self.kube.asked("GET", self.path("pod"))["items"]
        return found

    def _custom(self, group: str, version: str, kind: str) -> None:
        """As small as may be: anything is allowed in it, and its status has writers of its own."""
        names = {"kind": kind, "plural": f"{kind.lower()}s", "singular": kind.lower(), "listKind": f"{kind}List"}
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        versions = [{"name": version, "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}]
        definition = {"group": group, "names": names, "scope": "Namespaced", "versions": versions}
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self.kube.asked("POST", path, {"metadata": {"name": f"{names['plural']}.{group}"}, "spec": definition})
        _wait(lambda: self._there(f"/apis/{group}/{version}/{names['plural']}"))

    def _there(self, path: str) -> bool:
        try:
            self.kube.asked("GET", path)
        except Denied as why:
            assert why.status in (404, 429, 503), why
            return False
        return True

    def _apply(self, document: Any) -> None:
        version, space = document["apiVersion"], document["metadata"].get("namespace")
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        self.kube.asked("POST", f"{base}/{f'namespaces/{space}/' if space else ''}{_PLURALS[document['kind']]}", document)


def _owner(row: Any) -> Mapping[str, Any]:
    return {"apiVersion": row["apiVersion"], "kind": row["kind"], "name": row["metadata"]["name"], "uid": row["metadata"]["uid"], "controller": True}


def _wait(true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.05)
