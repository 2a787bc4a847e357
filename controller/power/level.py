"""The arithmetic of limits that share no node, side by side.

Arrays have one entry a node that hangs on them, limit after limit ("member"), or one a limit. Limits and powers of a node's GPUs are W.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, compress, groupby, pairwise
from typing import Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.breaker import SPIKE_S, Breakers, breakers_of, side_by_side
from gpuwarden.controller.power.topology import Branch

Watts: TypeAlias = NDArray[np.float64]
Seconds: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.intp]
S = TypeVar("S", bound=np.generic)

# A card may overshoot a new limit: 1.5 for less than 250 ms, 1.10 for up to a second.
SPIKE_RATIO = 1.5
SETTLING_RATIO, SETTLING_S = 1.10, 1.0
RAISED_RATIO: Final = ((SPIKE_RATIO**2 * SPIKE_S + SETTLING_RATIO**2 * (SETTLING_S - SPIKE_S)) / SETTLING_S) ** 0.5  # warms as much as that
OVERSHOTS: Final = np.array((SPIKE_RATIO, SETTLING_RATIO, RAISED_RATIO)) - 1.0
OVERSHOT_S: Final = np.array((SPIKE_S, SETTLING_S - SPIKE_S, SETTLING_S))
LAPSE_STEP_S: Final = 0.5  # lease ends are rounded up to this, so that a horizon has few phases
ROUNDING: Final = 1.0 + 1e-9  # of sums: a rating that is exactly what hangs on it carries that
FOREVER_S: Final = 1e6  # long enough that any load above the rating trips
FEW: Final = 1000  # members: of no more, numpy's calls are what costs, not its sums
PARTS: Final = 64  # of a level with so few, which are asked for again and again, and keep what they have reckoned of themselves


@dataclass(frozen=True, eq=False)
class Members:
    """What a limit sees of its nodes: `base_w` and `gain` (W drawn at worst for one W of limit) are its share of theirs."""

    base_w: Watts
    gain: Watts
    floor_w: Watts
    default_w: Watts

    def at(self, places: Places | Flags) -> "Members":
        return Members(self.base_w[places], self.gain[places], self.floor_w[places], self.default_w[places])


@dataclass(frozen=True, eq=False)
class Level:
    """`nodes`: each member's place in the domain; `counts`: members of each limit, none of them 0; `other_w`: what no node draws.

    `cases`: the contingency of each, or ""; `elements`: what stands it, in every case the same breaker or battery.
    """

    names: tuple[str, ...]
    elements: tuple[str, ...]
    nodes: Places
    counts: Places
    members: Members
    ratings_w: Watts
    other_w: Watts
    dead_counts: Places
    cases: tuple[str, ...]
    breakers: Breakers

    @cached_property
    def starts(self) -> Places:
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def usual(self) -> Flags:
        """Whether each is as it usually is, after no contingency."""
        return np.array([not case for case in self.cases])

    @cached_property
    def default_draws_w(self) -> Watts:
        return self.draws_w(self.members.default_w)

    def spread(self, of_limits: NDArray[S]) -> NDArray[S]:
        """To each member what its limit has; the last axis counts, as in the sums below."""
        return of_limits.repeat(self.counts, axis=-1)

    def under(self, limit: int) -> Places:
        """The nodes of one limit."""
        return self.nodes[self.starts[limit] : self.starts[limit] + self.counts[limit]]

    def sums(self, of_members: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each limit."""
        return np.add.reduceat(of_members, self.starts, axis=-1)

    def sums_before(self, of_members: NDArray[np.float64], order: NDArray[np.float64]) -> NDArray[np.float64]:
        """For each member the sum of those of its limit that come before it in this order."""
        sorted_to = np.lexsort((order, self.spread(np.arange(len(self.names)))))
        sums = np.cumsum(of_members[sorted_to]) - of_members[sorted_to]
        before = np.empty_like(sums)
        before[sorted_to] = sums - self.spread(sums[self.starts])
        return before

    def tallies(self, flags: Flags) -> Places:
        """How many members of each limit."""
        return np.add.reduceat(flags.astype(np.intp), self.starts)

    def draws_w(self, limits_w: Watts) -> Watts:
        """Worst steady draw of each member."""
        return self.members.base_w + self.members.gain * limits_w

    def totals_w(self, limits_w: Watts) -> Watts:
        """Worst steady draw of each limit, with the `dead_counts` members for which that is dearest at the driver's default."""
        return self._drawn_totals_w(self.draws_w(limits_w))

    def _drawn_totals_w(self, draws_w: Watts) -> Watts:
        return self.other_w + self.sums(draws_w) + self._dead_extra_w(draws_w)

    @cached_property
    def _floors_w(self) -> Watts:
        return self.totals_w(self.members.floor_w)

    def _dead_extra_w(self, draws_w: Watts) -> Watts:
        return self.dearest_w(np.maximum(self.default_draws_w - draws_w, 0.0))

    def least_w(self, limits_w: Watts) -> Watts:
        """The rating that each limit needs for these limits to stand for ever, with the overshoot of dead nodes that come up."""
        totals_w = self.totals_w(limits_w)
        return np.maximum(totals_w, (totals_w + self.dead_spike_w) / self.breakers.ceiling_ratio)

    @cached_property
    def dead_spike_w(self) -> Watts:
        """Of each limit, by how much nodes that nobody vouches for may overshoot the driver's default as they come up: too briefly to warm a breaker."""
        return self.dearest_w((SPIKE_RATIO - 1) * self.members.gain * self.members.default_w)

    def dearest_w(self, extra_w: Watts) -> Watts:
        """Of each limit, the sum of the largest `dead_counts` of its members."""
        if self._lone_dead is None:
            dead_w = np.zeros((*extra_w.shape[:-1], len(self.names)))
        else:
            dead_w = np.maximum.reduceat(extra_w, self.starts, axis=-1)
            if self._some_undying:
                dead_w *= self._lone_dead
        for limits, members, count, dead in self._many_dead:
            own_w = extra_w[..., members].reshape(*extra_w.shape[:-1], -1, count)
            own_w.partition(-dead, axis=-1)
            dead_w[..., limits] = np.add.reduce(own_w[..., -dead:], axis=-1)
        return dead_w

    @cached_property
    def _lone_dead(self) -> Flags | None:
        """Limits with one dead node, of which the dearest is quickly found; None if there is no such limit."""
        lone = self.dead_counts == 1
        return lone if lone.any() else None

    @cached_property
    def _some_undying(self) -> bool:
        return bool((self.dead_counts == 0).any())

    @cached_property
    def _many_dead(self) -> list[tuple[slice, slice, int, int]]:
        """(limits, their members, members of each, dead of each) where more than one is dead: neighbours of one size are reckoned at once."""
        runs, first = list[tuple[slice, slice, int, int]](), 0
        sizes = zip(self.counts.tolist(), self.dead_counts.tolist(), strict=True)
        for (count, dead), alike in groupby(sizes):
            limits = len(list(alike))
            if dead > 1:
                start = int(self.starts[first])
                runs.append((slice(first, first + limits), slice(start, start + limits * count), count, dead))
            first += limits
        return runs

    def carries(
        self, ratings_w: Watts, heat: NDArray[np.float64], limits_w: Watts, held_s: Seconds, fresh: Flags, unpaid: Watts | None = None,
        spare: float = 0.0,
    ) -> Flags:
        """Whether each limit holds if every message is lost from now on; one that only leases take beyond its rating with `spare` of its trip left.

        Each node draws the worst of its limit for `held_s` (inf: for ever) and of its floor from then on; `fresh` nodes
        may overshoot first, of which `unpaid` is the share that the heat does not have yet; all of it by default. Draws only fall along the way, so
        a limit that fits at the start fits for ever. `limits_w`, `fresh` and `unpaid` may have an axis before the members': so many questions at once.
        """
        raised_w = self.members.gain * limits_w
        now_w = self._drawn_totals_w(self.members.base_w + raised_w)
        spike_w = now_w + (SPIKE_RATIO - 1) * self.sums(np.where(fresh, raised_w, 0.0))
        ratings_w = ratings_w * ROUNDING
        may = spike_w + self.dead_spike_w <= self.breakers.ceiling_ratio * ratings_w
        fits = may & (spike_w <= ratings_w) & (heat < self.breakers.trip_heat)
        may &= ~fits
        if not np.count_nonzero(may):  # in a tenth of the time of `any`
            return fits
        unpaid_w = self.sums((fresh if unpaid is None else unpaid) * raised_w)
        if len(self.nodes) <= FEW:
            return fits | (may & self._outlasts(ratings_w, heat, (now_w, unpaid_w), limits_w, held_s, spare))
        chosen: Flags = np.logical_or.reduce(may.reshape(-1, len(self.names)), axis=0)
        part, places = self.only(chosen), self.spread(chosen)
        parts_w = (now_w[..., chosen], unpaid_w[..., chosen])
        fits[..., chosen] |= may[..., chosen] & part._outlasts(ratings_w[chosen], heat[chosen], parts_w, limits_w[..., places], held_s[places], spare)
        return fits

    def _outlasts(
        self, ratings_w: Watts, heat: NDArray[np.float64], loads_w: tuple[Watts, Watts], limits_w: Watts, held_s: Seconds, spare: float,
    ) -> Flags:
        """Whether each limit's heat stays below its trip. `loads_w`: of all, and of it what is raised and has yet to overshoot."""
        now_w, unpaid_w = loads_w
        heat = self._overshot_heat(ratings_w, heat, now_w, unpaid_w)
        if np.count_nonzero(lapsing := now_w > ratings_w):
            lapse_w, lapse_s = self.lapse_w(now_w, limits_w, held_s)
            heat = self.breakers.peak(heat, lapse_w / ratings_w, np.array(lapse_s)) + spare * np.where(lapsing, self.breakers.unknown, 0.0)
        outlasts: Flags = heat < self.breakers.trip_heat
        return outlasts

    def _overshot_heat(self, ratings_w: Watts, heat: NDArray[np.float64], now_w: Watts, unpaid_w: Watts) -> NDArray[np.float64]:
        """After all raised cards have overshot, on top of the leases: more than what can be. The larger of what they declare, and of what is counted of
        it once it has come to pass (`RAISED_RATIO`)."""
        loads_w = now_w + OVERSHOTS.reshape(-1, *[1] * now_w.ndim) * unpaid_w
        spike, settling, counted = self.breakers.gained(loads_w / ratings_w, OVERSHOT_S)
        higher: NDArray[np.float64] = np.maximum(heat + spike + settling, heat + counted)
        return higher

    def overshoot_heat(self, ratings_w: Watts, limits_w: Watts, unpaid: Watts) -> NDArray[np.float64]:
        """By what raised nodes that have yet to overshoot warm each limit at most, on top of what all of them draw at worst."""
        cold = np.zeros(len(self.names))
        if not np.count_nonzero(unpaid):
            return cold
        now_w, unpaid_w = self.totals_w(limits_w), self.sums(unpaid * self.members.gain * limits_w)
        return self._overshot_heat(ratings_w, cold, now_w, unpaid_w) - self._overshot_heat(ratings_w, cold, now_w, cold)

    def lapse_w(self, now_w: Watts, limits_w: Watts, held_s: Seconds) -> tuple[Watts, list[float]]:
        """(loads of each limit, seconds) while the leases end one after another, along the first axis; endless at last, should floors not fit. `now_w`:
        while all of them run."""
        ends_s = np.ceil(held_s / LAPSE_STEP_S) * LAPSE_STEP_S
        ends = set(ends_s.tolist())
        if len(ends) == 1 and 0.0 < (end_s := max(ends)) < math.inf:  # all at once, as is usual
            loads_w = np.empty((2, *now_w.shape))
            loads_w[0], loads_w[1] = now_w, self._floors_w
            return loads_w, [min(end_s, FOREVER_S), FOREVER_S]
        until_s = sorted({0.0, *ends})
        runs = ends_s >= np.array([*until_s[1:], np.inf]).reshape(-1, *[1] * limits_w.ndim)
        lapsing_w = np.minimum(limits_w, np.where(runs, np.inf, self.members.floor_w))
        np.copyto(lapsing_w[-1], self.members.floor_w, where=~runs[-1])
        seconds = [min(end_s, FOREVER_S) - past_s for past_s, end_s in pairwise(until_s)]
        return self.totals_w(lapsing_w), [*seconds, FOREVER_S]

    def only(self, chosen: Flags) -> "Level":
        """Some of its limits."""
        if chosen.all():
            return self
        if len(self.nodes) > FEW:
            return self._only(chosen)
        if (part := self._parts.get(which := chosen.tobytes())) is None:
            if len(self._parts) >= PARTS:
                self._parts.clear()
            part = self._parts[which] = self._only(chosen)
        return part

    @cached_property
    def _parts(self) -> dict[bytes, "Level"]:
        return {}

    def _only(self, chosen: Flags) -> "Level":
        places = self.spread(chosen)
        names, elements, cases = (tuple(compress(values, chosen.tolist())) for values in (self.names, self.elements, self.cases))
        return Level(
            names, elements, self.nodes[places], self.counts[chosen],
            self.members.at(places), self.ratings_w[chosen], self.other_w[chosen], self.dead_counts[chosen], cases, self.breakers.only(chosen),
        )


def joined(levels: Sequence[Level]) -> Level:
    """All their limits side by side, which may share nodes then: what is asked of all of them is asked once."""
    if len(levels) == 1:
        return levels[0]
    names, elements, cases = (tuple(chain.from_iterable(getattr(level, name) for level in levels)) for name in ("names", "elements", "cases"))
    nodes, counts, dead_counts = (np.concatenate([getattr(level, name) for level in levels]) for name in ("nodes", "counts", "dead_counts"))
    ratings_w, other_w = (np.concatenate([getattr(level, name) for level in levels]) for name in ("ratings_w", "other_w"))
    members = Members(*(np.concatenate([getattr(level.members, name) for level in levels]) for name in ("base_w", "gain", "floor_w", "default_w")))
    return Level(names, elements, nodes, counts, members, ratings_w, other_w, dead_counts, cases, side_by_side([level.breakers for level in levels]))


def level_of(branches: Sequence[Branch], nodes: Members) -> Level:
    """`nodes` of the whole domain. The branches share none."""
    places = [np.flatnonzero(branch.shares) for branch in branches]
    members, shares = np.concatenate(places), np.concatenate([branch.shares[at] for branch, at in zip(branches, places, strict=True)])
    seen = nodes.at(members)
    return Level(
        tuple(branch.name for branch in branches), tuple(branch.limit.name for branch in branches), members, np.array([len(at) for at in places]),
        Members(shares * seen.base_w, shares * seen.gain, seen.floor_w, seen.default_w),
        np.array([branch.limit.rating_w for branch in branches]), np.array([branch.other_w for branch in branches]),
np.array([branch.dead_count for branch in branches]),
        tuple(branch.case for branch in branches),
        breakers_of([branch.limit for branch in branches]),
    )
