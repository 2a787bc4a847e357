"""Runs random schedules of faults and says what broke, and which faults struck nodes in which states. Ends with 1 if anything broke."""

import argparse
import json
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from gpuwarden.controller.isolation.lifecycle import State
from gpuwarden.sim.isolation.faults import FAULTS
from gpuwarden.sim.isolation.ordeal import Outcome, undergo

TELL_EACH = 500


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    outcomes = list[Outcome]()
    seeds = range(args.seed, args.seed + args.schedules)
    with multiprocessing.Pool(args.jobs) as pool:
        for outcome in pool.imap_unordered(undergo, seeds, chunksize=4):
            outcomes.append(outcome)
            for what in outcome.broken:
                print(f"seed {outcome.seed}: {what}", file=sys.stderr, flush=True)
            if len(outcomes) % TELL_EACH == 0:
                print(f"{len(outcomes):,} of {args.schedules:,} schedules", file=sys.stderr, flush=True)
    struck = sum((outcome.struck for outcome in outcomes), Counter[tuple[str, str]]())
    if args.json:
        print(json.dumps(_figures(outcomes, struck)))
    else:
        print("\n".join((*_lines(outcomes, struck), "", *_coverage(struck))))
    return 1 if any(outcome.broken for outcome in outcomes) else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gpuwarden.sim.isolation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=200, help="each a day and four hours of a cluster, with 3 faults at least")
    parser.add_argument("--seed", type=int, default=1, help="of the first; each further one has the next")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    if args.schedules < 1 or args.jobs < 1:
        parser.error("--schedules, --jobs: should be 1 at least")
    return args


def _figures(outcomes: Sequence[Outcome], struck: Counter[tuple[str, str]]) -> dict[str, object]:
    broken = {str(outcome.seed): outcome.broken for outcome in outcomes if outcome.broken}
    coverage = [{"fault": fault, "state": state, "count": count} for (fault, state), count in sorted(struck.items())]
    acts = sum(outcome.acts for outcome in outcomes)
    return {"schedules": len(outcomes), "faults": struck.total(), "acts": acts, "broken": broken, "coverage": coverage}


def _lines(outcomes: Sequence[Outcome], struck: Counter[tuple[str, str]]) -> Iterator[str]:
    acts, broken = sum(outcome.acts for outcome in outcomes), sum(bool(outcome.broken) for outcome in outcomes)
    fewest = min(outcome.struck.total() for outcome in outcomes)
    yield f"{len(outcomes):,} schedules, {struck.total():,} faults ({fewest} at least in each), {acts:,} acts: {broken} schedules with something broken"


def _coverage(struck: Counter[tuple[str, str]]) -> Iterator[str]:
    """Faults by the state of the node that they struck."""
    states = [state.value for state in State]
    yield " " * 30 + " ".join(f"{state:>10}" for state in states)
    for fault in FAULTS:
        yield f"{fault:30}" + " ".join(f"{struck[fault, state]:>10,}" for state in states)
    empty = sum(not struck[fault, state] for fault in FAULTS for state in states)
    yield f"{len(FAULTS) * len(states) - empty} of {len(FAULTS) * len(states)} cells struck"


if __name__ == "__main__":
    sys.exit(main())
