"""Clock locks by thresholds of a row's load, the lower priority first: POLCA and what it is compared with.

POLCA (Patel et al., ASPLOS'24): above T1 the low priority is locked; above T2 harder; still above T2 once that has taken effect,
the high priority as well. A level is left 5 points below where it was entered. Clocks are shares of an A100's 1410 MHz.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

UNLOCKED: Final = 1.0


@dataclass(frozen=True, slots=True)
class Rung:
    """Entered above `above`, left below `below` (load ratios). `waits`: only once the rung before has taken effect."""

    above: float
    below: float
    low_clock: float
    high_clock: float = UNLOCKED
    waits: bool = False


Ladder = tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How many rungs are in force, and since when."""

    rungs: int = 0
    since_s: float = 0.0


def climb(ladder: Ladder, standing: Standing, now_s: float, load_ratio: float, effect_s: float) -> Standing:
    """Where to stand at this load. `effect_s`: how long a lock takes to show in the load."""
    rungs = standing.rungs
    while rungs < len(ladder) and load_ratio > ladder[rungs].above and _may_enter(ladder[rungs], rungs, standing, now_s, effect_s):
        rungs += 1
    while rungs and load_ratio < ladder[rungs - 1].below:
        rungs -= 1
    return standing if rungs == standing.rungs else Standing(rungs, now_s)


def _may_enter(rung: Rung, number: int, standing: Standing, now_s: float, effect_s: float) -> bool:
    return not rung.waits or (standing.rungs == number and now_s - standing.since_s >= effect_s)


def clocks(ladder: Ladder, standing: Standing) -> tuple[float, float]:
    """(low priority, high priority)."""
    return (ladder[standing.rungs - 1].low_clock, ladder[standing.rungs - 1].high_clock) if standing.rungs else (UNLOCKED, UNLOCKED)


def polca(t1: float = 0.80, t2: float = 0.89, hysteresis: float = 0.05) -> Ladder:
    """1275 and 1110 MHz for the low priority, 1305 MHz for the high one."""
    return (
        Rung(t1, t1 - hysteresis, 0.904),
        Rung(t2, t2 - hysteresis, 0.787),
        Rung(t2, t2 - hysteresis, 0.787, 0.926, waits=True),
    )


LADDERS: Final[Mapping[str, Ladder]] = MappingProxyType({
    "polca": polca(),
    "one-threshold-low": (Rung(0.89, 0.84, 0.787),),
    "one-threshold-all": (Rung(0.89, 0.84, 0.787, 0.787),),
    "none": (),
})
BRAKE: Final = (Rung(1.0, 0.84, 0.204, 0.204),)
