"""How often the slow part of a simulated job is named from NCCL Inspector's lines: by fault, strength and what the logs hold.

    python bench/comm.py [--cases 200] [--steps 40] [--seed 1] [--json FILE]

64 ranks in three shapes on hosts of eight. A case is right when the verdict names exactly the faulty rank or host's ranks (right), or a larger set that
holds them and says so (holds); quiet when it names nobody, wrong otherwise. Healthy jobs are cases too. Wilson's 95 % intervals beside.
"""

import argparse
import json
import random
import sys
from collections import Counter, defaultdict
from pathlib import Path

from gpuwarden.detector.comm.slow import verdict_on
from gpuwarden.detector.comm.timings import Timings
from gpuwarden.detector.comm.verdict import Verdict
from gpuwarden.sim.comm.job import CARDS, Fault, Job, Shape

SHAPES = (Shape(8, 2, 4), Shape(4, 4, 4), Shape(8, 4, 2))
STRENGTHS = {"slow_gpu": (0.01, 0.03, 0.05, 0.1, 0.3), "slow_host": (0.03, 0.1, 0.3), "slow_nic": (0.2, 0.5, 1.0), "none": (0.0,)}
SURE = 1.96


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--steps", type=int, default=40, help="of each job")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    chance, tables = random.Random(args.seed), defaultdict[str, Counter[str]](Counter)
    for case in range(args.cases):
        shape, kind, messages = SHAPES[case % len(SHAPES)], chance.choice(list(STRENGTHS)), chance.random() < 0.5
        fault = Fault(kind, chance.randrange(64 if kind == "slow_gpu" else 64 // CARDS), chance.choice(STRENGTHS[kind])) if kind != "none" else None
        timings = Timings()
        timings.take(Job(shape, (fault,) if fault else (), case, messages).run(args.steps))
        name = f"{kind} {fault.strength if fault else 0:g} {'with' if messages else 'without'} messages"
        tables[name][_judged(fault, verdict_on(timings))] += 1
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for name, of in sorted(tables.items()):
        low, high = wilson(of["right"], of.total())
        print(f"{name:32} {of.total():4} cases: right {of['right']:4} ({low:.0%} to {high:.0%}), holds {of['holds']:3}, quiet {of['quiet']:3}, wrong {of['wrong']:3}")
    if args.json:
        args.json.write_text(json.dumps(tables) + "\n", encoding="utf-8")
    return 0


def _judged(fault: Fault | None, verdict: Verdict) -> str:
    named = [set(finding.ranks) for finding in verdict.findings]
    if fault is None:
        return "wrong" if named else "right"
    truth = {fault.at} if fault.kind == "slow_gpu" else set(range(CARDS * fault.at, CARDS * fault.at + CARDS))
    if named == [truth]:
        return "right"
    return "quiet" if not named else "holds" if all(truth <= ranks for ranks in named) else "wrong"


def wilson(right: int, cases: int) -> tuple[float, float]:
    """Wilson's interval for a share (J. Am. Stat. Assoc. 22, 1927)."""
    share, square = right / cases, SURE**2 / cases
    half = SURE * (share * (1 - share) / cases + square / (4 * cases)) ** 0.5
    return (share + square / 2 - half) / (1 + square), (share + square / 2 + half) / (1 + square)


if __name__ == "__main__":
    sys.exit(main())
