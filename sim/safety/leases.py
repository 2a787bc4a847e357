"""Every grant that any controller ever sent, and what each node may therefore still obey: judged without asking limiter or controller."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpuwarden.proto.lease_pb2 import Grant, Sealed
from gpuwarden.sim.safety.server import Limits, Server

KEPT: Final = 200
SAME_W: Final = 0.5
CLOCK_S: Final = 0.05  # a clock that changes its rate, over a lease
FLOOR_S: Final = 1.0  # within it after the end of its lease a node is at its floor (ARCHITECTURE: what happens when)


@dataclass(frozen=True, slots=True)
class Sent:
    """Limits are W of the whole node; `ends_s` in true time, by the clock of the limiter start that it answers."""

    limit_w: float
    ends_s: float
    start: str
    controller: str
    order: tuple[int, int]
    stamp_s: float  # of the report that it answers, on the limiter's clock


class Leases:
    """`late_s`: how much later than ten times a second a limiter looks."""

    def __init__(self, servers: Sequence[Server], late_s: float) -> None:
        self._servers, self._late_s = servers, late_s
        self.sent = [deque[Sent](maxlen=KEPT) for _ in servers]
        self._running: list[list[Sent]] = [[] for _ in servers]  # of these, in order, what has yet to end
        self.obeyed: list[Sent | None] = [None] * len(servers)

    def grant(self, node: int, sealed: bytes) -> Sent:
        """One was sent just now."""
        grant = Grant.FromString(Sealed.FromString(sealed).payload)
        ends_s = self._servers[node].clock.true_s(grant.echo_stamp_s + grant.lease_s)
        made = Sent(sum(grant.limits_w), ends_s, grant.echo_limiter_start, grant.controller_id, (grant.epoch, grant.sequence), grant.echo_stamp_s)
        self.sent[node].append(made)
        self._running[node].append(made)
        return made

    def heard(self, node: int, now_s: float) -> str:
        """A limiter has been told something: what is wrong with the lease that it has now, or ''."""
        sent, last, server = self._in_force(node), self.obeyed[node], self._servers[node]
        if sent is None:
            return f"{server.name} obeys what nobody granted" if server.limiter is not None and server.limiter.lease is not None else ""
        self.obeyed[node] = sent
        if sent is last:
            return ""
        if sent.ends_s + CLOCK_S < now_s:
            return f"{server.name} takes a grant {now_s - sent.ends_s:.2f} s after its lease has ended"
        if last is None or last.start != sent.start:
            return ""
        if sent.order < last.order:
            return f"{server.name} obeys grant {sent.order} after {last.order}"
        if sent.controller != last.controller and now_s < last.ends_s - CLOCK_S:
            return f"{server.name} obeys {sent.controller} while a lease of {last.controller} runs"
        return ""

    def ordered(self, node: int, limits_w: Limits, floor_w: float) -> str:
        """A limiter orders its driver to set this: what is wrong with that, or ''."""
        limit_w, sent = sum(limits_w), self._in_force(node)
        if limit_w <= floor_w + SAME_W or (sent is not None and limit_w <= sent.limit_w + SAME_W):
            return ""
        return f"{self._servers[node].name} sets {limit_w:.0f} W, which its grant does not allow"

    def _in_force(self, node: int) -> Sent | None:
        """The grant that a limiter last obeyed, as it was sent; None if it was not."""
        limiter = self._servers[node].limiter
        if limiter is None or limiter.lease is None:
            return None
        grant = limiter.lease.grant
        order, start = (grant.epoch, grant.sequence), self._servers[node].start
        of_it = (s for s in reversed(self.sent[node]) if s.order == order and s.controller == grant.controller_id and s.start == start)
        return next(of_it, None)

    def still_s(self, node: int, limit_w: float) -> float:
        """Until when any grant sent allows this limit, true time."""
        start = self._servers[node].start
        allowing = [sent.ends_s for sent in self.sent[node] if sent.limit_w >= limit_w - SAME_W and sent.start == start]
        return max(allowing, default=float("-inf"))

    def held_too_long(self, node: int, limit_w: float, now_s: float) -> str:
        """What is wrong with a limit above the floor in an obedient node's driver, or ''."""
        start = self._servers[node].start
        if any(sent.limit_w >= limit_w - SAME_W and sent.start == start for sent in self._yet_to_end(node, now_s)):
            return ""
        past_s = now_s - self.still_s(node, limit_w)
        if past_s > FLOOR_S + self._late_s + CLOCK_S:
            return f"{self._servers[node].name} is at {limit_w:.0f} W, {past_s:.2f} s after the last lease that allowed it"
        return ""

    def on_the_way(self, node: int, now_s: float) -> list[Sent]:
        """Grants that may yet arrive and be obeyed. Who has gone to its floor obeys none that was given by one who had not heard of that."""
        server = self._servers[node]
        if server.limiter is None:
            return []
        lease, newest, since_s = server.limiter.lease, (0, 0), 0.0
        if lease is not None:
            newest = lease.grant.epoch, lease.grant.sequence
            since_s = lease.ends_s if server.clock.local_s(now_s) >= lease.ends_s else 0.0
        mine = (sent for sent in self._yet_to_end(node, now_s) if sent.start == server.start)
        return [sent for sent in mine if sent.order > newest and sent.stamp_s >= since_s]

    def _yet_to_end(self, node: int, now_s: float) -> list[Sent]:
        running = self._running[node] = [sent for sent in self._running[node] if sent.ends_s > now_s]
        return running
