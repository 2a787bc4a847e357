"""How often the slow or hanging part of a simulated job is named: by fault, strength, size of the job and what its logs hold.

    python bench/comm.py [--ranks 64,512,4096] [--cases 60] [--healthy-hours 2] [--steps 40] [--kinds slow,hang,healthy] [--seed 1] [--json FILE]

Of a size's cases a third have one slow part, a third two, a sixth one rank that stops, a sixth two. A case is right when the verdict names for each fault a set that holds it and is no larger than what
the logs tell apart, and nothing else. Wilson's 95 % intervals beside.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from comm_hang_cases import BOTH, DUMPS, RAS, HangTally
from comm_hang_cases import drawn as hung
from comm_judge import OUTCOMES, wilson
from comm_slow_cases import ALLOWED, PACE, STRENGTHS, Tally, drawn

Figures = dict[str, Any]
HEALTHY_FROM = 1_000_000  # seeds of healthy jobs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", default="64,512,4096", help="sizes of jobs")
    parser.add_argument("--cases", type=int, default=60, help="of each size")
    parser.add_argument("--healthy-hours", type=float, default=2.0, help="of jobs of each size")
    parser.add_argument("--steps", type=int, default=40, help="of each job")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="slow,hang,healthy", help="of jobs that are run")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = dict[str, Figures]()
    for ranks in map(int, args.ranks.split(",")):
        print(f"\n{ranks} ranks", flush=True)
        found[str(ranks)] = of_size(ranks, args.kinds.split(","), args.cases, args.healthy_hours, args.steps, args.seed)
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def of_size(ranks: int, kinds: Collection[str], cases: int, healthy_hours: float, steps: int, seed: int) -> Figures:
    figures, tallies = Figures(), {"single": Tally(), "double": Tally()}
    for faults, (name, tally) in enumerate(tallies.items(), 1):
        if "slow" in kinds:
            for case in range(cases // 3):
                tally.add(drawn(ranks, faults, seed * 1000 + case), steps)
            rows(tally)
            figures[name] = localised(tally)
        if "hang" in kinds:
            stopped = HangTally()
            for case in range(cases // 6):
                stopped.add(hung(ranks, faults, seed * 1000 + case))
            hang_rows(stopped)
            figures[f"hang_{name}"] = hang_localised(stopped)
    if "slow" in kinds:
        figures |= {**syndrome_right(tallies.values()), **cost(tallies.values())}
    if "healthy" in kinds:
        figures |= healthily(ranks, healthy_hours, steps, seed)
    for name, value in figures.items():
        print(f"{name}: {value}", flush=True)
    return figures


def rows(tally: Tally) -> None:
    for name, of in sorted(tally.tables.items()):
        low, high = wilson(of["right"], of.total())
        sizes = tally.sizes[name]
        told = ", ".join(f"{outcome} {of[outcome]}" for outcome in OUTCOMES)
        print(f"{name:45} {of.total():4} cases: {told} ({low:.0%} to {high:.0%} right), {sum(sizes) / max(len(sizes), 1):.1f} ranks a set", flush=True)
    for case in tally.wrong:
        print(f"  wrong: {case}")


def hang_rows(tally: HangTally) -> None:
    for name, of in sorted(tally.tables.items()):
        low, high = wilson(of["right"], of.total())
        print(f"{name:45} {of.total():4} cases: {', '.join(f'{one} {of[one]}' for one in OUTCOMES)} ({low:.0%} to {high:.0%} right)")
    for name, called in sorted(tally.classes.items()):
        print(f"  {name}, its class: {', '.join(f'{one} {many}' for one, many in sorted(called.items()))}")
    for job, mix in tally.wrong:
        print(f"  wrong: {mix}, {job.shape}, {job.hangs}", flush=True)


def hang_localised(tally: HangTally) -> Figures:
    cases = max(tally.cost_s["cases"], 1)
    by_mix = {mix: sum((of for name, of in tally.tables.items() if name.startswith(f"{mix}:")), Counter[str]()) for mix in (DUMPS, RAS, BOTH)}
    return {mix: _share(of) for mix, of in by_mix.items()} | {"s_a_case": round(tally.cost_s["reading and analyzer"] / cases, 3)}


def localised(tally: Tally) -> Figures:
    """Of faults as strong as the noise allows to be told: by what logs hold, and of all."""
    by_mix = dict[str, Counter[str]]()
    for name, of in tally.tables.items():
        mix, _, fault = name.partition(": ")
        if told(fault):
            by_mix[mix] = by_mix.get(mix, Counter[str]()) + of
    return {mix: _share(of) for mix, of in sorted(by_mix.items())} | {"localised": _share(sum(by_mix.values(), Counter[str]()))}


def told(fault: str) -> bool:
    kind, _, strength = fault.partition(" ")
    return strength.startswith("and") or (kind in ALLOWED and strength in [f"{one:.0%}" for one in STRENGTHS[kind] if one >= ALLOWED[kind]])


def _share(of: Counter[str]) -> Figures:
    return {"cases": of.total(), **{outcome: of[outcome] for outcome in OUTCOMES}, **share(of["right"], of.total())}


def share(right: int, cases: int) -> Figures:
    return {"share": round(right / cases, 4), "low_high": [round(one, 4) for one in wilson(right, cases)]} if cases else {}


def healthily(ranks: int, hours: float, steps: int, seed: int) -> Figures:
    """Upper bound at 95 %: as many as would stay below what was seen one time in twenty (Poisson)."""
    from scipy.stats import chi2

    tally = Tally()
    while tally.cost_s["job"] < 3600 * hours:
        tally.add(drawn(ranks, 0, HEALTHY_FROM + seed * 1000 + int(tally.cost_s["cases"])), steps)
    ran, wrong = tally.cost_s["job"] / 3600, len(tally.wrong)
    most = float(chi2.ppf(0.95, 2 * wrong + 2)) / 2
    false = {"hours": round(ran, 2), "verdicts": int(tally.cost_s["cases"]), "false": wrong, "at_most_95": round(1000 * most / max(ran, 1e-9), 1)}
    return {"false_per_1000_job_hours": round(1000 * wrong / max(ran, 1e-9), 2), "healthy": false}


def syndrome_right(tallies: Iterable[Tally]) -> Figures:
    right, all_of = (sum(tally.syndrome[place] for tally in tallies) for place in (0, 1))
    return {"syndrome_right": share(right, all_of)}


def cost(tallies: Iterable[Tally]) -> Figures:
    """In seconds of one core. A job at full pace does its operations in a fiftieth of the time, and that is what the analyzer is held against."""
    total = sum((tally.cost_s for tally in tallies), Counter[str]())
    cases = max(total["cases"], 1)
    return {
        "simulator_s_a_case": round(total["simulator"] / cases, 3), "analyzer_s_a_case": round(total["analyzer"] / cases, 3),
        "analyzer_s_a_job_second": round(total["analyzer"] * PACE / max(total["job"], 1e-9), 3),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
