"""What a month is drawn from: measured values with the command that printed each, and what is stated since nobody has measured it."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

from gpuwarden.sim.crashes.paper import BEFORE, PERSON_S

FILE: Final = Path(__file__).with_name("measured.toml")


@dataclass(frozen=True, slots=True)
class Stated:
    """What nobody has measured. `shown_ratio`: of single nodes' faults those that a test of the node shows, where the test is needed.

    `false_a_month`: findings of a hang in a job that is well, beyond what was measured; `wrong_ratio`: of sound nodes tested those that fail.
    """

    person_s: float = PERSON_S
    shown_ratio: float = 1.0
    named_end_ratio: float = 0.5  # a connection that breaks is met by both its ends, and the first to end by it is named
    false_a_month: float = 0.0
    wrong_ratio: float = 0.0
    test_s: float = 120.0  # dcgmi diag level 2
    watchdog_s: float = 600.0  # NCCL's, where no finding names anybody
    repair_s: float = 86_400.0
    spares: int = 18  # 8 for every 128 servers, as C4's clusters have
    reinit_s: float = BEFORE.each_s(BEFORE.reinit)  # the paper's before: nothing of ours makes it shorter


@cache
def measured() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def delay_s(kind: str, chance: Random) -> float:
    """From fault to finding: evenly between the median and the longest that were measured, so that the quicker half does not count."""
    of = measured()["detection"][kind]
    return chance.uniform(of["median_s"], of["longest_s"])


def hold_s(chance: Random) -> float:
    """From the order to drain to the job's start on other nodes."""
    of = measured()["hold"]
    return float(chance.choice(of["drain_s"]) + chance.choice(of["held_s"]))


def named_ratio(chance: Random) -> float:
    """One that the counts allow, drawn anew for each month: all of a few named is not all of all (Jeffreys' prior)."""
    return _ratio("named", chance) * _ratio("localised", chance)


def _ratio(name: str, chance: Random) -> float:
    of = measured()[name]
    return chance.betavariate(0.5 + of["right"], 0.5 + of["cases"] - of["right"])


def false_per_s() -> float:
    """As they were counted: none of a short time, which bounds little."""
    of = measured()["false"]
    return float(of["findings"] / of["healthy_s"])
