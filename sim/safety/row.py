"""A site in virtual time: real limiters, real controllers, the network between them, and what truly is drawn; stops at the first broken word."""

from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np

from gpuwarden.controller.events import FindingArrived, ReportArrived
from gpuwarden.sim.safety.breakers import Breakers
from gpuwarden.sim.safety.cards import Cards
from gpuwarden.sim.safety.demand import Demand
from gpuwarden.sim.safety.head import Around, Head
from gpuwarden.sim.safety.leases import Leases
from gpuwarden.sim.safety.memory import Memory
from gpuwarden.sim.safety.network import Network
from gpuwarden.sim.safety.server import SET_S, Limits, Place, Server
from gpuwarden.sim.safety.silence import Outlook, Silence
from gpuwarden.sim.safety.site import USUAL, Site
from gpuwarden.sim.timeline import Timeline

RECONNECT_S: Final = 1.0
FINDING_S: Final = 20.0
CHECK_S: Final = 1.0  # about, between two questions of what would be if all fell silent
SETTLE_S: Final = 0.98  # that a card takes, at most: a class says 1 s of it
DIES_S: Final = 0.15  # if it has not done so much by then
RECOVERS_S: Final = 4.0
KNOWN_HUNG_S: Final = 2.5  # in contact, its controller has surely heard by then that its driver hangs


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


@dataclass(slots=True)
class Link:
    """A node's session."""

    head: Head
    session: int | None = None


class Row:
    """Runs when its timeline does. `excused`: nodes that a fault keeps from obeying, of which no more than are declared dead at a time."""

    def __init__(self, site: Site, pace: Pace, seed: int) -> None:
        self.site, self.pace, self.time = site, pace, Timeline()
        self.chance, numbers = Random(seed), np.random.default_rng(seed)
        self.cards = Cards(site.classes, SETTLE_S, numbers)
        self.demand = Demand(self.cards, numbers)
        self.breakers = Breakers(site.elements, numbers)
        self.silence = Silence(site)
        self.told = Told()
        self.lost = USUAL
        self.foreign = 1.0  # of the base load of limits
        self.findings = True
        self.excused = np.zeros(len(site.names), bool)
        self.troubled = set[int]()
        keys = {name: self.chance.randbytes(32) for name in site.names}
        self.network = Network(len(site.names), self.time, self.chance)
        place = Place(self.cards, self.time, self.chance, self._report, self._ordered)
        self.servers = [Server(n, i, c, keys[n], place) for i, (n, c) in enumerate(zip(site.names, site.classes, strict=True))]
        self.leases = Leases(self.servers, pace.read_s - 0.1)
        self._around = Around(site, keys, self.time, self.chance, self._grant)
        self.head = Head(self._around, "a", Memory())
        self.other = Head(self._around, "b", Memory())
        self.older_memory: Memory | None = None  # as it was before the last start
        self.links = [Link(self.head) for _ in site.names]
        self._floor_w = np.array([made.gpus * made.floor_w for made in site.classes])
        self._check_s = 0.0
        self._plan()

    def _plan(self) -> None:
        self.head.start()
        for server in self.servers:
            server.begin()
            self.time.every(self.pace.read_s, server.read, self.chance.uniform(0.0, self.pace.read_s))
            self.connect_soon(server.number)
        self.time.every(self.pace.step_s, self._advance)
        for head in (self.head, self.other):
            self.time.every(self.pace.tick_s, head.tick, self.chance.uniform(0.0, self.pace.tick_s))
        self.time.every(FINDING_S, self._finding)

    def _finding(self) -> None:
        if self.findings:
            self.head.hear(FindingArrived(b""))

    def _advance(self) -> None:
        now_s, seconds = self.time.now_s, self.pace.step_s
        self.demand.advance(now_s)
        self.cards.advance(now_s)
        bases_w = self.foreign * self.site.bases_w[self.lost]
        shares = self.site.shares[self.lost]
        if why := self.breakers.carry(bases_w + shares @ self.cards.draws_w(), seconds):
            self._broken(why)
        wanted_w = bases_w[-1] + float(shares[-1] @ self.cards.wanted_w())
        self.told.passed_s += seconds
        self.told.above_s += seconds if wanted_w > self.breakers.rating_w[-1] else 0.0
        if now_s >= self._check_s:
            self._check_s = now_s + self.chance.uniform(0.0, 2 * CHECK_S)
            self._check()

    def _broken(self, why: str) -> None:
        raise Broken(f"at {self.time.now_s:.2f} s {why}")

    def _check(self) -> None:
        self.told.checks += 1
        now_s = self.time.now_s
        limits_w = self.cards.sums(self.cards.limit_w)
        obedient = ~self.excused & ~self.cards.off & ~self.demand.parked
        for node in np.flatnonzero((limits_w > self._floor_w + 1.0) & obedient).tolist():
            if node not in self.troubled and (why := self.leases.held_too_long(node, float(limits_w[node]), now_s)):
                self._broken(why)
        if why := self.silence.broken(self.breakers, self.outlook(), self.lost):
            self._broken(why)

    def outlook(self) -> Outlook:
        now_s, count = self.time.now_s, len(self.servers)
        held_w = self.cards.sums(self.cards.held_w(now_s))
        ends_s, coming_w, coming_s, later_w, later_s = np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count)
        fresh = self.cards.fresh(now_s)
        current_w = np.maximum(self.cards.sums(self.cards.limit_w), self._floor_w)
        for node, server in enumerate(self.servers):
            slow_s = self.pace.read_s + SET_S[1] * self.site.classes[node].gpus + self.cards.settle_s
            setting_w = max((sum(limits_w) for limits_w in (server.setting, server.waiting) if limits_w is not None), default=0.0)
            fresh[node] |= setting_w > current_w[node]
            current_w[node] = max(current_w[node], setting_w)
            if self._hung_for_long(server):
                ends_s[node] = np.inf
            elif server.limiter is not None and server.limiter.lease is not None and not self.excused[node]:
                ends_s[node] = max(0.0, server.clock.true_s(server.limiter.lease.ends_s) - now_s) + slow_s
            if sent := self.leases.on_the_way(node, now_s):
                highest, latest = max(sent, key=lambda one: one.limit_w), max(sent, key=lambda one: one.ends_s)
                coming_w[node], coming_s[node] = highest.limit_w, highest.ends_s - now_s + slow_s
                later_w[node], later_s[node] = latest.limit_w, latest.ends_s - now_s + slow_s
                fresh[node] |= highest.limit_w > current_w[node]
        held_s = np.where(self.excused & np.isfinite(ends_s), 0.0, self.cards.settle_s)
        pieces = ((held_w, held_s), (current_w, ends_s), (coming_w, coming_s), (later_w, later_s))
        return Outlook(pieces, fresh & ~self.excused, self.cards.off | self.demand.parked)

    def _hung_for_long(self, server: Server) -> bool:
        return server.hung_since_s is not None and not self.excused[server.number]

    def _ordered(self, node: int, limits_w: Limits) -> None:
        if why := self.leases.ordered(node, limits_w, float(self._floor_w[node])):
            self._broken(why)

    def _report(self, node: int, sealed: bytes) -> None:
        link = self.links[node]
        if link.session is None:
            return
        self.told.reports += 1
        head, session = link.head, link.session
        self.network.carry(node, lambda message: head.hear(ReportArrived(session, message)), sealed)

    def _grant(self, node: int, head: Head, session: int, sealed: bytes) -> None:
        self.told.grants += 1
        self.leases.grant(node, sealed)
        self.network.carry(node, lambda message: self._hear(node, message), sealed)

    def _hear(self, node: int, sealed: bytes) -> None:
        self.servers[node].hear(sealed)
        if why := self.leases.heard(node, self.time.now_s):
            self._broken(why)

    def connect_soon(self, node: int) -> None:
        self.time.after(self.chance.uniform(0.0, RECONNECT_S), lambda: self._connect(node))

    def _connect(self, node: int) -> None:
        """An agent tries again and again."""
        link, way = self.links[node], self.network.ways[node]
        if link.session is not None:
            return
        if link.head.up and not way.cut and way.agent != "hung" and not self.cards.off[node]:
            link.session = link.head.open(node)
        else:
            self.connect_soon(node)

    def disconnect(self, node: int) -> None:
        """Its session has ended; it looks for another."""
        link = self.links[node]
        if link.session is not None:
            link.head.close(link.session)
            link.session = None
            self.connect_soon(node)

    def turn_to(self, node: int, head: Head) -> None:
        """From now on its agent looks for this controller."""
        self.disconnect(node)
        self.links[node].head = head

    def start_head(self) -> None:
        if not self.head.up:
            self.older_memory = self.head.memory.copy()
            self.head.start()

    def kill(self, after_actions: int) -> None:
        """Soon, if not at once."""
        self.head.kill(after_actions)
        if self.head.up:
            self.time.after(DIES_S, lambda: self._kill(self.head))
        else:
            self._orphans(self.head)

    def kill_other(self) -> None:
        self._kill(self.other)

    def _kill(self, head: Head) -> None:
        head.kill()
        self._orphans(head)

    def _orphans(self, head: Head) -> None:
        """Sessions end with the controller."""
        for node, link in enumerate(self.links):
            if link.head is head and link.session is not None:
                link.session = None
                self.connect_soon(node)

    def victim(self, dead: bool = False) -> int | None:
        """A node that nothing befalls now; `dead`: and that may stop obeying, since no limit has as many of those as were declared."""
        nodes = [node for node in range(len(self.servers)) if node not in self.troubled and (not dead or self._spare(node))]
        if not nodes:
            return None
        node = self.chance.choice(nodes)
        self.troubled.add(node)
        self.excused[node] |= dead
        return node

    def _spare(self, node: int) -> bool:
        under = (self.site.shares[USUAL] > 0) & self.excused
        spare = under.sum(axis=1) < np.array([one.dead_count for one in self.site.elements])
        return bool(spare[self.site.shares[USUAL][:, node] > 0].all())

    def recovers(self, node: int) -> None:
        """It obeys again, once limits have been read back, set anew and have settled."""
        self.time.after(RECOVERS_S + 2 * self.pace.read_s, lambda: self._recovered(node))

    def _recovered(self, node: int) -> None:
        self.excused[node] = False
        self.troubled.discard(node)

    def soon_known(self, node: int) -> None:
        """A node that does not obey is counted apart from the dead once its controller has surely heard."""
        def look() -> None:
            if self.servers[node].hung_since_s is not None and self._heard(node):
                self.excused[node] = False

        self.time.after(KNOWN_HUNG_S + 2 * self.pace.read_s, look)

    def _heard(self, node: int) -> bool:
        way, link, weather = self.network.ways[node], self.links[node], self.network.weather
        clear = not (way.cut or way.agent or weather.loss or weather.late_s)
        return clear and link.session is not None and link.head is self.head and self.head.answers and self.head.since_s < self.time.now_s - KNOWN_HUNG_S
