"""What was once published as findings, each from firing to resolved as one fault."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.message import DecodeError

from gpuwarden.controller.isolation.door import signal_of
from gpuwarden.controller.isolation.signals import Scope, Signal
from gpuwarden.proto.finding_pb2 import Finding

REFUSED_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Fault:
    """`said_s`: when it was first said; `over_s`: None while it fires. `job`, if it is about one or its ranks; `node` is empty where
    it is about the whole job. Unix seconds."""

    kind: str
    node: str
    scope: Scope
    part: str
    job: str
    since_s: float
    said_s: float
    over_s: float | None = None


def faults_of(payloads: Iterable[bytes]) -> tuple[tuple[Fault, ...], tuple[str, ...]]:
    """By the time they began; and what was refused, with field and reason. A finding that ends without having begun here is left out."""
    faults, refused = dict[str, Fault](), list[str]()
    for payload in payloads:
        try:
            finding = Finding.FromString(payload)
            signal = signal_of(finding)
        except (DecodeError, ValueError) as why:
            refused.append(str(why))
            continue
        known, said_s = faults.get(signal.id), finding.updated_unix_ns / 1e9
        if known is None and signal.firing:
            faults[signal.id] = _fault(signal, said_s)
        elif known is not None:
            faults[signal.id] = replace(known, over_s=None if signal.firing else said_s)
    return tuple(sorted(faults.values(), key=lambda one: (one.since_s, one.kind, one.node))), tuple(refused)


def _fault(signal: Signal, said_s: float) -> Fault:
    job = signal.part.rpartition("/")[0] if signal.scope is Scope.RANK else signal.job
    node = "" if signal.scope is Scope.JOB else signal.node  # its first rank's, which is not accused
    return Fault(signal.kind, node, signal.scope, signal.part, job, signal.since_s, max(said_s, signal.since_s))
