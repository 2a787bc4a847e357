"""Runs the safety simulation and says what it came to. Ends with 1 if anything that must hold was broken, or hours that were asked were not run."""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from gpuwarden.sim.safety import wishes
from gpuwarden.sim.safety.kept import add_to, outcomes_in
from gpuwarden.sim.safety.ordeal import Outcome, undergo
from gpuwarden.sim.safety.progress import Progress
from gpuwarden.sim.safety.row import ONE_HZ, TEN_HZ, Pace
from gpuwarden.sim.safety.told import HOUR_S, figures, lines

RUN_S: Final = {TEN_HZ.name: 600.0, ONE_HZ.name: 1200.0}  # of one tree; then another is tried

Task = tuple[int, str, Pace, float]


def main() -> int:
    args = _arguments()
    asked_h = {TEN_HZ.name: args.hours_10hz, ONE_HZ.name: args.hours_1hz}
    outcomes = outcomes_in(args.add_to) if args.add_to else []
    left_h = {pace: hours - sum(one.passed_s for one in outcomes if one.pace == pace) / HOUR_S for pace, hours in asked_h.items()}
    first = max([args.seed, *(one.seed + 1 for one in outcomes)])
    tasks, before = list(_tasks(first, args.policy or list(wishes.NAMES), left_h)), len(outcomes)
    if not tasks and not outcomes:
        sys.exit("--hours-10hz, --hours-1hz: nothing is asked")
    for outcome in _run(tasks, args.jobs, args.stop_after_s):
        outcomes.append(outcome)
        if args.add_to:
            add_to(args.add_to, outcome)
        if outcome.broken:
            print(f"seed {outcome.seed}, {outcome.policy}, {outcome.pace}: {outcome.broken}", file=sys.stderr, flush=True)
    told = figures(outcomes, asked_h)
    print(json.dumps(told) if args.json else "\n".join(lines(told)))
    return 1 if told["broken"] or len(outcomes) < before + len(tasks) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gpuwarden.sim.safety", description=__doc__)
    parser.add_argument("--hours-10hz", type=float, default=200.0, help="simulated hours at ten readings and decisions a second")
    parser.add_argument("--hours-1hz", type=float, default=2000.0, help="simulated hours at one a second")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each further run has the next")
    parser.add_argument("--policy", action="append", choices=wishes.NAMES, help="only this one; may be given again")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--stop-after-s", type=float, default=float("inf"), help="begin no further run after so many real seconds")
    parser.add_argument("--add-to", type=Path, metavar="FILE", help="a line for each run; what stands there already counts, and later seeds follow")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _tasks(seed: int, policies: list[str], asked_h: dict[str, float]) -> Iterator[Task]:
    """Both paces in turn, so that a run that is stopped has had its share of both."""
    left_s = {pace: hours * HOUR_S for pace, hours in asked_h.items()}
    whole_s = dict(left_s)
    while any(seconds > 0 for seconds in left_s.values()):
        pace = max((TEN_HZ, ONE_HZ), key=lambda one: left_s[one.name] / (whole_s[one.name] or 1.0))
        seconds = min(left_s[pace.name], RUN_S[pace.name])
        left_s[pace.name] -= seconds
        yield seed, policies[seed % len(policies)], pace, seconds
        seed += 1


def _undergo(task: Task) -> Outcome:
    return undergo(*task)


def _run(tasks: list[Task], jobs: int, stop_after_s: float) -> Iterator[Outcome]:
    began_s = time.monotonic()
    progress = Progress(sum(seconds for *_, seconds in tasks), began_s)
    with multiprocessing.Pool(jobs) as pool:
        due = iter(tasks)
        under_way = [pool.apply_async(_undergo, (task,)) for task in islice(due, jobs)]
        while under_way:
            under_way[0].wait(1.0)
            ready, under_way = [one for one in under_way if one.ready()], [one for one in under_way if not one.ready()]
            for one in ready:
                yield (outcome := one.get())
                progress.done(outcome.passed_s)
                if time.monotonic() - began_s < stop_after_s and (task := next(due, None)) is not None:
                    under_way.append(pool.apply_async(_undergo, (task,)))
            if line := progress.line(time.monotonic()):
                print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
