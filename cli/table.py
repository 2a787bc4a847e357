"""The cluster in a terminal, live; where standard output is none, a plain line every few seconds."""

import time
from collections.abc import Iterable, Iterator
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table as Grid
from rich.text import Text

from gpuwarden.cli.plain_text import printable
from gpuwarden.controller.web import words
from gpuwarden.controller.web.fold import fold
from gpuwarden.controller.web.headline import HOT_RATIO, Level, headline
from gpuwarden.proto.control_pb2 import Node, NodeState, PowerDomain, WatchResponse
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity

PLAIN_NS: Final = 5_000_000_000
FINDINGS: Final = 4
ACTIONS: Final = 5
# Headline, rules, column titles and the lines that say what was left out.
_FURNITURE_ROWS: Final = 8
_LEAST_NODES: Final = 4

_LEVELS: Final = {Level.SAFE: "bold green", Level.ATTENTION: "bold yellow", Level.DANGER: "bold red"}
_STATES: Final = {NodeState.NODE_STATE_LIVE: "", NodeState.NODE_STATE_HUNG: "bold red", NodeState.NODE_STATE_STALE: "yellow"}
_SEVERITIES: Final = {Severity.SEVERITY_CRITICAL: "bold red", Severity.SEVERITY_WARNING: "yellow"}
# The most telling first, where not all fit.
_ORDER: Final = (NodeState.NODE_STATE_HUNG, NodeState.NODE_STATE_STALE, NodeState.NODE_STATE_UNKNOWN, NodeState.NODE_STATE_LIVE)


class Table:
    """Shows snapshots as they come. Their own clock counts, so it suits virtual time too."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live: Live | None = None
        self._told: tuple[Level, int] | None = None

    def show(self, snapshot: WatchResponse) -> None:
        if not self._console.is_terminal:
            return self._tell(snapshot)
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
            self._live.start()
        self._live.update(picture(snapshot, self._console.height), refresh=True)

    def close(self) -> None:
        """The last picture stays on the terminal."""
        if self._live is not None:
            self._live.stop()

    def _tell(self, snapshot: WatchResponse) -> None:
        """At once when the level changes, else now and then."""
        level, now_ns = headline(snapshot).level, snapshot.cluster.unix_ns
        if self._told is None or level != self._told[0] or not 0 <= now_ns - self._told[1] < PLAIN_NS:
            self._told = level, now_ns
            self._console.print(plain_line(snapshot), soft_wrap=True, markup=False)


def plain_line(snapshot: WatchResponse) -> str:
    cluster = snapshot.cluster
    said = f"{headline(snapshot).sentence} {cluster.live_count} of {cluster.node_count} nodes live, {cluster.firing_count} findings firing."
    return printable(f"{_clock(cluster.unix_ns)} {said}")


def picture(snapshot: WatchResponse, rows: int) -> RenderableType:
    """As much as `rows` lines hold; nodes give way first."""
    line = headline(snapshot)
    firing = [one for one in words.urgent_first(snapshot.findings) if one.state == FindingState.FINDING_STATE_FIRING]
    below = [*_findings(firing), *_actions(snapshot)]
    room = rows - _FURNITURE_ROWS - 2 * len(snapshot.cluster.domains) - len(below)
    return Group(
        _text(f"{_clock(snapshot.cluster.unix_ns)}  {line.sentence}", _LEVELS[line.level]),
        _domains(snapshot.cluster.domains),
        Rule(style="dim"),
        _nodes(snapshot.nodes, max(room, _LEAST_NODES)),
        *below,
    )


def _text(said: str, style: str = "") -> Text:
    return Text(printable(said), style=style, no_wrap=True, overflow="ellipsis")


def _domains(domains: Iterable[PowerDomain]) -> Grid:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    for domain in domains:
        over = domain.power_w > domain.budget_w
        grid.add_row(
            _text(domain.name, "bold"),
            _text(words.mode(domain.mode), "cyan"),
            _text(f"{words.watts(domain.power_w)} of {words.watts(domain.budget_w)}", "bold red" if over else "bold"),
            _bar(domain.power_w, domain.budget_w, 20, "red" if over else "blue"),
            _text(f"worst case {words.watts(domain.counted_w)}"),
            _text("heat"),
            _bar(domain.heat_ratio, 1.0, 10, "red" if domain.heat_ratio >= HOT_RATIO else "yellow"),
            _text(words.percent(domain.heat_ratio)),
        )
    return grid


def _bar(part: float, whole: float, width: int, style: str) -> ProgressBar:
    return ProgressBar(total=max(whole, 1e-9), completed=max(0.0, part), width=width, complete_style=style, finished_style=style)


def _nodes(nodes: Iterable[Node], room: int) -> Group:
    ordered = sorted(nodes, key=lambda node: (_ORDER.index(node.state) if node.state in _ORDER else 0, -node.firing))
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    for title in ("node", "power", "cap", "of default", "state"):
        grid.add_column(title, no_wrap=True, justify="right" if title in ("power", "cap") else "left")
    grid.add_column("reason", no_wrap=True, overflow="ellipsis", ratio=1)
    for node in ordered[:room]:
        grid.add_row(*_node(node))
    left_out = len(ordered) - room
    return Group(grid, *([_text(f"and {left_out} more nodes", "dim")] if left_out > 0 else []))


def _node(node: Node) -> Iterator[RenderableType]:
    state = words.node_state(node.state) + (f", {node.firing} firing" if node.firing else "")
    yield _text(node.name)
    yield _text(words.watts(node.power_w))
    yield _text(words.watts(node.enforced_w))
    yield _bar(node.enforced_w, node.default_w, 10, "cyan")
    yield _text(state, _STATES.get(node.state, "dim"))
    yield _text(node.reason, "dim")


def _findings(firing: list[Finding]) -> list[RenderableType]:
    if not firing:
        return [Rule("no finding firing", align="left", style="dim")]
    lines: list[RenderableType] = [Rule(f"{len(firing)} firing", align="left", style="dim")]
    for one in firing[:FINDINGS]:
        grave = words.severity(one.severity)
        text = _text(f"{grave:8} ", _SEVERITIES.get(one.severity, ""))
        lines.append(text.append(printable(f"{words.subject(one.subject)}: {one.summary} → {one.suggested_action}"), "not bold default"))
    return lines


def _actions(snapshot: WatchResponse) -> list[RenderableType]:
    lines: list[RenderableType] = [Rule("done, and why", align="left", style="dim")]
    for one in fold(snapshot.actions)[:ACTIONS]:
        kind = one.line.kind if one.line.performed else f"would {one.line.kind}"
        lines.append(_text(f"{_clock(one.line.unix_ns)} {kind:11} {one.who()}: {one.line.reason}"))
    return lines


def _clock(unix_ns: int) -> str:
    """A line from before the controller knew the time has none."""
    return time.strftime("%H:%M:%S", time.localtime(unix_ns / 1e9)) if unix_ns else "at start"
