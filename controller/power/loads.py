"""What a domain's limits carry now, and how warm they are."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gpuwarden.controller.power.breaker import Values
from gpuwarden.controller.power.level import Flags, Watts
from gpuwarden.controller.power.limit_heat import Found, Granted, HeatKept, LimitHeat
from gpuwarden.controller.power.tree import Tree


@dataclass(frozen=True, slots=True)
class Unseen:
    """What no reading shows, and heat must count. `overshot_w`: of each node's GPUs, beyond what they draw; `silent`: of these any that may be dead
    warms its limits by the driver's default. `since_s`: how long ago somebody else last granted, since when nobody draws more than is told; inf: nobody
    knows, None: we did."""

    overshot_w: Watts
    silent: Flags
    since_s: float | None = None


def ratings_w(tree: Tree, budget_w: float) -> list[Watts]:
    """An array for each level. The domain's own limit carries its budget."""
    return [*(level.ratings_w for level in tree.levels[:-1]), np.array([budget_w])]


@dataclass(slots=True)
class Loads:
    """`ratings_w`, `heats`, `measured_w`: an array for each level of the tree, one entry a limit. A limit is named by its place in `Tree.limit_names`."""

    tree: Tree
    budget_w: float
    found: Found
    kept: HeatKept
    ratings_w: list[Watts] = field(init=False)
    heats: list[Values] = field(init=False)
    measured_w: list[Watts] = field(default_factory=list)
    """Upper estimates; nothing before the first measurement."""
    likely_w: list[Watts] = field(default_factory=list)
    """As well as is known: what sensors show now, foreign load included, without what meters show that they overstate. A meter's own reading is
    seconds old: of the two the larger would be the peak of these seconds. For policies."""
    measured_s: float | None = None
    bare: Tree = field(init=False)
    """Without foreign load."""

    def __post_init__(self) -> None:
        self.bare, self.heats = self.tree, self.tree.apart(self.found.lapsed_heat)
        self.ratings_w = ratings_w(self.tree, self.budget_w)

    def carry(self, more_w: Sequence[Watts], gain: Watts) -> None:
        """So much on each limit that neither nodes nor the declared base draw, one array a level; and `gain` watts of each node for one of limit."""
        if not np.array_equal(gain, self.bare.members.gain):
            self.bare = self.bare.drawing(gain)
        self.tree = self.bare.carrying(more_w)

    def measure(self, now_s: float, gpus_w: Watts, shown_w: Sequence[Watts] = (), overstated_w: Sequence[Watts] = (), unseen: Unseen | None = None) -> None:
        """`gpus_w`: what each node's GPUs draw, at most. `shown_w`: what meters show, one array a level; of the two the larger counts. `overstated_w`, the same: by how much sensors exceed it.

        A limit as it is after a contingency is warmed by what it would carry, so that it may come at any moment, and unseen; and it
        is never cooler than the same limit as things are.
        """
        passed_s = 0.0 if self.measured_s is None else now_s - self.measured_s
        whole = self.tree.whole
        sensed_w = whole.other_w + whole.sums(whole.draws_w(gpus_w[whole.nodes]))
        metered_w = np.concatenate(shown_w) if shown_w else np.zeros(len(sensed_w))
        drawn_w = np.maximum(sensed_w, metered_w)
        warming_w = drawn_w if unseen is None else np.maximum(sensed_w + self._unseen_w(gpus_w, unseen), metered_w)
        load_ratio = warming_w / np.concatenate(self.ratings_w)
        if unseen is None or unseen.since_s is None:
            heat = np.minimum(whole.breakers.after(np.concatenate(self.heats), load_ratio, passed_s), whole.breakers.unknown)
        else:
            heat = self.found.now(whole.breakers.rate(load_ratio), unseen.since_s)
        self._warm_cases(heat)
        self.heats, self.measured_w, self.measured_s = self.tree.apart(heat), self.tree.apart(drawn_w), now_s
        self.likely_w = self.tree.apart(sensed_w - np.concatenate(overstated_w)) if overstated_w else self.measured_w

    def _unseen_w(self, gpus_w: Watts, unseen: Unseen) -> Watts:
        whole, more_w = self.tree.whole, np.zeros(len(self.tree.limit_names))
        if unseen.overshot_w.any():
            more_w = whole.sums(whole.members.gain * unseen.overshot_w[whole.nodes])
        if unseen.silent.any():
            extra_w = np.maximum(whole.default_draws_w - whole.draws_w(gpus_w[whole.nodes]), 0.0)
            more_w = more_w + whole.dearest_w(np.where(unseen.silent[whole.nodes], extra_w, 0.0))
        return more_w

    def _warm_cases(self, heat: Values) -> None:
        """One entry a limit of the whole tree."""
        after, usual = self.tree.cases
        if len(after):
            trips = self.tree.whole.breakers.trip_heat
            heat[after] = np.maximum(heat[after], heat[usual] / trips[usual] * trips[after])

    def forget_heat(self) -> None:
        """Somebody else has granted meanwhile: nobody knows it any more."""
        self.heats = [level.breakers.unknown for level in self.tree.levels]
        self.found.forget(self.tree.whole.breakers.unknown)

    def set_budget(self, budget_w: float) -> None:
        """Heat is in terms of the rating: a change leaves it unknown until measured load has cooled it."""
        self.budget_w, self.ratings_w = budget_w, ratings_w(self.tree, budget_w)
        self.heats[-1] = self.tree.root.breakers.unknown
        self.found.forget(self.tree.whole.breakers.unknown, slice(-1, None))

    def heat_changes(self, granted: Granted) -> tuple[LimitHeat, ...]:
        """What must be durable before these grants leave."""
        return self.kept.changes(self.tree, self.heats, self.ratings_w, granted)

    @property
    def heat_ratio(self) -> float:
        """How near to its trip the hottest limit is, as things are: 0 cold to 1 trip."""
        levels = zip(self.tree.levels, self.heats, strict=True)
        return max(float(np.where(level.usual, heat / level.breakers.trip_heat, 0.0).max()) for level, heat in levels)

    @property
    def drawn_w(self) -> float:
        """Of the whole domain, at most."""
        return float(self.measured_w[-1][0])

    def fullest(self) -> tuple[int, float]:
        """The limit that carries most of what it may, as things are, and how much."""
        levels = zip(self.tree.levels, self.measured_w, self.ratings_w, strict=True)
        ratios = np.concatenate([np.where(level.usual, drawn_w / ratings_w, 0.0) for level, drawn_w, ratings_w in levels])
        fullest = len(ratios) - 1 - int(ratios[::-1].argmax())  # of equal ones the largest
        return fullest, float(ratios[fullest])

    def shown(self, limit: int) -> str:
        """What a limit carries now of what it may."""
        number, place = self.tree.places[limit]
        drawn_kw, rating_kw = self.measured_w[number].item(place) / 1e3, self.ratings_w[number].item(place) / 1e3
        foreign_w = self.foreign_w(limit)
        foreign = f" ({foreign_w / 1e3:,.1f} kW of it foreign)" if foreign_w > 0 else ""
        return f"{self.tree.limit_names[limit]} draws up to {drawn_kw:,.1f} of {rating_kw:,.1f} kW{foreign}"

    def foreign_w(self, limit: int) -> float:
        """What is counted there beside nodes and declared base."""
        number, place = self.tree.places[limit]
        return float(self.tree.levels[number].other_w[place] - self.bare.levels[number].other_w[place])
