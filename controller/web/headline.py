"""The one sentence that the page and the terminal open with: are we safe?"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gpuwarden.controller.web.words import hottest, percent, watts
from gpuwarden.proto.control_pb2 import NodeState, PowerDomain, WatchResponse
from gpuwarden.proto.finding_pb2 import FindingState, Severity
from gpuwarden.proto.lease_pb2 import Mode

# Above this share of its trip heat a breaker has little left for the next surge.
HOT_RATIO: Final = 0.8

_LIMITED: Final = {
    Mode.MODE_UNSPECIFIED: "its mode is unknown",
    Mode.MODE_OBSERVE: "observe mode caps nothing",
    Mode.MODE_NOTIFY: "notify mode caps nothing, it only tells people",
    Mode.MODE_APPROVE: "approve mode holds raises until a person agrees",
}
_SILENT: Final = {
    NodeState.NODE_STATE_STALE: "stale",
    NodeState.NODE_STATE_HUNG: "hung",
    NodeState.NODE_STATE_UNKNOWN: "not heard of yet",
}


class Level(StrEnum):
    SAFE = "safe"
    ATTENTION = "attention"
    DANGER = "danger"


@dataclass(frozen=True, slots=True)
class Headline:
    level: Level
    sentence: str


def load_ratio(domain: PowerDomain) -> float:
    return domain.power_w / domain.budget_w if domain.budget_w > 0 else 0.0


def headline(snapshot: WatchResponse) -> Headline:
    """The worst that is true, about the tightest domain that it is true of."""
    if not snapshot.cluster.domains:
        return Headline(Level.ATTENTION, "No power domain is configured: nothing is watched.")
    for level, find in _CHECKS:
        for sentence in find(snapshot):
            return Headline(level, sentence)
    domain = _by_load(snapshot)[0]
    worst = "" if math.isnan(domain.counted_w) else f"; its caps let it draw {watts(domain.counted_w)} at worst"
    return Headline(Level.SAFE, f"Safe: {_draw(domain)}{worst}.")


def _draw(domain: PowerDomain) -> str:
    return f"{domain.name} draws {watts(domain.power_w)} of {watts(domain.budget_w)} ({percent(load_ratio(domain))})"


def _by_load(snapshot: WatchResponse) -> list[PowerDomain]:
    return sorted(snapshot.cluster.domains, key=load_ratio, reverse=True)


def _seen_w(snapshot: WatchResponse, domain: PowerDomain) -> float:
    """What the sensors of this domain's nodes tell: the domain's own figure counts the silent at their worst."""
    return math.fsum(
        node.power_w
        for node in snapshot.nodes
        if node.domain == domain.name and node.state == NodeState.NODE_STATE_LIVE and not math.isnan(node.gpu_power_w)
    )


def _over(snapshot: WatchResponse) -> Iterator[str]:
    for domain in _by_load(snapshot):
        seen_w = _seen_w(snapshot, domain)
        if seen_w > domain.rating_w:
            yield f"Over the rating of {watts(domain.rating_w)}: {_draw(domain)}."
        if seen_w > domain.budget_w:
            yield f"Over budget: {_draw(domain)}."


def _whose(domain: PowerDomain) -> str:
    return "its breaker" if (limit := hottest(domain)) == domain.name else f"the breaker of {limit}"


def _hot(snapshot: WatchResponse) -> Iterator[str]:
    """No danger while the draw is within the budget, for then it cools; a fresh controller takes it for hot."""
    for domain in snapshot.cluster.domains:
        if domain.heat_ratio >= HOT_RATIO:
            yield f"Within budget, no room for a surge: {_draw(domain)}; {_whose(domain)} may be at {percent(domain.heat_ratio)} of its trip heat."


def _uncertain(snapshot: WatchResponse) -> Iterator[str]:
    for domain in _by_load(snapshot):
        if domain.power_w > domain.budget_w:
            yield (
                f"Not certain: {domain.name} draws {watts(_seen_w(snapshot, domain))} as far as we see, of "
                f"{watts(domain.budget_w)}; {_silent_nodes(snapshot)}, which may draw more."
            )


def _limited(snapshot: WatchResponse) -> Iterator[str]:
    for domain in _by_load(snapshot):
        if why := _LIMITED.get(domain.mode):
            yield f"Watching only: {_draw(domain)}; {why}."


def _silent(snapshot: WatchResponse) -> Iterator[str]:
    if any(node.state in _SILENT for node in snapshot.nodes):
        yield f"Within budget, not all in sight: {_draw(_by_load(snapshot)[0])}; {_silent_nodes(snapshot)}."


def _silent_nodes(snapshot: WatchResponse) -> str:
    states = Counter(node.state for node in snapshot.nodes)
    silent = [f"{states[state]} {word}" for state, word in _SILENT.items() if states[state]]
    return f"of {len(snapshot.nodes)} nodes {', '.join(silent) or 'none silent'}"


def _critical(snapshot: WatchResponse) -> Iterator[str]:
    critical = sum(
        finding.state == FindingState.FINDING_STATE_FIRING and finding.severity == Severity.SEVERITY_CRITICAL
        for finding in snapshot.findings
    )
    if critical:
        noun = "finding asks" if critical == 1 else "findings ask"
        yield f"Within budget: {_draw(_by_load(snapshot)[0])}; {critical} critical {noun} for you."


def _isolation(snapshot: WatchResponse) -> Iterator[str]:
    if stopped := snapshot.isolation.stopped:
        yield f"Within budget: {_draw(_by_load(snapshot)[0])}; isolation has stopped: {stopped}."
    if asked := sum(not question.would_have for question in snapshot.isolation.questions):
        noun = "question waits" if asked == 1 else "questions wait"
        yield f"Within budget: {_draw(_by_load(snapshot)[0])}; {asked} {noun} for your answer."


_CHECKS: Final[tuple[tuple[Level, Callable[[WatchResponse], Iterator[str]]], ...]] = (
    (Level.DANGER, _over),
    (Level.ATTENTION, _uncertain),
    (Level.ATTENTION, _hot),
    (Level.ATTENTION, _limited),
    (Level.ATTENTION, _silent),
    (Level.ATTENTION, _isolation),
    (Level.ATTENTION, _critical),
)
