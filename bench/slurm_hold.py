"""How long Slurm holds a job back that is taken off a bad node: a real slurmctld and four slurmd, orders by `controller/schedulers/slurm.py`.

    python bench/slurm_hold.py [--rounds 3] [--json FILE]

In each round two jobs lose their nodes, each drained with a reason of ours; then the job is requeued and kept off the node. Nobody lifts the hold.
Seconds from the order to drain to the order carried out, and from the order to requeue until the job runs again on another node.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from services import slurm as service

from gpuwarden.controller.schedulers.scheduler import Phase
from gpuwarden.controller.schedulers.slurm import Slurm

HELD_MOST_S = 400.0
ASK_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    took: dict[str, list[float]] = {"drain_s": [], "held_s": []}
    with tempfile.TemporaryDirectory() as scratch, service.running(Path(scratch)) as cluster:
        os.environ |= {name: cluster.env[name] for name in ("PATH", "SLURM_CONF")}
        for number in range(args.rounds):
            cluster.end_everything()
            one_round(cluster, number, took)
            print(f"round {number + 1} of {args.rounds}: {took}", file=sys.stderr, flush=True)
    figures = {name: summed(values) for name, values in took.items()}
    for name, of in figures.items():
        print(f"{name}: {len(of['each'])} times, median {of['median']:.1f}, longest {of['longest']:.1f}: {', '.join(f'{one:.1f}' for one in of['each'])}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def one_round(cluster: service.Slurm, number: int, took: dict[str, list[float]]) -> None:
    slurm = Slurm(service.NODES)
    jobs = [cluster.submit("exec sleep 3000", "--requeue", "--nodes=1", "--exclusive") for _ in range(2)]
    cluster.wait_until(lambda: all(slurm.truth().jobs[job].phase is Phase.RUNNING for job in jobs))
    ordered_s = {job: taken_off(slurm, job, f"gpuwarden: q{number} hold of {job}", took) for job in jobs}
    waiting = dict(ordered_s)
    while waiting:
        truth = slurm.truth().jobs
        for job in [job for job in waiting if truth[job].phase is Phase.RUNNING and truth[job].restarts == 1]:
            took["held_s"].append(time.monotonic() - waiting.pop(job))
        if any(time.monotonic() - since_s > HELD_MOST_S for since_s in waiting.values()):
            raise SystemExit(f"jobs {', '.join(waiting)} do not run again within {HELD_MOST_S:.0f} s:\n{cluster.log_end()}")
        time.sleep(ASK_S)


def taken_off(slurm: Slurm, job: str, reason: str, took: dict[str, list[float]]) -> float:
    """When it was ordered to be requeued."""
    seen = slurm.truth().jobs[job]
    began_s = time.monotonic()
    slurm.drain(seen.nodes[0], reason)
    took["drain_s"].append(time.monotonic() - began_s)
    ordered_s = time.monotonic()
    slurm.requeue(job, seen.restarts)
    slurm.exclude(job, [seen.nodes[0]])
    return ordered_s


def summed(values: list[float]) -> dict[str, Any]:
    return {"each": [round(one, 1) for one in values], "median": round(statistics.median(values), 1), "longest": round(max(values), 1)}


if __name__ == "__main__":
    raise SystemExit(main())
