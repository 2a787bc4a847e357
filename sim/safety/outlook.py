"""What every node truly obeys now and may yet come to obey: drivers, limiters, and grants on the way. The question to `silence`."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from gpuwarden.sim.safety.cards import Cards
from gpuwarden.sim.safety.leases import Leases
from gpuwarden.sim.safety.server import SET_S, Server
from gpuwarden.sim.safety.silence import Flags, Outlook
from gpuwarden.sim.safety.site import Site, Values

CURRENT, HIGHEST, LATEST = range(3)  # what is in force or being set; of those on the way the highest, and the one that ends last
NEVER_S: Final = 0.0


class Lookout:
    """`read_s`: how often a limiter looks."""

    def __init__(self, site: Site, cards: Cards, servers: Sequence[Server], leases: Leases, read_s: float) -> None:
        self._cards, self._servers, self._leases = cards, servers, leases
        self._floor_w = np.array([made.gpus * made.floor_w for made in site.classes])
        # From the end of a lease until a card obeys the floor: a limiter looks, sets one card after another, and they settle.
        self._slow_s = [read_s + SET_S[1] * made.gpus + cards.settle_s for made in site.classes]

    def outlook(self, now_s: float, excused: Flags, idle: Flags) -> Outlook:
        """`excused` nodes are among the dead, who are counted apart; on `idle` ones nothing works."""
        limit_w, ends_s = np.zeros((3, len(self._servers))), np.full((3, len(self._servers)), NEVER_S)
        fresh = self._cards.fresh(now_s)
        limit_w[CURRENT] = np.maximum(self._cards.sums(self._cards.limit_w), self._floor_w)
        for node, server in enumerate(self._servers):
            fresh[node] |= self._setting(server, limit_w[CURRENT])
            if not excused[node]:
                ends_s[CURRENT, node] = self._ends_s(server, now_s)
            for row, sent in zip((HIGHEST, LATEST), self._coming(node, now_s), strict=False):
                limit_w[row, node], ends_s[row, node] = sent[0], sent[1] - now_s + self._slow_s[node]
                fresh[node] |= sent[0] > limit_w[CURRENT, node]
        held_s = np.where(excused, NEVER_S, self._cards.settle_s)
        pieces = ((self._cards.sums(self._cards.held_w(now_s)), held_s), *zip(limit_w, ends_s, strict=True))
        return Outlook(pieces, fresh & ~excused, idle)

    def _setting(self, server: Server, current_w: Values) -> bool:
        """Whether its driver is being told more than it has; that counts as if it had it."""
        setting_w = max((sum(limits_w) for limits_w in (server.setting, server.waiting) if limits_w is not None), default=0.0)
        more = setting_w > current_w[server.number]
        current_w[server.number] = max(current_w[server.number], setting_w)
        return bool(more)

    def _ends_s(self, server: Server, now_s: float) -> float:
        if server.hung_since_s is not None:
            return np.inf
        if server.limiter is None or server.limiter.lease is None:
            return NEVER_S
        return max(0.0, server.clock.true_s(server.limiter.lease.ends_s) - now_s) + self._slow_s[server.number]

    def _coming(self, node: int, now_s: float) -> list[tuple[float, float]]:
        sent = [(one.limit_w, one.ends_s) for one in self._leases.on_the_way(node, now_s)]
        return [max(sent), max(sent, key=lambda one: one[1])] if sent else []
