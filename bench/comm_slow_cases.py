"""Simulated jobs with slow parts: drawn from a seed, run, judged, and counted in tables."""

import random
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

from comm_judge import judged, syndromes
from comm_truth import parts

from gpuwarden.detector.comm.slow import verdict_on
from gpuwarden.sim.comm.job import Job
from gpuwarden.sim.comm.shape import Fault, Shape
from gpuwarden.sim.comm.tables import Tables

SHAPES: Final = {
    64: (Shape(8, 2, 4), Shape(4, 4, 4), Shape(8, 4, 2), Shape(8, 2, 4, expert=2)),
    512: (Shape(8, 4, 16), Shape(8, 8, 8), Shape(4, 8, 16), Shape(8, 4, 16, expert=4)),
    4096: (Shape(8, 8, 64), Shape(8, 4, 128), Shape(8, 8, 64, expert=8)),
}
STRENGTHS: Final = {
    "slow_gpu": (0.01, 0.02, 0.03, 0.05, 0.1, 0.3), "slow_host": (0.01, 0.02, 0.03, 0.05, 0.1, 0.3), "slow_nic": (0.05, 0.1, 0.2, 0.5, 1.0), "slow_fabric": (0.5,),
}  # fmt: skip
ALLOWED: Final = {"slow_gpu": 0.05, "slow_host": 0.1, "slow_nic": 0.2}
"""The least that the noise allows to be told."""
PACE: Final = 50.0  # steps of 3 to 8 s


@dataclass(frozen=True, slots=True)
class Case:
    shape: Shape
    faults: tuple[Fault, ...]
    messages: bool
    seed: int

    @property
    def mix(self) -> str:
        return "with messages" if self.messages else "stock"

    @property
    def allowed(self) -> bool:
        return all(fault.strength >= ALLOWED.get(fault.kind, 0.0) for fault in self.faults)


@dataclass
class Tally:
    """Mutable. `tables`: outcomes by name; `sizes`: of sets in verdicts that are right or hold; `syndrome`: right ones and all."""

    tables: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    sizes: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    syndrome: list[int] = field(default_factory=lambda: [0, 0])
    wrong: list[Case] = field(default_factory=list)
    cost_s: Counter[str] = field(default_factory=Counter)

    def add(self, case: Case, steps: int) -> None:
        began_s = time.process_time()
        job, tables = Job(case.shape, case.faults, case.seed, case.messages, PACE), Tables()
        tables.take(job.blocks(steps))
        simulated_s = time.process_time()
        verdict = verdict_on(tables)
        self.cost_s.update({"simulator": simulated_s - began_s, "analyzer": time.process_time() - simulated_s, "job": job.lasted_s, "cases": 1})
        of = parts(case.shape, case.faults, case.messages)
        outcome, name = judged(of, verdict), named(case)
        self.tables[name][outcome] += 1
        self.sizes[name] += [len(one.ranks) for one in verdict.findings] if outcome in ("right", "holds") else []
        right, told = syndromes(of, verdict.findings)
        self.syndrome = [self.syndrome[0] + right, self.syndrome[1] + told]
        if outcome == "wrong":
            self.wrong.append(case)


def named(case: Case) -> str:
    """The row that a case counts in."""
    if len(case.faults) == 1:
        return f"{case.mix}: {case.faults[0].kind} {case.faults[0].strength:.0%}"
    return f"{case.mix}: {' and '.join(sorted(fault.kind for fault in case.faults))}" if case.faults else f"{case.mix}: healthy"


def drawn(ranks: int, faults: int, seed: int) -> Case:
    """Of two faults each is one that the noise allows to be told."""
    chance = random.Random(f"{ranks} {faults} {seed}")
    shape, picked = chance.choice(SHAPES[ranks]), dict[tuple[str, int], Fault]()
    kinds = [*STRENGTHS] if faults == 1 else [*ALLOWED]
    while len(picked) < faults:
        kind = chance.choice(kinds)
        strengths = [one for one in STRENGTHS[kind] if faults == 1 or one >= ALLOWED[kind]]
        at = {"slow_gpu": shape.ranks, "slow_fabric": 1}.get(kind, shape.hosts)
        fault = Fault(kind, chance.randrange(at), chance.choice(strengths))
        picked[kind, fault.at] = fault
    return Case(shape, tuple(picked.values()), chance.random() < 0.5, seed)
