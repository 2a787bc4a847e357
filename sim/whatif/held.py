"""A recorded row under a ladder of clock locks: the same ladder, brake and breaker as in `sim.serving`, from one change of clocks to the next."""

from dataclasses import dataclass, field
from math import ceil, inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.policies.ladder import BRAKE, UNLOCKED, Ladder, Standing, climb, clocks
from gpuwarden.sim import thermal
from gpuwarden.sim.serving.meter import TRIP_S
from gpuwarden.sim.serving.relation import Relation
from gpuwarden.sim.whatif.load import Load

Values = NDArray[np.float64]
Clocks = tuple[float, float]

LOOK: Final = (16, 8192)  # steps whose power is reckoned at once: after a change few, and twice as many each time that nothing changes


@dataclass(frozen=True, slots=True)
class Control:
    """`lock_s`, `brake_s`: from the reading that asks for it to the clocks. `prompt_ratio`: share of a request's time that its prompt takes."""

    limit_w: float
    ladder: Ladder
    lock_s: float
    brake_s: float
    prompt_ratio: float
    relation: Relation = field(default_factory=Relation)

    def stretch(self, clock: float) -> float:
        """How much longer a request takes under this lock."""
        at = np.array([clock])
        return float(self.prompt_ratio * self.relation.prompt_time(at)[0] + (1.0 - self.prompt_ratio) * self.relation.token_time(at)[0])


@dataclass(slots=True)
class Happened:
    """One value a block of time. `work`: J above idle that each priority wanted, (low, high), by the clock that it had then."""

    brakes: Values
    trips: Values
    over_s: Values
    peak: Values
    work: tuple[dict[float, Values], dict[float, Values]]

    @classmethod
    def nothing(cls, blocks: int) -> "Happened":
        return cls(np.zeros(blocks), np.zeros(blocks), np.zeros(blocks), np.zeros(blocks), ({}, {}))


class _Row:
    """What the load comes to under clocks, and the breaker that feels it."""

    def __init__(self, load: Load, control: Control) -> None:
        self._load, self._control = load, control
        self._sums = [np.concatenate(([0.0], np.cumsum(wanted_w))) for wanted_w in (load.low_w, load.high_w)]
        self._left: dict[Clocks, tuple[float, float]] = {}
        self._heat = 0.0

    def loads(self, begin: int, end: int, under: Clocks) -> Values:
        """As shares of the limit."""
        if under not in self._left:
            low, high = self._control.relation.power(np.array(under)).tolist()
            self._left[under] = low, high
        of_low, of_high = self._left[under]
        load = self._load
        made: Values = (load.idle_w + of_high * load.high_w[begin:end] + of_low * load.low_w[begin:end]) / self._control.limit_w
        return made

    def note(self, made: Happened, block: int, loads: Values, at: int, under: Clocks) -> None:
        """These steps have passed."""
        step_s, end = self._load.step_s, at + len(loads)
        for by_clock, clock, sums in zip(made.work, under, self._sums, strict=True):
            if clock not in by_clock:
                by_clock[clock] = np.zeros(len(made.brakes))
            by_clock[clock][block] += step_s * (sums[end] - sums[at])
        peak = float(loads.max())
        made.peak[block] = max(made.peak[block], peak)
        if self._heat == 0.0 and peak <= 1.0:
            return
        made.over_s[block] += step_s * (loads > 1.0).sum()
        for ratio in loads.tolist():
            self._heat = thermal.after(self._heat, ratio, step_s)
            if self._heat >= TRIP_S:
                made.trips[block] += 1
                self._heat = 0.0


@dataclass(slots=True)
class _Ladder:
    """Where one ladder stands, and what is on its way to the clocks."""

    rungs: Ladder
    effect_s: float
    stands: Standing = field(default_factory=Standing)
    in_force: Clocks = (UNLOCKED, UNLOCKED)
    sent: list[tuple[float, Clocks]] = field(default_factory=list)

    @property
    def due_s(self) -> float:
        return self.sent[0][0] if self.sent else inf

    def arrive(self, now_s: float) -> None:
        while self.due_s <= now_s:
            self.in_force = self.sent.pop(0)[1]

    def decide(self, now_s: float, load: float) -> bool:
        """Whether it climbed up."""
        before, self.stands = self.stands, climb(self.rungs, self.stands, now_s, load, self.effect_s)
        if self.stands != before:
            self.sent.append((now_s + self.effect_s, clocks(self.rungs, self.stands)))
        return self.stands.rungs > before.rungs

    def first(self, loads: Values, from_step: int, step_s: float) -> int:
        """The first of these steps at which it may move; their number if at none."""
        rungs, moves = self.stands.rungs, len(loads)
        if rungs < len(self.rungs):
            rung = self.rungs[rungs]
            wait = ceil((self.stands.since_s + self.effect_s) / step_s) - from_step - 1 if rung.waits else 0
            moves = min(moves, _where(loads > rung.above, max(0, wait)))
        if rungs:
            moves = min(moves, _where(loads < self.rungs[rungs - 1].below, 0))
        return moves


def _where(true: NDArray[np.bool_], begin: int) -> int:
    later = true[begin:]
    return begin + int(later.argmax()) if later.any() else len(true)


def held(load: Load, control: Control, block_steps: int, weights: Values | None = None, most_brakes: float = inf) -> Happened:
    """From unlocked on; the load is read and may be answered at the end of every step. Ends after `most_brakes`, each counted with its block's weight."""
    steps = len(load.high_w)
    row = _Row(load, control)
    made = Happened.nothing(ceil(steps / block_steps))
    locks, brake = _Ladder(control.ladder, control.lock_s), _Ladder(BRAKE, control.brake_s)
    braked, at, look = 0.0, 0, LOOK[0]
    while at < steps and braked <= most_brakes:
        block = at // block_steps
        for one in (locks, brake):
            one.arrive(at * load.step_s)
        under = (min(locks.in_force[0], brake.in_force[0]), min(locks.in_force[1], brake.in_force[1]))
        end = min(at + look, steps, (block + 1) * block_steps, _step_of(min(locks.due_s, brake.due_s), load.step_s, steps))
        loads = row.loads(at, end, under)
        moves = min(locks.first(loads, at, load.step_s), brake.first(loads, at, load.step_s))
        loads = loads[: moves + 1]
        row.note(made, block, loads, at, under)
        at, moved = at + len(loads), moves < end - at
        look = LOOK[0] if moved else min(2 * look, LOOK[1])
        if moved:
            locks.decide(at * load.step_s, float(loads[-1]))
            if brake.decide(at * load.step_s, float(loads[-1])):
                made.brakes[block] += 1
                braked += 1.0 if weights is None else weights[block]
    return made


def _step_of(due_s: float, step_s: float, steps: int) -> int:
    return steps if due_s == inf else ceil(due_s / step_s)
