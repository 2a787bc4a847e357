"""One run: a site, a policy, and one fault after another until the time is over or something breaks."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from gpuwarden.sim.safety import wishes
from gpuwarden.sim.safety.faults import ALONE, FAULTS, Heal
from gpuwarden.sim.safety.row import Broken, Pace, Row
from gpuwarden.sim.safety.site import site_of

FIRST_S: Final = (2.0, 20.0)
NEXT_S: Final = (2.0, 60.0)  # after the last began; a fault that is still there goes on beside the next


@dataclass(slots=True)
class Outcome:
    """Times in simulated seconds but for `cpu_s`. `broken`: what must hold and did not, ''."""

    seed: int
    policy: str
    pace: str
    broken: str = ""
    passed_s: float = 0.0
    above_s: float = 0.0
    cpu_s: float = 0.0
    servers: int = 0
    levels: int = 0
    reports: int = 0
    grants: int = 0
    checks: int = 0
    restarts: int = 0
    """Brief ones that were judged; `restarts_excused`: of these, where a cut was excused."""
    restarts_excused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    over_s: tuple[float, ...] = ()
    """Of all limits, above each of `breakers.BANDS`; `longest_s`: at most in one go."""
    longest_s: tuple[float, ...] = ()
    hottest: float = 0.0
    """How near to its trip any breaker came, in a share of it."""


class _Deck:
    """Every fault comes as often as any other, in any order; one that cannot strike now waits for a later turn."""

    def __init__(self, row: Row, faults: Sequence[str], outcome: Outcome) -> None:
        self._row, self._faults, self._outcome = row, faults, outcome
        self._left: list[str] = []
        self._busy = set[str]()
        row.time.after(row.chance.uniform(*FIRST_S), self._next)

    def _next(self) -> None:
        row = self._row
        if not self._left:
            self._left = row.chance.sample(self._faults, len(self._faults))
        for name in list(self._left):
            fault = FAULTS[name]
            if self._busy & {fault.place, ALONE} or (self._busy and fault.place == ALONE):
                continue
            self._left.remove(name)
            if (heal := fault.strike(row)) is not None:
                self._outcome.faults[name] += 1
                self._busy.add(fault.place)
                row.time.after(row.chance.uniform(*fault.lasts_s), self._healer(fault.place, heal))
                break
        row.time.after(row.chance.uniform(*NEXT_S), self._next)

    def _healer(self, place: str, heal: Heal) -> Heal:
        def healed() -> None:
            self._busy.discard(place)
            heal()

        return healed


def undergo(seed: int, policy: str, pace: Pace, seconds: float, faults: Sequence[str] = tuple(FAULTS)) -> Outcome:
    """Of one seed, which decides on everything that is left to chance."""
    outcome, began_s = Outcome(seed, policy, pace.name), time.process_time()
    with wishes.known(seed):
        row = Row(site_of(np.random.default_rng(seed), policy, pace.settle_s), pace, seed)
        outcome.servers, outcome.levels = len(row.servers), row.site.levels
        _Deck(row, faults, outcome)
        try:
            row.time.run(seconds)
        except Broken as why:
            outcome.broken = str(why)
    outcome.cpu_s = time.process_time() - began_s
    told, breakers = row.told, row.breakers
    outcome.passed_s, outcome.above_s = told.passed_s, told.above_s
    outcome.reports, outcome.grants, outcome.checks = told.reports, told.grants, told.checks
    outcome.restarts, outcome.restarts_excused = row.restarts.judged, row.restarts.excused
    outcome.hottest = breakers.hottest
    outcome.over_s, outcome.longest_s = tuple(breakers.over_s.sum(axis=1).tolist()), tuple(breakers.longest_s.max(axis=1).tolist())
    return outcome
