"""Cases of the serving row: which servers under which ladder for how long, what came of it, and which of the paper's bounds it misses."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from gpuwarden.controller.policies.ladder import LADDERS, Ladder, polca
from gpuwarden.sim.serving.frozen import frozen, requests_of
from gpuwarden.sim.serving.outcome import Judged, outcome
from gpuwarden.sim.serving.relation import Relation
from gpuwarden.sim.serving.requests import DAY_S, Requests
from gpuwarden.sim.serving.row import RowSetup, Run, run
from gpuwarden.sim.serving.study import FILLING_S, HIGH

DATA = Path(os.environ.get("GPUWARDEN_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
TRACE = DATA / "requests" / "azure_llm_2023_conv.csv"
ADDED = 0.30
MORE_POWER = 1.05  # than was profiled
BASELINES = ("one-threshold-low", "one-threshold-all", "none")
T1_T2 = [(t1, t2) for t2 in (0.85, 0.89, 0.93) for t1 in (0.75, 0.80, 0.85) if t1 < t2]
CANDIDATES = [(0.80, 0.85), (0.80, 0.89), (0.80, 0.91), (0.80, 0.93), (0.85, 0.93)]
MORE_SERVERS = (0.10, 0.20, 0.30, 0.35, 0.40)
# What POLCA promises: latency against uncapped, at most.
BOUNDS = {("high", "p50"): 1.01, ("high", "p99"): 1.05, ("low", "p50"): 1.05, ("low", "p99"): 1.50}


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table: a row and its ladder. All of its time is run, and `begin_s` on is judged."""

    name: str
    ladder: Ladder
    added: float = ADDED
    days: float = 2.0
    begin_s: float = FILLING_S
    more_power: float = 1.0
    low_ratio: float = 0.5
    relation: Relation = field(default_factory=Relation)


def trace() -> Path | None:
    return TRACE if TRACE.exists() else None


def one(case: Case) -> dict[str, Any]:
    row = frozen()
    setup = RowSetup(
        round(row.servers * (1 + case.added)), row.servers, case.ladder, high_ratio=1 - case.low_ratio, more_power=case.more_power,
        relation=case.relation,
    )
    asked, free = _uncapped(setup.servers, case.low_ratio, case.days)
    capped = run(setup, asked, HIGH, case.days * DAY_S)
    told = outcome(capped, free, setup, asked, HIGH, Judged(case.begin_s, case.days * DAY_S))
    return told | {"misses": misses(told)}


@lru_cache(maxsize=2)
def _uncapped(servers: int, low_ratio: float, days: float) -> tuple[Requests, Run]:
    """No lock: neither the ladder nor the relation nor more power makes a difference to when requests are answered."""
    row = frozen()
    asked = requests_of(row, servers, days, 1, trace(), low_ratio)
    setup = RowSetup(servers, row.servers, (), brake=False, high_ratio=1 - low_ratio)
    return asked, run(setup, asked, HIGH, days * DAY_S)


def misses(told: dict[str, Any]) -> list[str]:
    """Which bounds, in words."""
    late = [f"{who} {q}" for (who, q), most in BOUNDS.items() if told["latency"][who][f"{q}_ratio"] > most]
    return [name for name in ("brakes", "trips") if told[name]] + late


def first_week(days: float) -> Iterator[tuple[tuple[float, float], Case]]:
    for t1, t2 in CANDIDATES:
        yield (t1, t2), Case(f"first {days:g} days, T1 {t1:.0%}, T2 {t2:.0%}", polca(t1, t2), days=days)


def judged(days: float, thresholds: tuple[float, float]) -> Iterator[Case]:
    plain, chosen = Case("", (), days=days, begin_s=days / 2 * DAY_S), polca(*thresholds)
    name = f"polca {thresholds[0]:.0%}/{thresholds[1]:.0%}"
    yield replace(plain, name=name, ladder=chosen)
    yield replace(plain, name=f"{name}, 5 % more power", ladder=chosen, more_power=MORE_POWER)
    yield replace(plain, name="polca 80%/89%, as in the paper", ladder=polca())
    yield replace(plain, name="polca 80%/89%, 5 % more power", ladder=polca(), more_power=MORE_POWER)
    for baseline in BASELINES:
        yield replace(plain, name=baseline, ladder=LADDERS[baseline])
        yield replace(plain, name=f"{baseline}, 5 % more power", ladder=LADDERS[baseline], more_power=MORE_POWER)
    for low in (0.25, 0.75):
        yield replace(plain, name=f"{name}, {low:.0%} low priority", ladder=chosen, low_ratio=low)


def swept(days: float, thresholds: tuple[float, float]) -> Iterator[tuple[str, Any, Case]]:
    """(which sweep, where on it, the case), in an order in which uncapped runs can be used again."""
    chosen = polca(*thresholds)
    for added in MORE_SERVERS:
        for name, ladder in {"polca": chosen, **{baseline: LADDERS[baseline] for baseline in BASELINES}}.items():
            yield "added", (name, added), Case(f"{name}, {added:.0%} added", ladder, added, days)
    for t1, t2 in T1_T2:
        yield "thresholds", (t1, t2), Case(f"T1 {t1:.0%}, T2 {t2:.0%}", polca(t1, t2), days=days)
    for saving, cost in ((0.5, 1.0), (1.5, 1.0), (1.0, 0.5), (1.0, 1.5)):
        relation = Relation(saving, cost)
        yield "relation", (saving, cost), Case(f"locks save {saving:g} and cost {cost:g} of the table", chosen, days=days, relation=relation)
