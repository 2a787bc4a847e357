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

LOOK: Final = 4096  # steps whose power is reckoned at once


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


def held(load: Load, control: Control, block_steps: int) -> Happened:
    """From unlocked on; the load is read and may be answered at the end of every step."""
    steps = len(load.high_w)
    made = Happened.nothing(ceil(steps / block_steps))
    locks, brake = _Ladder(control.ladder, control.lock_s), _Ladder(BRAKE, control.brake_s)
    heat, at = 0.0, 0
    while at < steps:
        for one in (locks, brake):
            one.arrive(at * load.step_s)
        low, high = (min(a, b) for a, b in zip(locks.in_force, brake.in_force, strict=True))
        end = min(at + LOOK, steps, *(_step_of(one.due_s, load.step_s, steps) for one in (locks, brake)))
        end = min(end, (at // block_steps + 1) * block_steps)
        loads = _loads(load, control, at, end, low, high)
        moves = min(locks.first(loads, at, load.step_s), brake.first(loads, at, load.step_s))
        loads = loads[: moves + 1]
        heat = _note(made, at // block_steps, load, loads, at, (low, high), heat)
        at += len(loads)
        if moves < end - (at - len(loads)):
            locks.decide(at * load.step_s, float(loads[-1]))
            made.brakes[(at - 1) // block_steps] += brake.decide(at * load.step_s, float(loads[-1]))
    return made


def _step_of(due_s: float, step_s: float, steps: int) -> int:
    return steps if due_s == inf else ceil(due_s / step_s)


def _loads(load: Load, control: Control, begin: int, end: int, low: float, high: float) -> Values:
    """As shares of the limit."""
    of_low, of_high = control.relation.power(np.array([low, high]))
    made: Values = (load.idle_w + of_high * load.high_w[begin:end] + of_low * load.low_w[begin:end]) / control.limit_w
    return made


def _note(made: Happened, block: int, load: Load, loads: Values, at: int, under: Clocks, heat: float) -> float:
    """The breaker's heat after these steps."""
    end = at + len(loads)
    for by_clock, clock, wanted_w in zip(made.work, under, (load.low_w, load.high_w), strict=True):
        by_clock.setdefault(clock, np.zeros(len(made.brakes)))[block] += load.step_s * wanted_w[at:end].sum()
    made.over_s[block] += load.step_s * (loads > 1.0).sum()
    made.peak[block] = max(made.peak[block], loads.max())
    if heat == 0.0 and loads.max() <= 1.0:
        return heat
    for ratio in loads.tolist():
        heat = thermal.after(heat, ratio, load.step_s)
        if heat >= TRIP_S:
            made.trips[block] += 1
            heat = 0.0
    return heat
