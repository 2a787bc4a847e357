"""A domain's policy at work: from the smallest limits up, each level gets what those below it leave."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gpuwarden.controller.policies import POLICIES
from gpuwarden.controller.policies.policy import Policy
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.allocator import NOBODY
from gpuwarden.controller.power.learnt_kept import LimitLearnt, kept, recalled
from gpuwarden.controller.power.least import Least
from gpuwarden.controller.power.level import LAPSE_STEP_S, ROUNDING, SETTLING_S, Flags, Places, Watts
from gpuwarden.controller.power.loads import Loads
from gpuwarden.controller.power.ranks import Ranks
from gpuwarden.controller.power.staggering import staggered

HOT, COOL = 0.5, 0.1  # shares of the way to a trip


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a domain's nodes at one decision, as of `RowView`; one entry a node."""

    drawn_w: Watts
    power_w: Watts
    limit_w: Watts
    rise_w: Watts
    lag_s: float
    obeyed: bool
    granted_w: Watts  # limit of the newest grant
    lockable: Flags
    fresh: Flags  # raised within the last second


@dataclass
class Wishing:
    """Mutable: the policy's state for each level of limits, and how many decisions there were. Chance comes from the domain's name and that number."""

    domain: str
    name: str
    ranks: Ranks
    ramp_w_per_s: float
    lapse_s: float  # lease and settling of a new grant
    least: Least
    remembered: Mapping[str, LimitLearnt] = field(default_factory=dict)  # by limit
    states: dict[int, Any] = field(default_factory=dict)
    hot: Flags | None = None  # limits that are too warm for more than their rating, in the order of `Tree.limit_names`
    turn: int = 0
    clocks: Watts = field(default_factory=lambda: np.ones(0))  # share of its highest clock that each node may run at
    locked_by: Places = field(default_factory=lambda: np.zeros(0, np.intp))  # the limit for whose sake

    @cached_property
    def policy(self) -> Policy[Any]:
        return POLICIES[self.name]

    @cached_property
    def _seed(self) -> int:
        return zlib.crc32(self.domain.encode())

    def wishes(self, now_s: float, loads: Loads, seen: Seen) -> tuple[Watts, Places]:
        """W of GPU limits, and which limit left each node the least, as a place in `Tree.limit_names`; one entry a node. Sets the two below."""
        self.turn += 1
        nodes = len(loads.tree.names)
        self.clocks, self.locked_by = np.ones(nodes), np.full(nodes, NOBODY)
        most_w, first, whole, ratings_w = loads.tree.default_w.copy(), 0, loads.tree.whole, loads.ratings_w
        bound_by, bears_w = np.full(len(most_w), NOBODY), self._bears_w(loads)
        could_be_tight = loads.tree.apart(whole.totals_w(most_w[whole.nodes]) > np.concatenate(ratings_w) * ROUNDING)
        for number, level in enumerate(loads.tree.levels):
            tight = could_be_tight[number]
            if self.policy.stateful:
                tight = np.ones(len(tight), bool)
            elif np.count_nonzero(tight):
                tight = level.totals_w(most_w[level.nodes]) > ratings_w[number] * ROUNDING
            if np.count_nonzero(tight):
                view = self._view(loads, number, ratings_w[number], tight, most_w, seen, bears_w[number])
                of, limits = view.level.nodes, view.level.spread(first + tight.nonzero()[0])
                wished_w = self._wished(now_s, number, view)
                bound_by[of] = np.where(wished_w < most_w[of], limits, bound_by[of])
                most_w[of] = wished_w
                if (clocks := self.policy.locks(self.states[number])) is not None:
                    self.locked_by[of] = np.where(clocks < self.clocks[of], limits, self.locked_by[of])
                    self.clocks[of] = np.minimum(self.clocks[of], clocks)
            first += len(level.names)
        return (self._staggered(loads, seen, most_w) if self.policy.dense else most_w), bound_by

    def why(self, loads: Loads, limit: int) -> str:
        """What the policy did under a limit of `Tree.limit_names` and why."""
        number, place = loads.tree.places[limit]
        state = self.states.get(number)
        return self.policy.why(state, place) if state is not None or not self.policy.stateful else self.name

    def _staggered(self, loads: Loads, seen: Seen, wishes_w: Watts) -> Watts:
        """High priorities first, and in one of them by chance."""
        order = np.random.default_rng((self._seed, self.turn)).random(len(wishes_w)) - self.ranks.priority
        return staggered(loads.tree, loads.ratings_w, seen.granted_w, seen.fresh, wishes_w, order)

    def _wished(self, now_s: float, number: int, view: RowView) -> Watts:
        if number not in self.states:
            self.states[number] = self._begun(now_s, view)
        self.states[number], wished_w = self.policy.wishes(self.states[number], now_s, view, (self._seed, self.turn, number))
        return wished_w

    def _begun(self, now_s: float, view: RowView) -> Any:
        state = self.policy.begin(now_s, view)
        if (learnt := self.policy.learnt(state)) is None:
            return state
        return self.policy.resumed(state, recalled(self.remembered, self.name, view.level.names, view.ratings_w, learnt.shape[1]))

    def learnt(self, loads: Loads) -> Iterator[LimitLearnt]:
        """Of every limit, as it is now."""
        for number, state in self.states.items():
            if (rows := self.policy.learnt(state)) is not None:
                yield from kept(self.domain, self.name, loads.tree.levels[number].names, loads.ratings_w[number], rows)

    def _view(self, loads: Loads, number: int, ratings_w: Watts, chosen: Flags, most_w: Watts, seen: Seen, bears_w: Watts) -> RowView:
        level = loads.tree.levels[number].only(chosen)
        of = level.nodes
        return RowView(
            level, ratings_w[chosen], most_w[of], seen.drawn_w[of], seen.power_w[of], seen.limit_w[of], seen.rise_w[of],
            load_w=loads.likely_w[number][chosen], bears_w=bears_w[chosen],
            least_w=self.least.watts[of], priority=self.ranks.priority[of], training=self.ranks.training[of], lockable=seen.lockable[of], lag_s=seen.lag_s, obeyed=seen.obeyed,
            ramp_w_per_s=self.ramp_w_per_s,
        )

    def _bears_w(self, loads: Loads) -> list[Watts]:
        """What each limit stands for one lease, one array a level; its rating where the policy goes no further than that.

        Once half way to its trip, the rating until it is cool: a bound that cools along would move all its nodes at every decision.
        """
        if not self.policy.dense:
            return loads.ratings_w
        breakers, heat = loads.tree.whole.breakers, np.concatenate(loads.heats)
        warmth, bears = np.nan_to_num(heat / breakers.trip_heat), breakers.bears(heat, self.lapse_s + SETTLING_S + LAPSE_STEP_S)
        warm = warmth > COOL
        self.hot = (warmth > HOT) | (warm & (warm if self.hot is None else self.hot))
        return loads.tree.apart(np.concatenate(loads.ratings_w) * np.where(self.hot, np.minimum(bears, 1.0), bears))
