"""All nodes of a consumer group's detectors, judged beside each other: minutes of them in, `node_unlike_others` out.

Every detector of a group reads the same records in the same order, so all know the same of every node, and come to the same. Each publishes what is
found of the nodes that it hears: whoever takes a node over knows what is to be said of it, and by its start a finding has the same id whoever says it.
"""

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.events import PublishFinding, Raw
from gpuwarden.detector.findings import Claim, Findings, Key
from gpuwarden.detector.health.fused import Judged, judged, no_health_known
from gpuwarden.detector.health.open_minutes import OpenMinutes, Told
from gpuwarden.detector.health.readings import CARDS, OF_HOSTS, READ_OF_CARDS, Reader
from gpuwarden.detector.health.rows import blank, grown
from gpuwarden.detector.health.summaries import RoomSetup
from gpuwarden.detector.health.trend import Trends, trend
from gpuwarden.detector.health.unlike_others import NODE_UNLIKE_OTHERS, RARITY, claim, rarity
from gpuwarden.detector.health.verdict import QUIET_MINUTES
from gpuwarden.detector.past.piece import MINUTE_NS
from gpuwarden.proto.catalogue import BY_NAME
from gpuwarden.proto.decode import MAX_NAME_CHARS, Refused
from gpuwarden.proto.decode_scores import Summaries, decode_scores
from gpuwarden.proto.finding_pb2 import Trend

FIRST_ROWS: Final = 16
KEEP_JOB_MINUTES: Final = 5  # a node that is silent, or without a process, for less has not left its job
FORGET_MINUTES: Final = 1440
AHEAD_NS: Final = 120_000_000_000  # of this detector's clock: what is told of later is refused, for it would end minutes that are not over
NO_JOB: Final = -1
COLUMNS: Final = (*(f"{metric}[{card}]" for card in range(CARDS) for metric in READ_OF_CARDS), *(reading.metric for reading in OF_HOSTS))
_CARD_PLACE: Final = {BY_NAME[metric].number: at for at, metric in enumerate(READ_OF_CARDS)}
_HOST_PLACE: Final = {BY_NAME[reading.metric].number: at for at, reading in enumerate(OF_HOSTS)}


@dataclass(frozen=True, slots=True)
class Firing:
    """What is said of a node for as long as it fires."""

    claim: Claim
    since_ns: int


@dataclass(slots=True)
class _Known:
    """A node: its row, the minute it was last told of, whether others were known already when it came, its newest job and when that was told, where its cards are, and for how many minutes in a row it was as it should be."""

    row: int
    minute: int
    new: bool
    job: str = ""
    job_minute: int = 0
    ours: bool = False
    cards: tuple[str, ...] = ()
    quiet: int = 0


class Room:
    """`heard`: nodes whose telemetry this detector has. Holds no more than `most_nodes`."""

    def __init__(self, findings: Findings, setup: RoomSetup, most_nodes: int, heard: Container[str]) -> None:
        self._findings, self._setup, self._most_nodes, self._heard = findings, setup, most_nodes, heard
        self._health, self._reader, self._trends = no_health_known(FIRST_ROWS), Reader(COLUMNS), Trends(FIRST_ROWS)
        self._free = list(range(FIRST_ROWS - 1, -1, -1))
        self._known: dict[str, _Known] = {}
        self._jobs: dict[str, int] = {}
        self._jobs_ever = 0
        self._firing: dict[str, Firing] = {}
        self._unix_ns: int | None = None
        self.minutes = OpenMinutes()
        self.live = False  # what comes is new: what this detector itself said first has come back
        self.nodes_left_out = self.minutes_judged = self.findings_fired = 0

    @property
    def nodes_known(self) -> int:
        return len(self._known)

    @property
    def firing(self) -> int:
        """Whoever says so."""
        return len(self._firing)

    def cards_of(self, node: str) -> tuple[str, ...]:
        known = self._known.get(node)
        return known.cards if known is not None else ()

    def tick(self, unix_ns: int) -> None:
        self._unix_ns = unix_ns

    def take(self, raw: Raw) -> Iterator[PublishFinding]:
        """Raises Refused. Another group's are passed over."""
        if raw.key != self._setup.group:
            return
        told = decode_scores(raw.payload)
        self._check_clock(told)
        if not self.live and told.detector_start == self._setup.start:
            self.live = True
            yield from self._all_joined()
        for minute, nodes in self.minutes.take(told, _values(told)):
            yield from self._minute(minute, nodes)

    def joined(self, node: str, unix_ns: int) -> Iterator[PublishFinding]:
        """This detector hears the node from now on: what another one said of it, or would have, is its to say."""
        key = _key(node)
        if not self.live:
            self._findings.keep(key)
        elif (firing := self._firing.get(node)) is None:
            yield from self._findings.resolve(key, unix_ns)
        elif key in self._findings:
            self._findings.keep(key)
        else:
            yield self._findings.fire(firing.claim, firing.since_ns)

    def _all_joined(self) -> Iterator[PublishFinding]:
        unix_ns = self._unix_ns or 0
        for node in sorted({*self._firing, *(key[0] for key in self._findings.of_kind(NODE_UNLIKE_OTHERS))}):
            if node in self._heard:
                yield from self.joined(node, unix_ns)

    def _check_clock(self, told: Summaries) -> None:
        if self._unix_ns is None:
            return
        last = (self._unix_ns + AHEAD_NS) // MINUTE_NS
        if told.unix_ns > self._unix_ns + AHEAD_NS or told.told_minute > last or any(node.minute > last for node in told.nodes):
            raise Refused("unix_ns", f"is {told.unix_ns}, or a minute beyond it, of detector {told.detector_start[:MAX_NAME_CHARS]}: by our clock it is {self._unix_ns}")

    def _minute(self, minute: int, nodes: dict[str, Told]) -> Iterator[PublishFinding]:
        self._forget(minute)
        for node in nodes:
            self._seat(node, minute)
        values, joined = np.full((self._rows, len(COLUMNS)), np.nan, np.float32), set[str]()
        for node, told in nodes.items():
            if (known := self._known.get(node)) is not None:
                values[known.row] = told.values
                known.minute, known.cards = minute, told.cards
                joined |= self._note_job(known, told.job, minute)
        readings = self._reader.read(values)
        ours, new = readings.ours.copy(), np.zeros(self._rows, np.bool_)
        for known in self._known.values():
            new[known.row] = known.new
            known.ours = ours[known.row] = bool(ours[known.row]) if known.minute == minute else known.ours
        job = self._job_numbers(minute, joined)
        yield from self._told(judged(self._health, replace(readings, ours=ours), job, new), job, minute)

    @property
    def _rows(self) -> int:
        return len(self._health.held)

    def _seat(self, node: str, minute: int) -> None:
        if node in self._known:
            return
        if len(self._known) >= self._most_nodes:
            self.nodes_left_out += 1
            return
        if not self._free:
            rows, trends = self._rows, self._trends
            self._health, self._trends = grown(self._health, 2 * rows), Trends(2 * rows)
            self._trends.put(np.arange(rows), trends, np.arange(rows))
            self._free = list(range(2 * rows - 1, rows - 1, -1))
        self._known[node] = _Known(self._free.pop(), minute, bool(np.isfinite(self._health.maxima.middle).any()))

    def _forget(self, minute: int) -> None:
        """Nodes that nobody has told of for long. What fires on them is resolved with them, by who heard them."""
        gone = [node for node, known in self._known.items() if minute - known.minute > FORGET_MINUTES]
        rows = [self._known.pop(node).row for node in gone]
        for node in gone:
            self._firing.pop(node, None)
        if rows:
            blank(self._health, np.array(rows))
            self._trends.forget(np.array(rows))
            self._free += rows

    def _note_job(self, known: _Known, job: str, minute: int) -> set[str]:
        """The job, if the node joins it: all its nodes have other ones beside them then."""
        if not job:
            return set()
        joins = job != known.job or minute - known.job_minute >= KEEP_JOB_MINUTES
        known.job, known.job_minute = job, minute
        return {job} if joins else set()

    def _job_numbers(self, minute: int, joined: set[str]) -> NDArray[np.intp]:
        """(rows,). A number is one job's for as long as it has nodes, and nobody joins it."""
        of = {node: known.job for node, known in self._known.items() if known.job and minute - known.job_minute < KEEP_JOB_MINUTES}
        running = set(of.values())
        self._jobs = {job: number for job, number in self._jobs.items() if job in running - joined}
        for job in sorted(running - self._jobs.keys()):
            self._jobs[job] = self._jobs_ever
            self._jobs_ever += 1
        numbers = np.full(self._rows, NO_JOB, np.intp)
        for node, job in of.items():
            numbers[self._known[node].row] = self._jobs[job]
        return numbers

    def _told(self, seen: Judged, job: NDArray[np.intp], minute: int) -> Iterator[PublishFinding]:
        known = ~np.isnan(seen.rate)
        self.minutes_judged += int(known.sum())
        below = known & (seen.rate < self._setup.budget)
        self._trends.note(np.arange(self._rows), minute, rarity(seen.rate, self._setup.budget))
        unix_ns = (minute + 1) * MINUTE_NS
        watched = [(node, of) for node, of in self._known.items() if below[of.row] or node in self._firing]
        for node, of in watched:
            of.quiet = 0 if below[of.row] else of.quiet + int(known[of.row])
            if below[of.row] and node not in self._firing:
                said = claim(seen, job, of.row, node, of.cards, of.job, self._setup.budget)
                yield from self._fire(node, Firing(replace(said, trend=self._trend(of.row, minute)), unix_ns))
            elif of.quiet >= QUIET_MINUTES:
                del self._firing[node]
                if self.live and node in self._heard:
                    yield from self._findings.resolve(_key(node), unix_ns)

    def _trend(self, row: int, minute: int) -> Trend:
        return trend(RARITY, self._trends.until(row, minute), -math.log10(self._setup.budget), (minute + 1) * MINUTE_NS)

    def _fire(self, node: str, firing: Firing) -> Iterator[PublishFinding]:
        self._firing[node] = firing
        if self.live:
            self.findings_fired += 1
            if node in self._heard:
                yield self._findings.fire(firing.claim, firing.since_ns)


def _key(node: str) -> Key:
    return node, "", NODE_UNLIKE_OTHERS


def _values(told: Summaries) -> NDArray[np.float32]:
    """(nodes, COLUMNS); what a newer detector tells beyond these is left out, what an older one does not is NaN."""
    cards = np.full((len(told.nodes), CARDS, len(READ_OF_CARDS)), np.nan, np.float32)
    hosts = np.full((len(told.nodes), len(OF_HOSTS)), np.nan, np.float32)
    for at, number in enumerate(told.card_metrics):
        if number in _CARD_PLACE:
            cards[:, :, _CARD_PLACE[number]] = told.cards[:, :, at]
    for at, number in enumerate(told.host_metrics):
        if number in _HOST_PLACE:
            hosts[:, _HOST_PLACE[number]] = told.hosts[:, at]
    return np.concatenate((cards.reshape(len(cards), CARDS * len(READ_OF_CARDS)), hosts), 1)
