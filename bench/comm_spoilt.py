"""How far single faults are still named where records are not as they should be.

    python bench/comm_spoilt.py [--cases 40] [--seed 1] [--json FILE]

Jobs of 64 ranks with one slow part, as strong as the noise allows to be told, half of them with messages; the same cases for each trouble.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from comm_judge import OUTCOMES, judged, wilson
from comm_slow_cases import PACE, Case, drawn
from comm_truth import parts

from gpuwarden.detector.comm.slow import verdict_on
from gpuwarden.detector.comm.timings import Timings
from gpuwarden.sim.comm.block import Block, lines
from gpuwarden.sim.comm.job import Job
from gpuwarden.sim.comm.shape import CARDS
from gpuwarden.sim.comm.spoilt import lost, overwritten, renewed, uneven, without
from gpuwarden.sim.comm.tables import Tables

RANKS, STEPS = 64, 40
SKEWED, SKEW_US = "clocks half a minute apart", 30_000_000
Spoils = Callable[[Iterable[Block], int], Iterable[Block]]
TROUBLES: dict[str, Spoils] = {
    "none": lambda blocks, _: blocks,
    SKEWED: lambda blocks, _: blocks,
    "5 % of lines lost": lambda blocks, seed: lost(blocks, 0.05, seed),
    "20 % of lines lost": lambda blocks, seed: lost(blocks, 0.2, seed),
    "rings keep 4 of each dump": lambda blocks, _: overwritten(blocks, 4),
    "rings keep 1 of each dump": lambda blocks, _: overwritten(blocks, 1),
    "2 ranks missing": lambda blocks, seed: without(blocks, random.Random(seed).sample(range(RANKS), 2)),
    "one host missing": lambda blocks, seed: without(blocks, range(8 * (seed % 8), 8 * (seed % 8) + 8)),
    "every third of half the size": lambda blocks, _: uneven(blocks),
    "communicators renewed half way": lambda blocks, _: renewed(blocks, STEPS // 2),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    cases, seed = list[Case](), args.seed * 1000
    while len(cases) < args.cases:
        case, seed = drawn(RANKS, 1, seed), seed + 1
        if case.allowed and case.faults[0].kind != "slow_fabric":
            cases.append(case)
    tables = {name: Counter(outcome(case, name) for case in cases) for name in TROUBLES}
    for name, of in tables.items():
        low, high = wilson(of["right"], of.total())
        print(f"{name:32} {', '.join(f'{one} {of[one]}' for one in OUTCOMES)} ({low:.0%} to {high:.0%} right)")
    if args.json:
        args.json.write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")
    return 0


def outcome(case: Case, trouble: str) -> str:
    blocks = TROUBLES[trouble](Job(case.shape, case.faults, case.seed, case.messages, PACE).blocks(STEPS), case.seed)
    measured: Timings | Tables = Timings() if trouble == SKEWED else Tables()
    if isinstance(measured, Timings):
        measured.take(replace(line, dumped_us=line.dumped_us + SKEW_US * (line.process.pid // CARDS % 3)) for line in lines(blocks))
    else:
        measured.take(blocks)
    return judged(parts(case.shape, case.faults, case.messages), verdict_on(measured))


if __name__ == "__main__":
    sys.exit(main())
