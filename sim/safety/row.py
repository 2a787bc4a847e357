"""A site in virtual time: real limiters, real controllers, the network between them, and what truly is drawn; stops at the first broken word.

Left out is what no grant rests on: telemetry, detector, web. Of Kafka a controller sees findings alone.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np

from gpuwarden.controller.events import FindingArrived, ReportArrived
from gpuwarden.sim.safety.breakers import Breakers
from gpuwarden.sim.safety.cards import Cards
from gpuwarden.sim.safety.demand import Demand
from gpuwarden.sim.safety.excuses import Excuses
from gpuwarden.sim.safety.head import Around, Head
from gpuwarden.sim.safety.leases import Leases
from gpuwarden.sim.safety.memory import Memory
from gpuwarden.sim.safety.network import Network
from gpuwarden.sim.safety.outlook import Lookout
from gpuwarden.sim.safety.restarts import Restarts
from gpuwarden.sim.safety.server import Limits, Place, Server
from gpuwarden.sim.safety.sessions import Sessions
from gpuwarden.sim.safety.silence import Silence
from gpuwarden.sim.safety.site import USUAL, Site
from gpuwarden.sim.safety.stage import Stage
from gpuwarden.sim.timeline import Timeline

FINDING_S: Final = 20.0
CHECK_S: Final = 1.0  # about, between two questions of what would be if all fell silent
SETTLE_S: Final = 0.98  # that a card takes, at most: a class says 1 s of it
HEARD_S: Final = 2.5  # in contact, a controller has surely heard by then that a driver hangs


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen, s. Limiters are late rather than early, the controller early rather than late."""

    name: str
    read_s: float
    tick_s: float
    step_s: float
    settle_s: float  # declared of a class: what a card takes, and how late a limiter may look


TEN_HZ: Final = Pace("10 Hz", 0.1, 0.1, 0.1, 1.0)
ONE_HZ: Final = Pace("1 Hz", 1.002, 0.999, 0.25, 2.5)


class Broken(Exception):
    """What must always hold did not."""


@dataclass(slots=True)
class Told:
    """Counted from the truth."""

    passed_s: float = 0.0
    above_s: float = 0.0
    grants: int = 0
    reports: int = 0
    checks: int = 0


class Row(Stage):
    """Runs when its timeline does. `head` is the controller; `other` one that should not be."""

    servers: list[Server]

    def __init__(self, site: Site, pace: Pace, seed: int) -> None:
        self.site, self.pace, self.time, self.read_s = site, pace, Timeline(), pace.read_s
        self.chance, numbers = Random(seed), np.random.default_rng(seed)
        self.cards = Cards(site.classes, SETTLE_S, numbers)
        self.demand = Demand(self.cards, numbers)
        self.breakers = Breakers(site.elements, numbers)
        self.silence, self.told = Silence(site), Told()
        self.excuses = Excuses(site, self.chance)
        self.lost = USUAL  # the contingency that has come
        self.foreign = 1.0  # share of the limits' base loads
        self.findings = True
        keys = {name: self.chance.randbytes(32) for name in site.names}
        self.network = Network(len(site.names), self.time, self.chance)
        place = Place(self.cards, self.time, self.chance, self._report, self._ordered)
        self.servers = [Server(n, i, c, keys[n], place) for i, (n, c) in enumerate(zip(site.names, site.classes, strict=True))]
        self.leases = Leases(self.servers, pace.read_s - TEN_HZ.read_s)
        self.restarts = Restarts(self.cards, self.servers, self.silence, self.breakers)
        self._lookout = Lookout(site, self.cards, self.servers, self.leases, pace.read_s)
        around = Around(site, keys, self.time, self.chance, self._grant)
        self.head, self.other = Head(around, "a", Memory()), Head(around, "b", Memory())
        self.sessions = Sessions(self.head, len(site.names), self.time, self.chance, self._reachable)
        self._floor_w = np.array([made.gpus * made.floor_w for made in site.classes])
        self._check_s = 0.0
        self._plan()

    def _plan(self) -> None:
        """What happens without anybody's order."""
        self.head.start()
        for server in self.servers:
            server.begin()
            self.time.every(self.pace.read_s, server.read, self.chance.uniform(0.0, self.pace.read_s))
        for head in (self.head, self.other):
            self.time.every(self.pace.tick_s, head.tick, self.chance.uniform(0.0, self.pace.tick_s))
        self.time.every(self.pace.step_s, self._advance)
        self.time.every(FINDING_S, self._finding)

    def _finding(self) -> None:
        if self.findings:
            self.head.hear(FindingArrived(b""))

    def _advance(self) -> None:
        now_s, seconds = self.time.now_s, self.pace.step_s
        self.demand.advance(now_s)
        self.cards.advance(now_s)
        bases_w, shares = self.foreign * self.site.bases_w[self.lost], self.site.shares[self.lost]
        self._must(self.breakers.carry(bases_w + shares @ self.cards.draws_w(), seconds))
        self.restarts.advance()
        self.told.passed_s += seconds
        if bases_w[-1] + float(shares[-1] @ self.cards.wanted_w()) > self.breakers.rating_w[-1]:
            self.told.above_s += seconds
        if now_s >= self._check_s:
            self._check_s = now_s + self.chance.uniform(0.0, 2 * CHECK_S)
            self._check(now_s)

    def _must(self, wrong: str) -> None:
        if wrong:
            raise Broken(f"at {self.time.now_s:.2f} s {wrong}")

    def _check(self, now_s: float) -> None:
        self.told.checks += 1
        idle = self.cards.off | self.demand.parked
        limits_w = self.cards.sums(self.cards.limit_w)
        for node in np.flatnonzero((limits_w > self._floor_w + 1.0) & ~idle).tolist():
            if node not in self.excuses.troubled:
                self._must(self.leases.held_too_long(node, float(limits_w[node]), now_s))
        outlook = self._lookout.outlook(now_s, self.excuses.excused, idle)
        self._must(self.silence.broken(self.breakers, outlook, self.lost))

    def _ordered(self, node: int, limits_w: Limits) -> None:
        self._must(self.leases.ordered(node, limits_w, float(self._floor_w[node])))
        self._must(self.restarts.ordered(node, sum(limits_w), self.time.now_s))

    def _report(self, node: int, sealed: bytes) -> None:
        link = self.sessions.links[node]
        if link.session is None:
            return
        self.told.reports += 1
        head, session = link.head, link.session
        self.network.carry(node, lambda message: head.hear(ReportArrived(session, message)), sealed)

    def _grant(self, node: int, sealed: bytes) -> None:
        self.told.grants += 1
        self.leases.grant(node, sealed)
        self.network.carry(node, lambda message: self._hear(node, message), sealed)

    def _hear(self, node: int, sealed: bytes) -> None:
        self.servers[node].hear(sealed)
        self._must(self.leases.heard(node, self.time.now_s))

    def _reachable(self, node: int) -> bool:
        way = self.network.ways[node]
        return not way.cut and way.agent != "hung" and not self.cards.off[node]

    def leases_left_s(self) -> float:
        """How long all of them run yet; 0 where something is amiss, or was lately."""
        well = self.head.answers and self.time.now_s - self.head.since_s > 3 * self.site.timing.lease_s and not self.excuses.troubled
        leases = [server.limiter.lease if server.limiter is not None else None for server in self.servers]
        if not well or any(lease is None for lease in leases):
            return 0.0
        ends_s = [server.clock.true_s(lease.ends_s) for server, lease in zip(self.servers, leases, strict=True) if lease is not None]
        return max(0.0, min(ends_s) - self.time.now_s)

    def soon_known(self, node: int) -> None:
        """A hung driver is counted apart from the dead once its controller has surely heard of it; not where even with all others at their
        floors there is no room for a dead node more, as in a rack of two: then it is the dead one, and its controller says so."""

        def look() -> None:
            if self.servers[node].hung_since_s is None or not self._heard(node):
                return
            limits_w = self._floor_w.copy()
            limits_w[node] = self.cards.sums(self.cards.limit_w)[node]
            self.excuses.excused[node] = not self.silence.stands(self.breakers.rating_w, limits_w)

        self.time.after(HEARD_S + 2 * self.pace.read_s, look)

    def _heard(self, node: int) -> bool:
        way, link, weather = self.network.ways[node], self.sessions.links[node], self.network.weather
        clear = not (way.cut or way.agent or weather.loss or weather.late_s)
        listening = self.head.answers and self.head.since_s < self.time.now_s - HEARD_S
        return clear and listening and link.session is not None and link.head is self.head
