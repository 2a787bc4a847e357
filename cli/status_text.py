"""A snapshot as aligned plain text: controller, domains, nodes by what they have in common, findings, troubles."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from gpuwarden.cli.plain_text import Ink, aligned, printable, who
from gpuwarden.cli.status_wrong import Trouble
from gpuwarden.controller.web import words
from gpuwarden.proto import control_pb2 as pb

_DOMAIN: Final = ("DOMAIN", "MODE", "DRAW", "GRANTED", "AT WORST", "BUDGET", "RATING", "HEAT", "DECIDED")
_NODES: Final = ("NODES", "STATE", "MODE", "AGENT", "LIMITER", "GUARD", "FOREIGN", "REFUSED", "LOADS", "WHICH")
_STATES: Final = {pb.NodeState.NODE_STATE_LIVE: "fresh", pb.NodeState.NODE_STATE_UNKNOWN: "never seen",
                  pb.NodeState.NODE_STATE_HUNG: "driver hung"}


def status_lines(seen: pb.WatchResponse, found: Sequence[Trouble], ink: Ink) -> Iterator[str]:
    cluster = seen.cluster
    told = datetime.fromtimestamp(cluster.unix_ns / 1e9, UTC).isoformat(sep=" ", timespec="seconds")
    yield f"controller {printable(cluster.controller_id)}, gpuwarden {printable(cluster.controller_version)}, epoch {cluster.epoch}, as of {told}"
    yield from _titled([_DOMAIN, *(_domain(seen, domain) for domain in cluster.domains)], range(2, 9), ink)
    yield from _titled([_NODES, *_node_groups(seen.nodes)], (0, 5, 6, 7, 8), ink)
    yield ""
    yield from _told(found, ink)


def _titled(rows: Sequence[Sequence[str]], right: Iterable[int], ink: Ink) -> Iterator[str]:
    title, *lines = aligned(rows, right)
    yield ""
    yield ink(title, "dim")
    yield from lines


def _domain(seen: pb.WatchResponse, domain: pb.PowerDomain) -> tuple[str, ...]:
    granted_w = sum(node.granted_w for node in seen.nodes if node.domain == domain.name)
    watts = (domain.power_w, granted_w, domain.counted_w, domain.budget_w, domain.rating_w)
    decided = f"{domain.decided_age_s:.1f} s ago" if domain.HasField("decided_age_s") else "not yet"
    return (
        printable(domain.name), words.mode(domain.mode), *(f"{one_w:,.0f} W" for one_w in watts),
        words.percent(domain.heat_ratio), decided,
    )


def _node_groups(nodes: Iterable[pb.Node]) -> Iterator[tuple[str, ...]]:
    """Nodes that are alike are one line, however many."""
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for node in nodes:
        groups[_alike(node)].append(printable(node.name))
    for alike, names in sorted(groups.items()):
        yield (str(len(names)), *alike, who(names))


def _alike(node: pb.Node) -> tuple[str, ...]:
    counts = node.counts
    numbers = (counts.guard_trips, counts.foreign_changes, counts.refusals + counts.reports_refused, counts.driver_loads)
    return (
        _STATES.get(node.state, words.node_state(node.state)), words.mode(node.mode) if node.mode else "-",
        printable(node.agent_version) or "-", printable(node.limiter_version) or "-", *(str(number or "-") for number in numbers),
    )


def _told(found: Sequence[Trouble], ink: Ink) -> Iterator[str]:
    if not any(trouble.wrong for trouble in found):
        yield ink("Nothing is wrong.", "green")
    for trouble in found:
        mark = ink("wrong", "red") if trouble.wrong else ink("note ", "yellow")
        yield f"{mark}  {printable(trouble.sentence)}"
        if trouble.then:
            yield f"       {ink('next:', 'dim')} {printable(trouble.then)}"
