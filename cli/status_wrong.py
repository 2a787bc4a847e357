"""What is wrong with a cluster, in words, each with the line to type next. Pure: from a snapshot to sentences."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from gpuwarden.cli.plain_text import who
from gpuwarden.controller.web import words
from gpuwarden.proto.control_pb2 import Node, NodeState, PowerDomain, WatchResponse
from gpuwarden.proto.finding_pb2 import FindingState
from gpuwarden.proto.lease_pb2 import Mode

HOT_RATIO: Final = 0.8  # above this share of its trip heat a breaker has little left for the next surge
LATE_S: Final = 2.0  # every domain is decided five times a second


@dataclass(frozen=True, slots=True)
class Trouble:
    """`wrong` things want somebody now; the others are told and are no failure. `then` is the line to type next."""

    wrong: bool
    sentence: str
    then: str = ""


def troubles(seen: WatchResponse, *, alive: bool) -> Iterator[Trouble]:
    """What is wrong first. `alive`: the controller's own health check says that it decides."""
    found = [one for find in _FINDS for one in find(seen)]
    if not alive:
        found.insert(0, Trouble(True, "the controller answers but has not decided for seconds: these figures are old",
                                "journalctl -u gpuwarden-controller -n 50"))
    yield from sorted(found, key=lambda one: not one.wrong)


def _domains(seen: WatchResponse) -> Iterator[Trouble]:
    if not seen.cluster.domains:
        yield Trouble(True, "no power domain is configured: nothing is watched", "gpuwarden doctor")
    for domain in seen.cluster.domains:
        yield from _domain(domain)


def _domain(domain: PowerDomain) -> Iterator[Trouble]:
    name = domain.name
    if domain.power_w > domain.budget_w:
        over = f"{name} may draw {words.watts(domain.power_w)}, silent nodes at their worst; its budget is {words.watts(domain.budget_w)}"
        auto = domain.mode == Mode.MODE_AUTO
        then = "gpuwarden status --json" if auto else f"gpuwarden mode {name} auto"
        yield Trouble(True, over if auto else f"{over}, and {words.mode(domain.mode)} caps nothing", then)
    if domain.heat_ratio >= HOT_RATIO:
        hottest = words.hottest(domain)
        where, then = (name, f"gpuwarden budget {name} {0.9 * domain.budget_w:.0f} --dry-run") if hottest == name else (f"{hottest} in {name}", "gpuwarden status --json")
        yield Trouble(True, f"the breaker of {where} is at {words.percent(domain.heat_ratio)} of its trip heat", then)
    for limit in domain.limits:
        if limit.name != name and not limit.contingency and limit.power_w > limit.rating_w:
            yield Trouble(True, f"{limit.name} in {name} may draw {words.watts(limit.power_w)}, it carries {words.watts(limit.rating_w)}",
                          "gpuwarden status --json")
        if limit.meter.silent:
            yield Trouble(True, f"the meter of {limit.name} in {name} is silent: {limit.meter.failure or 'nobody reports it'}", "gpuwarden alerts")
        if limit.meter.lacks_w > 0:
            yield Trouble(False, f"the meter of {limit.name} in {name} shows {words.watts(limit.meter.lacks_w)} less than its nodes' GPUs draw", "gpuwarden alerts")
    if domain.HasField("decided_age_s") and domain.decided_age_s > LATE_S:
        yield Trouble(True, f"{name} was decided {domain.decided_age_s:.0f} s ago, five times a second is usual",
                      "journalctl -u gpuwarden-controller -n 50")


def _nodes(seen: WatchResponse) -> Iterator[Trouble]:
    for state, says, then in _SILENT:
        if names := [node.name for node in seen.nodes if node.state == state]:
            yield Trouble(True, f"{who(names)}: {says}", f"on {names[0]}: {then}")
    modes = {domain.name: domain.mode for domain in seen.cluster.domains}
    fresh = [node for node in seen.nodes if node.state == NodeState.NODE_STATE_LIVE]
    if names := [node.name for node in fresh if modes.get(node.domain) == Mode.MODE_AUTO != node.mode]:
        yield Trouble(True, f"{who(names)}: not in auto though the domain is; no cap is set there",
                      f"on {names[0]}: journalctl -u gpuwarden-limiter -n 50")


_SILENT: Final = (
    (NodeState.NODE_STATE_UNKNOWN, "never heard of since the controller started; counted at the driver's default",
     "systemctl status gpuwarden-limiter gpuwarden-agent; gpuwarden doctor"),
    (NodeState.NODE_STATE_STALE, "silent, neither healthy nor faulty", "journalctl -u gpuwarden-agent -u gpuwarden-limiter -n 50"),
    (NodeState.NODE_STATE_HUNG, "no answer from the driver", "dmesg | grep -i -e nvrm -e xid"),
)


def _limiters(seen: WatchResponse) -> Iterator[Trouble]:
    for node in seen.nodes:
        if node.refusal:
            yield Trouble(True, f"{node.name}: its limiter refuses: {node.refusal}", f"on {node.name}: gpuwarden doctor")
    for count_of, says, then in _COUNTED:
        counted = {node.name: count for node in seen.nodes if (count := count_of(node))}
        if counted:
            named = who([f"{name} {count}" for name, count in counted.items()])
            yield Trouble(False, f"{says}: {named}", f"on {max(counted, key=counted.__getitem__)}: {then}")


_COUNTED: Final[tuple[tuple[Callable[[Node], int], str, str], ...]] = (
    (lambda node: node.counts.guard_trips, "cards drew clearly more than their limit (guard trips)",
     "journalctl -u gpuwarden-limiter -g guard"),
    (lambda node: node.counts.foreign_changes, "somebody else changed limits, and they were set again", "gpuwarden doctor"),
    (lambda node: node.counts.reports_refused, "reports that the controller refused", "gpuwarden doctor"),
)


def _versions(seen: WatchResponse) -> Iterator[Trouble]:
    ours = seen.cluster.controller_version
    others = [node.name for node in seen.nodes if {node.agent_version, node.limiter_version} - {"", ours}]
    if others:
        yield Trouble(False, f"{who(others)}: another version than the controller's {ours}", f"on {others[0]}: gpuwarden --version")


def _findings(seen: WatchResponse) -> Iterator[Trouble]:
    firing = [one for one in seen.findings if one.state == FindingState.FINDING_STATE_FIRING]
    for finding in words.urgent_first(firing):
        said = f"{words.subject(finding.subject)}: {finding.summary}"
        yield Trouble(True, f"{words.severity(finding.severity)}: {said}", finding.suggested_action)


def _isolation(seen: WatchResponse) -> Iterator[Trouble]:
    """What waits for a person is wrong; what is being done is told."""
    isolation = seen.isolation
    if isolation.stopped:
        yield Trouble(True, f"isolation has stopped: {isolation.stopped}", "journalctl -u gpuwarden-controller -n 50")
    if isolation.scheduler_lost:
        yield Trouble(True, f"what the scheduler ({isolation.scheduler}) holds is not known: {isolation.scheduler_lost}", "gpuwarden doctor")
    for question in isolation.questions:
        if not question.would_have:
            yield Trouble(True, f"{question.id} waits for an answer: {question.sentence}", f"gpuwarden approve {question.id}")
    for node in isolation.nodes:
        if node.quarantine:
            state = f'would be {node.state} ("would have" only)' if node.would_have else node.state
            yield Trouble(False, f"{node.name} is {state}: {node.evidence}", f"gpuwarden explain node {node.name}")


_FINDS: Final[tuple[Callable[[WatchResponse], Iterable[Trouble]], ...]] = (_nodes, _domains, _findings, _isolation, _limiters, _versions)
