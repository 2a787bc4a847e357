"""Nodes as they live, against what was learned of them: telemetry in, `node_unlike_itself` out.

Once a minute all nodes are scored at once, when readings of that minute can hardly come any more; sooner where telemetry comes faster than
time, as after the detector was away.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from gpuwarden.detector.events import PublishFinding
from gpuwarden.detector.findings import Claim, Findings, Key
from gpuwarden.detector.health.claim import NODE_UNLIKE_ITSELF, claim
from gpuwarden.detector.health.features import SETTLE_MINUTES, held_by_us
from gpuwarden.detector.health.gather import NEVER
from gpuwarden.detector.health.judge import Judge
from gpuwarden.detector.health.learned import Block, Learned, Places
from gpuwarden.detector.health.nodes import Minutes
from gpuwarden.detector.health.past import HALF_LIFE_S
from gpuwarden.detector.health.trend import Trends, trend
from gpuwarden.detector.health.verdict import NOT_KNOWN, STEP_S, Turn, Verdict
from gpuwarden.detector.past.features import FEATURES
from gpuwarden.detector.past.piece import MINUTE_NS, Integers
from gpuwarden.proto.decode import Sample

GRACE_NS: Final = 20_000_000_000  # after a minute's end, by the detector's clock
_KEEP: Final = np.float32(0.5 ** (STEP_S / HALF_LIFE_S))
_NONE: Final = np.empty(0, np.int64)
STATES: Final = ("silent", "judged", "capped", "warming", "waiting")
_SILENT, _JUDGED, _CAPPED, _WARMING, _WAITING = range(len(STATES))


class Health:
    """Rows are the nodes that the live model or its shadow knows. What neither knows is not judged."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._live: Verdict | None = None
        self._shadow: Verdict | None = None
        self.models: Mapping[str, str] = {}  # role to id
        self.minutes_judged = self.findings_fired = self.shadow_fired = 0
        self._late_before = 0
        self._set_up((), ())

    def _set_up(self, nodes: tuple[str, ...], cards: tuple[tuple[str, ...], ...]) -> None:
        self._nodes, self._cards = nodes, cards
        self._missing: Integers = np.zeros(len(nodes), np.int64)  # metrics, of the newest minute
        self._minutes = Minutes(nodes, cards)
        self._last, self._mean = (np.full((len(nodes), len(FEATURES)), np.nan, np.float32) for _ in range(2))
        self._at: Integers = np.full(len(nodes), NEVER, np.int64)  # the newest minute that was scored
        self._settled: Integers = np.full(len(nodes), NEVER, np.int64)  # judged after this one
        self._trends = Trends(len(nodes))  # of what the live model of the time said
        self.state = np.full(len(nodes), NEVER, np.int8)  # of the newest minute, among STATES; NEVER: not heard
        self._flushed_minute = NEVER

    @property
    def samples_late(self) -> int:
        return self._late_before + self._minutes.late

    @property
    def metrics_missing(self) -> int:
        return int(self._missing.sum())

    def nodes_by_state(self, heard: int) -> Mapping[str, int]:
        """`heard`: nodes that the detector knows; those that no model does are `unknown`."""
        state = self.state[self.state != NEVER]
        counts = np.bincount(state, minlength=len(STATES)).tolist()
        return {**dict(zip(STATES, counts, strict=True)), "unknown": max(0, heard - len(state))}

    def choose(self, models: Mapping[str, str], live: Learned | None, shadow: Learned | None, unix_ns: int) -> Iterator[PublishFinding]:
        """From now on these judge, whose ids `models` has by role. What is known of nodes that stay goes on; what fired on those that go is resolved."""
        self.models = models
        before = self._live, self._shadow, dict(self._minutes.row_of)
        cards_of = {name: cards for one in (shadow, live) if one for name, cards in zip(one.nodes, one.cards, strict=True)}
        nodes = tuple(sorted(cards_of))
        cards = tuple(cards_of[name] for name in nodes)
        if (nodes, cards) != (self._nodes, self._cards):
            self._move(nodes, cards)
        self._live, self._shadow = (None if one is None else Verdict(Judge(one), self._places(one)) for one in (live, shadow))
        for verdict, old in ((self._live, before[0]), (self._shadow, before[1])):
            if verdict is not None and old is not None:
                stay = [name for name in nodes if name in before[2]]
                verdict.take_over(self._rows(stay), old, np.array([before[2][name] for name in stay], np.intp))
                verdict.firing &= verdict.of != NOT_KNOWN
        yield from self._end_of_unknown(unix_ns)

    def _places(self, learned: Learned) -> Places:
        """Of each row in the model; one whose cards the model knows otherwise is none of its own."""
        place = {name: (place, cards) for place, (name, cards) in enumerate(zip(learned.nodes, learned.cards, strict=True))}
        found = (place.get(name, (NOT_KNOWN, ())) for name in self._nodes)
        return np.array([at if cards == mine else NOT_KNOWN for (at, cards), mine in zip(found, self._cards, strict=True)], np.intp)

    def _rows(self, names: Sequence[str]) -> Places:
        return np.array([self._minutes.row_of[name] for name in names], np.intp)

    def _move(self, nodes: tuple[str, ...], cards: tuple[tuple[str, ...], ...]) -> None:
        """Into arrays with other rows. Of a node whose cards are others now nothing is kept."""
        old, cards_before = self._minutes.row_of, dict(zip(self._nodes, self._cards, strict=True))
        kept, trends = (self._last, self._mean, self._at, self._settled, self.state), self._trends
        self._late_before += self._minutes.late
        self._set_up(nodes, cards)
        stay = [name for name, of in zip(nodes, cards, strict=True) if cards_before.get(name) == of]
        rows, before = self._rows(stay), np.array([old[name] for name in stay], np.intp)
        self._last[rows], self._mean[rows], self._at[rows], self._settled[rows], self.state[rows] = (was[before] for was in kept)
        self._trends.put(rows, trends, before)

    def _end_of_unknown(self, unix_ns: int) -> Iterator[PublishFinding]:
        """What fires on nodes that the live model does not know (any more) is nobody's. What it knows need not fire again to stay."""
        for node, _, _ in self._findings.of_kind(NODE_UNLIKE_ITSELF):
            row = self._minutes.row_of.get(node, NOT_KNOWN)
            if self._live is None or row == NOT_KNOWN or self._live.of[row] == NOT_KNOWN:
                yield from self._findings.resolve(_key(node), unix_ns)
            else:
                self._keep(node, row)

    def _keep(self, node: str, row: int) -> None:
        """Left firing by the detector before this one: it is over when the node was judged, and found to be as it was."""
        assert self._live is not None
        self._findings.keep(_key(node))
        self._live.firing[row] = True

    def take(self, samples: Sequence[Sample]) -> Iterator[PublishFinding]:
        """A round: one sample of each node at most."""
        mine, rows, unix_ns = self._minutes.known(samples) if self._nodes else ([], _NONE, _NONE)
        if not mine:
            return
        new = rows[self._minutes.newest[rows] == NEVER]
        self.state[new] = _WARMING
        for row in new.tolist():
            if self._findings.is_adopted(_key(self._nodes[row])) and self._live is not None and self._live.of[row] != NOT_KNOWN:
                self._keep(self._nodes[row], row)
        self._forget(self._minutes.set_back(rows, unix_ns))
        if self._minutes.in_the_way(rows, unix_ns):
            until = self._minutes.newest.copy()
            until[rows] = np.maximum(until[rows], unix_ns // MINUTE_NS)
            yield from self._flush(until)
        self._minutes.take(mine, rows, unix_ns)

    def tick(self, unix_ns: int) -> Iterator[PublishFinding]:
        """Once a minute all that is over is scored."""
        minute = (unix_ns - GRACE_NS) // MINUTE_NS
        if minute != self._flushed_minute:
            self._flushed_minute = minute
            self.state[(self._minutes.newest < minute - 1) & (self._minutes.newest != NEVER)] = _SILENT
            yield from self._flush(self._minutes.newest)

    def forget(self, node: str) -> None:
        """It is gone; its findings are the caller's."""
        if node in self._minutes.row_of:
            rows = self._rows([node])
            self._minutes.forget(rows)
            self._forget(rows)
            self.state[rows] = NEVER
            for verdict in self._verdicts():
                verdict.firing[rows] = False

    def _forget(self, rows: Places) -> None:
        self._last[rows], self._mean[rows], self._at[rows], self._settled[rows] = np.nan, np.nan, NEVER, NEVER
        self._trends.forget(rows)
        for verdict in self._verdicts():
            verdict.forget(rows)

    def _verdicts(self) -> Iterator[Verdict]:
        yield from (one for one in (self._live, self._shadow) if one is not None)

    def _flush(self, until: Integers) -> Iterator[PublishFinding]:
        """Scores each node's minutes before `until`, the oldest of each first, so that all go together."""
        while len((pending := self._minutes.pending(until))[1]):
            yield from self._score(*pending)

    def _score(self, place: Places, rows: Places) -> Iterator[PublishFinding]:
        minute = self._minutes.begun[place, rows]
        values = self._minutes.out(place, rows)
        self._settled[rows] = np.where(held_by_us(values), minute + SETTLE_MINUTES, self._settled[rows])
        capped = minute <= self._settled[rows]
        values[capped] = np.nan
        passed = np.where(self._at[rows] == NEVER, 1, minute - self._at[rows])
        self._at[rows] = minute
        before = np.stack((self._last[rows], self._mean[rows]), 1)
        self.state[rows] = np.where(capped, _CAPPED, _WARMING)
        for verdict in self._verdicts():
            known = np.flatnonzero(verdict.of[rows] != NOT_KNOWN)
            columns = verdict.judge.learned.columns
            turn = verdict.minute(rows[known], values[np.ix_(known, columns)], before[known][:, :, columns], passed[known])
            yield from self._told(verdict, turn, rows[known], minute[known])
        self._remember(rows, values)

    def _told(self, verdict: Verdict, turn: Turn, rows: Places, minute: Integers) -> Iterator[PublishFinding]:
        if verdict is self._shadow:
            self.shadow_fired += int(turn.fires.sum())
            return
        self.state[rows[turn.judged]], self.state[rows[turn.waits]] = _JUDGED, _WAITING
        expected = ~np.isnan(verdict.judge.learned.mean[verdict.of[rows]])
        self._missing[rows] = (expected & np.isnan(turn.minute.parts)).sum(1)
        self.minutes_judged += int(turn.judged.sum())
        self.findings_fired += int(turn.fires.sum())
        self._trends.note(rows, minute, np.where(turn.judged, verdict.score[rows], np.nan))
        for i in np.flatnonzero(turn.fires).tolist():
            yield self._findings.fire(self._claim(verdict, turn, rows, minute, i), int(minute[i] + 1) * MINUTE_NS)
        for i in np.flatnonzero(turn.ends).tolist():
            yield from self._findings.resolve(_key(self._nodes[rows[i]]), int(minute[i] + 1) * MINUTE_NS)

    def _claim(self, verdict: Verdict, turn: Turn, rows: Places, minute: Integers, i: int) -> Claim:
        learned, row, of = verdict.judge.learned, int(rows[i]), int(verdict.of[rows[i]])
        shown = trend("score", self._trends.until(row, int(minute[i])), float(learned.threshold[of]), int(minute[i] + 1) * MINUTE_NS)
        return replace(claim(learned, of, turn.minute, i, float(verdict.score[row])), trend=shown)

    def _remember(self, rows: Places, values: Block) -> None:
        """As health.past does it for a whole history."""
        known = ~np.isnan(values)
        self._last[rows] = np.where(known, values, self._last[rows])
        mean = self._mean[rows]
        begun = np.where(np.isnan(mean), values, _KEEP * mean + (1 - _KEEP) * values)
        self._mean[rows] = np.where(known, begun, mean)


def _key(node: str) -> Key:
    return node, "", NODE_UNLIKE_ITSELF
