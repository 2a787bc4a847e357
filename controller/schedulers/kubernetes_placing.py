"""Where Kubernetes may put the pods of a job, as their templates say: nodes that it asks for by name, and nodes that it is kept off.

Kubernetes' own rules: terms of a node affinity are alternatives, all that stands in one must hold, and so must the node selector.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

from gpuwarden.controller.schedulers.kubernetes_api import Row
from gpuwarden.controller.schedulers.kubernetes_rows import Form, Group, spec, tables, wanted

HOSTNAME: Final = "kubernetes.io/hostname"  # a label, by which people name nodes
_NAME: Final = "metadata.name"  # a field, which is a node's name
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Template:
    """Of `pods` pods that are alike. `role`: of a PyTorchJob, Master or Worker."""

    role: str
    pods: int
    spec: Row


@dataclass(frozen=True, slots=True)
class Placing:
    """`allowed` None: anywhere, but for `excluded`."""

    allowed: frozenset[str] | None
    excluded: frozenset[str]


def templates(group: Group) -> tuple[Template, ...]:
    """Of all its pods that are started anew. Malformed."""
    return tuple(_templates(group.form, group.row)) if group.row is not None else ()


def excluded(found: Sequence[Template], hosts: Mapping[str, str]) -> tuple[str, ...]:
    """Where none of them is put. `hosts`: node by its hostname."""
    each = [_placing(template, hosts).excluded for template in found]
    return tuple(sorted(frozenset.intersection(*each))) if each else ()


def required(found: Sequence[Template], hosts: Mapping[str, str]) -> tuple[str, ...]:
    """What a template asks for that names no more nodes than it has pods."""
    names = set[str]()
    for template in found:
        placing = _placing(template, hosts)
        if placing.allowed is not None and len(left := placing.allowed - placing.excluded) <= template.pods:
            names |= left
    return tuple(sorted(names))


def kept_off(template: Template, nodes: Sequence[str]) -> Row:
    """The terms of its node affinity with these nodes kept off in every one, by their names."""
    off = [{"key": _NAME, "operator": "NotIn", "values": [node]} for node in nodes]
    terms = list(_terms(template.spec)) or [{}]
    kept = [{**term, "matchFields": [*(one for one in tables(term, "matchFields") if one not in off), *off]} for term in terms]
    return {"affinity": {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": kept}}}}


def _templates(form: Form, row: Row) -> Iterator[Template]:
    match form:
        case Form.PYTORCHJOB:
            for role, replica in wanted(spec(row), "pytorchReplicaSpecs", dict).items():
                yield Template(role, wanted(replica, "replicas", int, 1), _pod_of(replica))
        case Form.JOBSET:
            for part in tables(spec(row), "replicatedJobs"):
                job = wanted(wanted(part, "template", dict), "spec", dict)
                yield Template("", wanted(part, "replicas", int, 1) * wanted(job, "parallelism", int, 1), _pod_of(job))
        case Form.JOB:
            yield Template("", wanted(spec(row), "parallelism", int, 1), _pod_of(spec(row)))
        case Form.POD:
            return


def _pod_of(row: Any) -> Row:
    return wanted(wanted(row, "template", dict), "spec", dict)


def _placing(template: Template, hosts: Mapping[str, str]) -> Placing:
    terms = [_of_term(term, hosts) for term in _terms(template.spec)] or [Placing(None, frozenset())]
    either = None if any(one.allowed is None for one in terms) else frozenset[str]().union(*(one.allowed or () for one in terms))
    off = frozenset.intersection(*(one.excluded for one in terms))
    selected = wanted(wanted(template.spec, "nodeSelector", dict, {}), HOSTNAME, str, "")
    return Placing(_both(either, frozenset({hosts.get(selected, selected)}) if selected else None), off)


def _of_term(term: Row, hosts: Mapping[str, str]) -> Placing:
    allowed, off = list[frozenset[str] | None](), set[str]()
    for key, one in _named(term):
        values = frozenset(hosts.get(str(value), str(value)) if key == HOSTNAME else str(value) for value in wanted(one, "values", list))
        if one.get("operator") == "In":
            allowed.append(values)
        elif one.get("operator") == "NotIn":
            off |= values
    return Placing(reduce(_both, allowed, None), frozenset(off))


def _named(term: Row) -> Iterator[tuple[str, Row]]:
    """What is said of nodes by name, with how it names them."""
    for key, listed in ((HOSTNAME, "matchExpressions"), (_NAME, "matchFields")):
        for one in tables(term, listed):
            if one.get("key") == key:
                yield key, one


def _terms(pod: Row) -> Iterator[Row]:
    affinity = wanted(wanted(pod, "affinity", dict, {}), "nodeAffinity", dict, {})
    yield from tables(wanted(affinity, _REQUIRED, dict, {}), "nodeSelectorTerms")


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return other if one is None else one if other is None else one & other
