"""How soon the rank is named that stops, dies, slows down or holds its interpreter's lock, in a real torchrun job (gloo, CPU), through Apache Kafka.

    python bench/hang_live.py [--repeats 5] [--healthy-s 900] [--faults stop,gil,slow,kill] [--seed 1] [--json FILE]

Each repeat is a job of 4 to 8 ranks. A rank at random is stopped (and goes on), another one or the same holds the interpreter's lock for 45 s, is slowed to
half speed (and back), in an order at random, and at last one is killed. Nothing here or in what is measured looks at the state of a process. A finding of another
rank or kind while a fault lasts, and any between faults or in the healthy job, is counted as false. Records are counted where they come from and where they go.
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from services import kafka
from services.live_job import Job, Watching, firing, watching

from gpuwarden.proto.finding_pb2 import FindingState

KINDS = {"stop": "rank_hang", "gil": "rank_hang", "slow": "rank_slow", "kill": "rank_dead"}
AIM_S = {"stop": 30.0, "gil": 30.0, "slow": 60.0, "kill": 30.0}
WARM_S = 15.0  # of training, before the first fault and between two
WAIT_S = 120.0
OVER_S = 90.0
ENDED_S = 10.0  # after the launcher of the healthy job was told to end


@dataclass
class Told:
    """`found_s` by fault, None where nothing named the rank in time; `false` findings in words."""

    found_s: dict[str, list[float | None]] = field(default_factory=lambda: defaultdict(list))
    over_s: dict[str, list[float | None]] = field(default_factory=lambda: defaultdict(list))
    words: dict[str, str] = field(default_factory=dict)
    false: list[str] = field(default_factory=list)
    by_launcher: int = 0  # of the killed: no other rank could say a word


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--healthy-s", type=float, default=900.0)
    parser.add_argument("--faults", default=",".join(KINDS), help="those to try, by comma")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    chance, told = random.Random(args.seed), Told()
    with tempfile.TemporaryDirectory() as scratch, kafka.running(_folder(scratch, "kafka")) as broker, watching(_folder(scratch, "node"), broker.bootstrap) as watched:
        for repeat in range(args.repeats):
            with watched.job(chance.choice((4, 4, 5, 6, 8))) as job:
                _one(watched, job, chance, told, args.faults.split(","))
            print(f"repeat {repeat + 1} of {args.repeats}: {dict(told.found_s)}, false: {told.false}", file=sys.stderr, flush=True)
        cost = _healthy(watched, args.healthy_s, told) if args.healthy_s else {}
        counts = watched.counted()
    made = {"faults": {kind: _summed(kind, told) for kind in KINDS if told.found_s[kind]}, "false": told.false, "killed_by_launchers_word": told.by_launcher, "healthy_s": args.healthy_s, **cost, "records": counts}
    print("\n".join(_lines(made, told)))
    if args.json:
        args.json.write_text(json.dumps({**made, "words": told.words}, indent=1) + "\n", encoding="utf-8")
    return 0 if all(fault["median_s"] is not None and fault["median_s"] <= AIM_S[kind] for kind, fault in made["faults"].items()) and not told.false else 1


def _folder(scratch: str, name: str) -> Path:
    folder = Path(scratch) / name
    folder.mkdir()
    return folder


def _one(watched: Watching, job: Job, chance: random.Random, told: Told, kinds: Sequence[str]) -> None:
    """All faults that are asked for, the deadly one last."""
    order = chance.sample(["stop", "gil", "slow"], 3)
    for kind in [one for one in (*order, "kill") if one in kinds]:
        _quiet(watched, WARM_S, told, f"before {kind}")
        rank = chance.choice(sorted(job.pids))
        began_s, met = job.fault(kind, rank), len(watched.said)
        found = watched.wait_for(firing(KINDS[kind], rank), WAIT_S)
        told.found_s[kind].append(found[0] - began_s if found is not None else None)
        if found is not None:
            told.by_launcher += "the launcher then" in found[1].summary
            told.words[kind] = f"{found[1].summary} -> {found[1].suggested_action}"
        if kind == "kill":
            if found is None:
                print(f"not named: {rank} of {len(job.pids)}; {[one.summary for _, one in watched.said[met:]]}", file=sys.stderr, flush=True)
            continue
        _undo(job, kind, rank)
        over_s = time.monotonic()
        over = watched.wait_for(lambda one: one.state == FindingState.FINDING_STATE_RESOLVED, OVER_S) if found is not None else None
        told.over_s[kind].append(over[0] - over_s if over is not None else None)
        told.false += [
            f"{kind} of rank {rank} of {len(job.pids)}: {one.kind} {one.subject.id}: {one.summary}"
            for _, one in watched.said[met:] if one.state == FindingState.FINDING_STATE_FIRING and not firing(KINDS[kind], rank)(one)
        ]  # fmt: skip


def _undo(job: Job, kind: str, rank: int) -> None:
    if kind == "stop":
        os.kill(job.pids[rank], signal.SIGCONT)
    (job.folder / f"slow-{rank}").unlink(missing_ok=True)


def _quiet(watched: Watching, for_s: float, told: Told, when: str) -> None:
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        told.false += [f"{when}: {one.kind} {one.subject.id}: {one.summary}" for _, one in watched.poll(0.5) if one.state == FindingState.FINDING_STATE_FIRING]


def _healthy(watched: Watching, for_s: float, told: Told) -> dict[str, Any]:
    """What agent and detector cost meanwhile, in parts of a core."""
    with watched.job(6) as job:
        before_s = {name: _cpu_s(process.pid) for name, process in watched.processes.items()}
        hooks_s = {rank: _thread_cpu_s(pid) for rank, pid in job.pids.items()}
        began_s = time.monotonic()
        _quiet(watched, for_s, told, "healthy")
        took_s = time.monotonic() - began_s
        hook = [(_thread_cpu_s(pid) - hooks_s[rank]) / took_s for rank, pid in job.pids.items()]
        cost = {name: round((_cpu_s(process.pid) - before_s[name]) / took_s, 4) for name, process in watched.processes.items()}
    _quiet(watched, ENDED_S, told, "ended from outside")
    return {"cores": {**cost, "thread of a rank": round(statistics.mean(hook), 4)}}


def _cpu_s(pid: int) -> float:
    return _ticks(Path(f"/proc/{pid}/stat"))


def _thread_cpu_s(pid: int) -> float:
    """Of the thread that watches a rank."""
    return sum(_ticks(task / "stat") for task in Path(f"/proc/{pid}/task").iterdir() if (task / "comm").read_text() == "gpuwarden\n")


def _ticks(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _summed(kind: str, told: Told) -> dict[str, Any]:
    found = [one for one in told.found_s[kind] if one is not None]
    over = [one for one in told.over_s[kind] if one is not None]
    return {
        "cases": len(told.found_s[kind]), "named": len(found), "median_s": round(statistics.median(found), 1) if found else None,
        "max_s": round(max(found), 1) if found else None, "over": len(over), "over_median_s": round(statistics.median(over), 1) if over else None,
    }  # fmt: skip


def _lines(made: dict[str, Any], told: Told) -> list[str]:
    lines = [
        f"{kind:5} named {fault['named']} of {fault['cases']}, median {fault['median_s']} s, longest {fault['max_s']} s; over {fault['over']}, median {fault['over_median_s']} s"
        for kind, fault in made["faults"].items()
    ]
    lines += [f"killed, with no other witness than torchrun: {told.by_launcher}"]
    lines += [f"{kind}: {words}" for kind, words in told.words.items()]
    lines += [f"false: {len(told.false)}, {made['healthy_s']:.0f} s of a healthy job among it", *told.false]
    lines += [f"{name}: {count}" for name, count in made["records"].items()]
    return [*lines, *(f"{name}: {share:.1%} of a core" for name, share in made.get("cores", {}).items())]


if __name__ == "__main__":
    raise SystemExit(main())
