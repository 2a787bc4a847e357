"""All meters of a domain, beside what our nodes' sensors tell of the same limits at the same time."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

import numpy as np

from gpuwarden.controller.power.calibrations import CALM_RATIO, Calibrations
from gpuwarden.controller.power.foreign import Foreign
from gpuwarden.controller.power.hostlist import expand
from gpuwarden.controller.power.level import Flags, Watts
from gpuwarden.controller.power.meter import MOST_PENDING, Meter, Reading
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.power.topology import Topology
from gpuwarden.controller.power.tree import Tree

SENSORS_LATE_S: Final = 2.0  # a node reports once a second, and its cards' sensors average over another
URGENT_RATIO: Final = 0.01  # of the rating: a rise that does not wait for the tick
IMPOSSIBLE_RATIO: Final = 10.0  # of the rating: a breaker is long open there, and a meter in the wrong unit is not


class BadReading(Exception):
    """A reading that cannot be: the field and the reason."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


@dataclass(frozen=True, slots=True)
class _Second:
    """Of the decisions in one second: the highest sum of our nodes under each metered limit, and the lowest of their GPUs alone."""

    number: int
    most_w: Watts
    least_w: Watts
    gpus_w: Watts
    """Of each node, as its sensors showed it last; NaN where it was not in contact."""


class Meters:
    """`by_limit`: of every limit that has one. Arrays have one entry a meter, or one a node where it says so."""

    def __init__(self, topology: Topology, tree: Tree, classes: Sequence[NodeClass]) -> None:
        shares, base_w = topology.through(), topology.base_w()
        self.by_limit = {
            limit.name: Meter(limit, limit.meter, base_w[limit.name]) for limit in (topology.root, *topology.limits) if limit.meter is not None
        }
        self._above = topology.above
        self._numbers = {name: number for number, name in enumerate(self.by_limit)}
        self._foreign, self._given = Foreign(topology, tree), tuple[float, ...]()
        self.carried_w: list[Watts] = self._foreign.carried_w({})
        """Foreign load of every limit in every case: one array a level of the tree."""
        carried = [shares[name] for name in self.by_limit]
        self._of = np.concatenate([np.full(np.count_nonzero(one), number) for number, one in enumerate(carried)] or [np.zeros(0, np.intp)])
        self._nodes = np.concatenate([np.flatnonzero(one) for one in carried] or [np.zeros(0, np.intp)])
        self._shares = np.concatenate([one[one > 0] for one in carried] or [np.zeros(0)])
        self._slope, self._gain_error = _of_nodes(classes)
        self._base_w = tree.members.base_w
        self._places = np.array([tree.limit_names.index(name) if name in tree.limit_names else -1 for name in self.by_limit], np.intp)
        self._ends = np.cumsum([len(level.names) for level in tree.levels])
        metered = [meter.limit for meter in self.by_limit.values()]
        self.calibrations = Calibrations(metered, shares, base_w, classes)
        self.gain = self._given_gain = tree.members.gain
        """Watts drawn at worst for one of limit, of each node: as its class has it, more where its sensors surely read lower still."""
        self._past = deque[_Second]()
        self._kept_s = max((m.config.window_s + m.config.stale_s for m in self.by_limit.values()), default=0.0) + SENSORS_LATE_S + 2.0

    def read(self, now_s: float, limit: str, power_w: float, age_s: float) -> None:
        """One reading, that was so `age_s` ago at the latest; BadReading if it cannot be.

        One that is not newer than the newest changes nothing: repeats and latecomers are harmless.
        """
        meter = self.by_limit.get(limit)
        if meter is None:
            raise BadReading("limit", f"{limit!r} has no meter; there are {', '.join(self.by_limit) or 'none'}")
        _possible(meter, power_w, age_s)
        told_s = now_s - age_s
        if told_s <= meter.told_s:
            return
        ours_w, _ = self._sums(meter, told_s)
        meter.hear(now_s, Reading(told_s, power_w, power_w - ours_w - meter.base_w))
        if len(meter.pending) > MOST_PENDING:
            self._settle(meter)

    def risen(self, limit: str) -> bool:
        """So much more is foreign there than the newest decision counts that the next tick is too late."""
        meter = self.by_limit.get(limit)
        return meter is not None and bool(self._given) and meter.foreign_w > self._given[self._numbers[limit]] + URGENT_RATIO * meter.limit.rating_w

    def measure(self, now_s: float, gpus_w: Watts, live: Flags) -> bool:
        """What each node's GPUs draw as its sensors tell; of a node that is not in contact the best guess.

        True if `carried_w` or `gain` has changed.
        """
        if not self.by_limit:
            return False
        most_w = self._under(self._base_w + self._slope * gpus_w)
        least_w = self._under(np.where(live, (1.0 - self._gain_error) * gpus_w, 0.0))
        self._note(_Second(int(now_s), most_w, least_w, np.where(live, gpus_w, np.nan)))
        for meter in self.by_limit.values():
            while meter.pending and meter.pending[0].told_s + SENSORS_LATE_S <= now_s:
                self._settle(meter)
        given = tuple(meter.foreign_w for meter in self.by_limit.values())
        if given == self._given and self.gain is self._given_gain:
            return False
        self._given, self._given_gain = given, self.gain
        self.carried_w = self._foreign.carried_w(dict(zip(self.by_limit, given, strict=True)))
        return True

    def shown_w(self, now_s: float) -> list[Watts]:
        """What the meters show now, one array a level of the tree; 0 for limits without a fresh one, and for all after a contingency.

        Nothing where there is no meter at all.
        """
        return self._by_level(lambda meter: 0.0 if meter.silent(now_s) else meter.power_w)

    def overstated_w(self, now_s: float) -> list[Watts]:
        """By how much the sums of sensors exceed what meters show, as `shown_w`."""
        return self._by_level(lambda meter: meter.overstated_w(now_s))

    def _by_level(self, of: Callable[[Meter], float]) -> list[Watts]:
        if not self.by_limit:
            return []
        values = np.zeros(self._ends[-1])
        for place, meter in zip(self._places.tolist(), self.by_limit.values(), strict=True):
            if place >= 0:
                values[place] = of(meter)
        return np.split(values, self._ends[:-1])

    def awaited(self, now_s: float, started_s: float) -> frozenset[str]:
        """Limits whose meter has not told yet what it should soon, and those above them up to one whose own has: nobody knows what is free there."""
        silent = {
            name for name, meter in self.by_limit.items() if math.isnan(meter.surplus_w) and now_s - started_s < meter.config.stale_s
        }
        told = self.by_limit.keys() - silent
        return frozenset(above for name in silent for above in takewhile(lambda one: one not in told, self._above[name]))

    def _settle(self, meter: Meter) -> None:
        reading, number = meter.pending.popleft(), self._numbers[meter.limit.name]
        seconds = self._seconds(meter, reading.told_s)
        meter.settle(reading, *self._sums(meter, reading.told_s), *self._meant(number, seconds, int(reading.told_s)))
        sums_w, seen_w = [float(second.most_w[number]) for second in seconds], [second.gpus_w for second in seconds]
        calm = len(sums_w) > 1 and max(sums_w) - min(sums_w) <= CALM_RATIO * max(sums_w)
        if calm and self.calibrations.learn(meter.limit.name, reading.told_s, reading.power_w, seen_w):
            self.gain = self._slope * np.maximum(1.0 + self._gain_error, self.calibrations.counts(len(self.gain)))

    def _sums(self, meter: Meter, told_s: float) -> tuple[float, float]:
        """(highest sum of our nodes, lowest of their GPUs) in the time that a reading of `told_s` may tell of, as far as it is known.

        Where nothing is, it explains any reading: nothing is foreign that nobody has compared.
        """
        seconds, number = self._seconds(meter, told_s), self._numbers[meter.limit.name]
        most_w = max((float(second.most_w[number]) for second in seconds), default=math.inf)
        return most_w, min((float(second.least_w[number]) for second in seconds), default=0.0)

    def _meant(self, meter: int, seconds: Sequence[_Second], at: int) -> tuple[float, float]:
        """(the most that the sensors of our nodes meant in that second, as limits count it; what of it is for their errors)."""
        gpus_w = next((second.gpus_w for second in seconds if second.number == at), np.full(len(self._slope), np.nan))
        most_w, error_w = self._under(self._base_w + self.gain * gpus_w), self._under((self.gain - self._slope) * gpus_w)
        return float(most_w[meter]), float(error_w[meter])

    def _seconds(self, meter: Meter, told_s: float) -> list[_Second]:
        first, last = int(told_s - meter.config.window_s), int(told_s + SENSORS_LATE_S)
        return [second for second in self._past if first <= second.number <= last]

    def _note(self, second: _Second) -> None:
        if self._past and self._past[-1].number == second.number:
            before = self._past.pop()
            second = replace(second, most_w=np.maximum(second.most_w, before.most_w), least_w=np.minimum(second.least_w, before.least_w))
        self._past.append(second)
        while self._past[0].number < second.number - self._kept_s:
            self._past.popleft()

    def _under(self, of_nodes: Watts) -> Watts:
        """Sums under each metered limit of one value a node."""
        sums: Watts = np.bincount(self._of, self._shares * of_nodes[self._nodes], len(self.by_limit)).astype(np.float64)
        return sums


def _of_nodes(classes: Sequence[NodeClass]) -> tuple[Watts, Watts]:
    """(slope, gain error) of each node."""
    counts = [len(expand(made.nodes)) for made in classes]
    return np.repeat([made.slope for made in classes], counts), np.repeat([made.gain_error for made in classes], counts)


def _possible(meter: Meter, power_w: float, age_s: float) -> None:
    """BadReading if it cannot be."""
    most_w = IMPOSSIBLE_RATIO * meter.limit.rating_w
    if not 0.0 <= power_w <= most_w:
        raise BadReading("power_w", f"is {power_w:g} W, should be 0 to {most_w:,.0f} W, {IMPOSSIBLE_RATIO:g} times what {meter.limit.name} carries")
    if not 0.0 <= age_s <= meter.config.stale_s:
        raise BadReading("age_s", f"is {age_s:g} s, should be 0 to {meter.config.stale_s:g} s, after which it is stale")
