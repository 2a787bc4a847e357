"""How many more servers fit: for each of many resamplings the most that keep every bound, and what the next one breaks.

A resampling draws which servers are of the low priority, whose like is added, and with what weight each block of time counts (bootstrap
over blocks: Efron and Tibshirani, An Introduction to the Bootstrap, ch. 8). The interval over resamplings is therefore one over which
servers come and which days or hours the recording happened to catch; not over a service that changes.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.domain import DomainConfig, budget_problem
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.sim.serving.requests import DAY_S
from gpuwarden.sim.serving.row import HOUR_S
from gpuwarden.sim.whatif.held import Control, Happened, held
from gpuwarden.sim.whatif.load import Row
from gpuwarden.sim.whatif.recorded import Recorded

Values = NDArray[np.float64]

LEAST_BLOCKS: Final = 4
MANY_BRAKES: Final = 100  # after that many the rest of the time is not looked at
CONFIDENCE: Final = (0.05, 0.5, 0.95)


@dataclass(frozen=True, slots=True)
class Service:
    """What may be lost at most, as POLCA's (ASPLOS'24) bounds have it; `*_p50` and `*_p99` are how much longer requests take, weighted by work."""

    brakes: int = 0
    high_p50: float = 0.01
    high_p99: float = 0.05
    low_p50: float = 0.05
    low_p99: float = 0.50


@dataclass(frozen=True, slots=True)
class Question:
    recorded: Recorded
    control: Control
    service: Service
    node: NodeClass
    low_ratio: float
    resamplings: int
    seed: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a row with `added` servers: medians over the resamplings, and the share of them that keep every bound."""

    added: int
    fits_ratio: float
    peak: float
    brakes: float
    over_s: float
    high_p50: float
    high_p99: float
    low_p50: float
    low_p99: float


@dataclass(frozen=True, slots=True)
class Answer:
    """`fit`: the number of servers at CONFIDENCE, from the cautious end; -1 where not even the row as it is keeps the bounds.

    `binding`: bounds that the next server breaks, by the share of the resamplings in which it does; `table`: from none added to one more than fits.
    """

    fit: tuple[int, int, int]
    binding: dict[str, float]
    table: tuple[Figures, ...]
    block_s: float
    blocks: int
    floors_fit: int


class _Trial:
    """One resampling. What a number of added servers leads to is reckoned once."""

    def __init__(self, question: Question, most: int, block_steps: int, chance: np.random.Generator) -> None:
        self._question, self._block_steps = question, block_steps
        self._row = Row(question.recorded, question.low_ratio, most, chance)
        blocks = -(-question.recorded.power_w.shape[1] // block_steps)
        resampled = blocks >= LEAST_BLOCKS
        self._weights: Values = np.bincount(chance.integers(blocks, size=blocks), minlength=blocks).astype(np.float64) if resampled else np.ones(blocks)
        self._known: dict[int, dict[str, float]] = {}

    def figures(self, added: int) -> dict[str, float]:
        if added not in self._known:
            many = max(MANY_BRAKES, self._question.service.brakes)
            self._known[added] = self._told(held(self._row.with_added(added), self._question.control, self._block_steps, self._weights, many))
        return self._known[added]

    def broken(self, added: int) -> list[str]:
        """Which bounds."""
        told, service = self.figures(added), self._question.service
        bounds = {"a trip of the breaker": ("trips", 0.0), "the brake": ("brakes", float(service.brakes))} | {
            f"the {name} priority's {q}": (f"{name}_{q}", getattr(service, f"{name}_{q}")) for name in ("high", "low") for q in ("p50", "p99")
        }
        return [name for name, (what, most) in bounds.items() if told[what] > most]

    def most(self, limit: int) -> int:
        """The most servers that keep every bound, by halving: more servers are no lighter; -1 if none."""
        low, high = -1, limit + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.broken(middle) else (middle, high)
        return low

    def _told(self, happened: Happened) -> dict[str, float]:
        weights, control = self._weights, self._question.control
        told = {name: float(weights @ getattr(happened, name)) for name in ("brakes", "trips", "over_s")}
        told["peak"] = float(happened.peak[weights > 0].max())
        for name, by_clock in zip(("low", "high"), happened.work, strict=True):
            stretches = [(control.stretch(clock) - 1.0, float(weights @ work_j)) for clock, work_j in by_clock.items()]
            told |= {f"{name}_{q}": _quantile(stretches, share) for q, share in (("p50", 0.5), ("p99", 0.99))}
        return told


def _quantile(weighted: list[tuple[float, float]], share: float) -> float:
    """The least value at or below which lies this share of the weight."""
    whole, below = sum(weight for _, weight in weighted), 0.0
    for value, weight in sorted(weighted):
        below += weight
        if below >= share * whole:
            return value
    raise AssertionError("the shares add up to the whole")


def answered(question: Question, progress: Callable[[float], object]) -> Answer:
    """`progress` is told the share that is done."""
    recorded = question.recorded
    block_s = DAY_S if recorded.duration_s >= LEAST_BLOCKS * DAY_S else HOUR_S
    block_steps = max(1, round(block_s / recorded.step_s))
    floors_fit = _floors_fit(question)
    most = max(0, min(floors_fit, 2 * len(recorded.nodes)))
    trials: list[_Trial] = []
    fits: list[int] = []
    for number in range(question.resamplings):
        trials.append(_Trial(question, most + 1, block_steps, np.random.default_rng([question.seed, number])))
        fits.append(trials[-1].most(most) if floors_fit >= 0 else -1)
        progress(0.9 * (number + 1) / question.resamplings)
    cautious, median, bold = (int(np.quantile(fits, share, method="lower" if share < 0.5 else "higher")) for share in CONFIDENCE)
    binding = _binding(trials, fits, most, floors_fit)
    table = tuple(_figures(trials, fits, added) for added in _shown(cautious, bold, most))
    progress(1.0)
    return Answer((cautious, median, bold), binding, table, block_s, -(-recorded.power_w.shape[1] // block_steps), floors_fit)


def _binding(trials: list[_Trial], fits: list[int], most: int, floors_fit: int) -> dict[str, float]:
    counts = Counter[str]()
    for trial, fit in zip(trials, fits, strict=True):
        if floors_fit < 0 or fit == floors_fit:
            counts["the floors: silence would no longer be safe"] += 1
        elif fit == most:
            counts[f"none: {most} more were tried at most"] += 1
        else:
            counts.update(trial.broken(fit + 1))
    return {name: count / len(trials) for name, count in counts.most_common()}


def _shown(cautious: int, bold: int, most: int) -> Iterator[int]:
    """None added, and from what surely fits to one more than ever does, in some eight steps."""
    first, last = max(0, cautious), min(most, max(0, bold) + 1)
    yield from sorted({0, *(round(first + (last - first) * step / 6) for step in range(7))})


def _figures(trials: list[_Trial], fits: list[int], added: int) -> Figures:
    told = [trial.figures(added) for trial in trials]
    median = {name: float(np.median([one[name] for one in told])) for name in told[0]}
    names = ("peak", "brakes", "over_s", "high_p50", "high_p99", "low_p50", "low_p99")
    return Figures(added, sum(fit >= added for fit in fits) / len(fits), *(median[name] for name in names))


def _floors_fit(question: Question) -> int:
    """Servers that can be added before the floors are more than the limit carries, and nothing may be granted; -1 if they are already."""
    count = len(question.recorded.nodes)

    def refused(servers: int) -> bool:
        node = replace(question.node, nodes=(f"n[1-{servers}]",))
        return budget_problem(DomainConfig("row", question.control.limit_w, (node,)), question.control.limit_w) is not None

    if refused(count):
        return -1
    added = 0
    while added < 2 * count and not refused(count + added + 1):
        added += 1
    return added
