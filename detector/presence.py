"""Who has gone silent: a node, all GPUs of a node, one GPU. Silence is never health, and by itself no fault."""

from collections.abc import Iterable, Iterator
from typing import Final

from gpuwarden.detector.events import PublishFinding
from gpuwarden.detector.findings import Claim, Findings, subject_of
from gpuwarden.detector.node import Node
from gpuwarden.detector.rules.rule import CRITICAL, WARNING
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.decode import Sample
from gpuwarden.proto.finding_pb2 import Evidence, Finding

UNREAD_SAMPLES: Final = 5  # in a row without a card, until it counts as missing
MOST_GPUS: Final = 512  # of a node, gone ones included

STALE: Final = "node_stale"
MISSING: Final = "gpu_missing"
ALL_UNREAD: Final = "gpus_unread"


def adopt(node: Node, finding: Finding) -> None:
    """A card that was missing before this detector began is one to expect."""
    if finding.kind == MISSING:
        node.gpus[finding.subject.id] = node.seen_s


def stale(findings: Findings, node: Node, silent_s: float, stale_s: float, unix_ns: int) -> Iterator[PublishFinding]:
    """Looked at once a second; `spoke` ends it."""
    if silent_s < stale_s or (node.name, "", STALE) in findings:
        return
    evidence = (Evidence(name="silent for", value=silent_s, expected=0, unit="s"), Evidence(name="last sequence", value=node.sequence))
    yield findings.fire(
        Claim(
            STALE, subject_of(Device.HOST, node.name, ""), WARNING, silent_s / stale_s,
            f"no telemetry for {silent_s:.0f} s: whether the node is healthy is not known",
            "See whether the agent runs and reaches the brokers, then whether the node is up.", "rules/presence", evidence,
        ),
        unix_ns,
    )


def spoke(findings: Findings, node: Node, unix_ns: int) -> Iterator[PublishFinding]:
    """A new sample came."""
    yield from findings.resolve((node.name, "", STALE), unix_ns)


def gpus(findings: Findings, node: Node, sample: Sample, forget_s: float) -> Iterator[PublishFinding]:
    """Whether every GPU that was ever seen is in the sample; one that is gone for `forget_s` was taken out by somebody."""
    ids = next((r.ids for r in sample.readings if r.device is Device.GPU), ())
    if node.late and not ids:
        return
    node.gpus.update(dict.fromkeys(ids, node.seen_s))
    if len(ids) == len(node.gpus) and not node.unread:
        return
    for gone in _taken_out(node, forget_s):
        del node.gpus[gone]
        node.unread.pop(gone, None)
        yield from findings.resolve((node.name, gone, MISSING), sample.unix_ns)
    node.unread = {gpu: node.unread.get(gpu, 0) + 1 for gpu in node.gpus if gpu not in ids}
    yield from _all(findings, node, sample, ids) if not ids else _some(findings, node, sample, ids)


def _taken_out(node: Node, forget_s: float) -> list[str]:
    """Gone for long; or, where names change all the time, the longest gone."""
    by_age = sorted(node.gpus, key=node.gpus.__getitem__)
    over = set(by_age[: max(0, len(by_age) - MOST_GPUS)])
    return [gpu for gpu in by_age if gpu in over or node.seen_s - node.gpus[gpu] > forget_s]


def _all(findings: Findings, node: Node, sample: Sample, ids: Iterable[str]) -> Iterator[PublishFinding]:
    key = node.name, "", ALL_UNREAD
    if min(node.unread.values(), default=0) < UNREAD_SAMPLES or (key in findings and not findings.is_adopted(key)):
        return
    yield findings.fire(
        Claim(
            ALL_UNREAD, subject_of(Device.HOST, node.name, ""), CRITICAL, 1.0,
            f"none of {len(node.gpus)} GPUs was read for {UNREAD_SAMPLES} samples",
            "See whether the driver answers; drain the node and reboot it if it does not.", "rules/presence",
            (Evidence(name="GPUs read", value=0, expected=len(node.gpus)),),
        ),
        sample.unix_ns,
    )


def _some(findings: Findings, node: Node, sample: Sample, ids: tuple[str, ...]) -> Iterator[PublishFinding]:
    yield from findings.resolve((node.name, "", ALL_UNREAD), sample.unix_ns)
    for gpu in ids:
        yield from findings.resolve((node.name, gpu, MISSING), sample.unix_ns)
    for gpu, samples in node.unread.items():
        told = any((node.name, gpu, kind) in findings and not findings.is_adopted((node.name, gpu, kind)) for kind in (MISSING, "gpu_lost"))
        if samples >= UNREAD_SAMPLES and not told:
            yield findings.fire(_missing(node, gpu, samples, len(ids)), sample.unix_ns)


def _missing(node: Node, gpu: str, samples: int, read: int) -> Claim:
    return Claim(
        MISSING, subject_of(Device.GPU, node.name, gpu), CRITICAL, 1.0,
        f"the node shows {read} of {len(node.gpus)} GPUs; this one was not read for {samples} samples",
        "Look for XID 79 in the kernel log; drain the node and reboot it, then check the card's seating and power.",
        "rules/presence", (Evidence(name="GPUs read", value=read, expected=len(node.gpus)),),
    )
