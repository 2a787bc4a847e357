"""What one node must be counted at: the worst limit that it may be obeying, and until when.

Rules in this order (watts are the sum over the node's GPUs):
1. not ours, not in auto, never heard of, or told to leave auto: the driver's default, for ever;
2. just come up or driver reloaded: the driver's default, until the limiter reads back less and has settled;
3. in contact: the highest grant still outstanding, until the limiter reads back a lower limit and has settled;
4. silent: the same, until the lease has surely ended and settled; the floor from then on.
Only the limiter's sealed word counts. Times are the controller's monotonic clock.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from gpuwarden.controller.power.columns import Column, Numbers, beginnings
from gpuwarden.controller.power.level import Places
from gpuwarden.proto.lease_pb2 import MODE_AUTO, PowerReport

DRIFT = 1.001  # the limiter's clock may run this much slower than ours


class Outstanding(NamedTuple):
    """A grant that the limiter may be obeying now, or may yet receive. A tuple, since thousands are made in a decision."""

    sequence: int
    limit_w: float
    ends_s: float


@dataclass(frozen=True, slots=True)
class Release:
    """A grant that takes the node out of auto. `ends_stamp_s` is of the limiter's clock: from then on it refuses the grant."""

    sequence: int
    ends_stamp_s: float


@dataclass(slots=True)
class Exposure:
    """The record of one node. `counted` is the question; everything else is told."""

    floor_w: float
    default_w: float
    settle_s: float
    grants: list[Outstanding] = field(default_factory=list)
    limiter_start: str = ""
    driver_loads: int = -1
    known: bool = False  # the limiter has read back limits that it stands for, since we and it are up
    excess_w: float = 0.0  # enforced now beyond what any grant explains
    stuck: bool = False  # in contact, but its driver confirms nothing: a grant may have arrived and never leave
    release: Release | None = None  # the newest; it may have been obeyed, or may yet be
    row: Numbers = field(default_factory=lambda: beginnings(Exposure, 1)[:, 0])

    worst_w = Column(0, math.nan)  # as `look` last found it
    worst_ends_s = Column(1, math.nan)
    look_s = Column(2, -math.inf)  # when to look again: a grant ends then, and whatever else changes the worst sets this back

    def counted(self, now_s: float) -> tuple[float, float]:
        """(limit in W, seconds from now until it has surely fallen to the floor; inf: for ever)."""
        if now_s >= self.look_s:
            self.look(now_s)
        return self.worst_w, self.worst_ends_s - now_s if self.worst_ends_s > now_s else 0.0

    def look(self, now_s: float) -> None:
        """Finds the worst limit, and when it ends. Whoever asks for thousands at once looks where `look_s` says so, and reads."""
        self.worst_w, self.worst_ends_s, self.look_s = self.found(now_s)

    def found(self, now_s: float) -> tuple[float, float, float]:
        """What the three columns are to be now, in their order."""
        if self.known and not self.stuck:
            self.grants = [g for g in self.grants if g.ends_s > now_s]
        limit_w, first_s, last_s = max(self.floor_w, self.excess_w), math.inf, -math.inf
        if self.grants:
            _, limits_w, ends_s = zip(*self.grants, strict=True)
            limit_w, first_s, last_s = max(limit_w, *limits_w), min(ends_s), max(ends_s)
        if not self.known:
            limit_w = self.default_w
        if not self.known or self.stuck or self.excess_w > 0:
            last_s = math.inf
        return limit_w, last_s, first_s

    def released(self, sequence: int, echo_stamp_s: float, lease_s: float) -> None:
        """A grant that takes the node out of auto is about to leave. Obeyed once, it outlasts its lease: only a report takes it back."""
        self.release, self.known = Release(sequence, echo_stamp_s + lease_s), False
        self.look_s = -math.inf

    def reported(self, now_s: float, report: PowerReport, epoch: int) -> None:
        """A fresh, sealed report of this node."""
        self.look_s = -math.inf
        if report.limiter_start != self.limiter_start or report.driver_loads != self.driver_loads:
            self._came_up(report)
        enforced_w = math.fsum(card.enforced_w for card in report.cards)
        confirmed = report.HasField("confirmed_for_s") and math.isfinite(enforced_w)
        self.stuck = report.driver_hung and not confirmed
        if report.mode != MODE_AUTO or self._may_be_released(report, epoch):
            self.known = False
        elif confirmed and report.confirmed_for_s >= self.settle_s:
            self._confirmed(now_s, report, enforced_w, epoch)
        elif not confirmed and self.known:
            self.excess_w = self._unexplained_w(enforced_w)

    def _came_up(self, report: PowerReport) -> None:
        """Nothing is known of it. Grants that we gave go on counting until they end: a reloaded driver's limiter may yet obey one,
        and who carries reports may have kept back one of an earlier start."""
        self.known, self.excess_w, self.stuck = False, 0.0, False
        if self.release is not None and report.limiter_start != self.limiter_start:  # its clock is another: no stamp ends the word
            self.release = replace(self.release, ends_stamp_s=math.inf)
        self.limiter_start, self.driver_loads = report.limiter_start, report.driver_loads

    def _may_be_released(self, report: PowerReport, epoch: int) -> bool:
        """In auto as it says, but it may yet obey our word to leave, and who carries that may keep the next report from us."""
        if self.release is None:
            return False
        obeys_ours = report.HasField("grant") and report.grant.epoch == epoch
        if report.stamp_s >= self.release.ends_stamp_s or (obeys_ours and report.grant.sequence > self.release.sequence):
            self.release = None
        return self.release is not None

    def _confirmed(self, now_s: float, report: PowerReport, enforced_w: float, epoch: int) -> None:
        """Limits have been as the limiter wants them for long enough: what it can no longer obey is forgotten."""
        ours = report.grant.epoch == epoch
        if not self.known and report.HasField("grant") and not ours:  # from before our time: it runs until it ends
            ends_s = now_s + report.grant.ends_in_s * DRIFT + self.settle_s
            self.grants.append(Outstanding(0, math.fsum(report.grant.limits_w), ends_s))
        self.known = True
        if report.HasField("grant") and ours:
            self.grants = [g for g in self.grants if g.sequence >= report.grant.sequence]
        self.excess_w = self._unexplained_w(enforced_w)

    def _unexplained_w(self, enforced_w: float) -> float:
        """0 if what is enforced is at most the floor or some grant; else that, or the default if nobody can tell."""
        if not math.isfinite(enforced_w):
            return self.default_w if not self.grants else 0.0
        explained_w = max([self.floor_w, *(g.limit_w for g in self.grants)])
        return enforced_w if enforced_w > explained_w + 1.0 else 0.0


def surely_ended_s(received_s: Numbers, lease_s: float, settle_s: Numbers) -> Numbers:
    """When grants that answer these reports are obeyed no longer: a lease starts at the echoed stamp, which is before we received that report."""
    return received_s + lease_s * DRIFT + settle_s


def grant(exposures: Sequence[Exposure], rows: Numbers, places: Places, sequences: Sequence[int], limits_w: Numbers, ends_s: Numbers) -> None:
    """Grants are about to leave, for nodes at these places of `rows`; everything has one entry for each. Unless something else asks for a look, the
    columns know already what it would find: the worst is at least what is granted, and what the new grant covers alone is not missed."""
    for exposure, sequence, limit_w, end_s in zip(exposures, sequences, limits_w.tolist(), ends_s.tolist(), strict=True):
        exposure.grants = [g for g in exposure.grants if g.limit_w > limit_w or g.ends_s > end_s]  # the rest is covered by the new one
        exposure.grants.append(Outstanding(sequence, limit_w, end_s))
    for column, of_two, values in ((Exposure.worst_w, np.maximum, limits_w), (Exposure.worst_ends_s, np.maximum, ends_s), (Exposure.look_s, np.minimum, ends_s)):
        rows[column.place, places] = of_two(rows[column.place, places], values)
