"""`gpuwarden sim comm`: a training job's communication in virtual time, as its libraries would write it down, with faults whose place is known."""

import argparse
import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.sim.comm.hung import Hang
    from gpuwarden.sim.comm.shape import Fault, Shape

_FAULT = re.compile(r"^(slow_gpu|slow_host|slow_nic|slow_fabric)@(\d{1,6})=(\d+(?:\.\d+)?)$")
_HANG = re.compile(r"^(stuck_process|stuck_gpu|dead_process)@(\d{1,6})$")


def add(what: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    comm = what.add_parser("comm", help="a training job whose ranks, hosts or networks are slow or hang, as NCCL's and PyTorch's own records for `diagnose`")
    comm.add_argument("--tensor", type=int, default=8, metavar="N", help="ranks of a tensor parallel group; default: %(default)s")
    comm.add_argument("--pipeline", type=int, default=2, metavar="N", help="stages; default: %(default)s")
    comm.add_argument("--data", type=int, default=4, metavar="N", help="copies; default: %(default)s")
    comm.add_argument("--expert", type=int, default=1, metavar="N", help="copies that share the experts of a layer, 1: none; default: %(default)s")
    comm.add_argument("--steps", type=int, default=40, metavar="N")
    comm.add_argument(
        "--fault", action="append", default=[], metavar="KIND@AT[=STRENGTH]",
        help="slow_gpu@RANK=0.1, slow_host@HOST=0.1, slow_nic@HOST=0.5 or slow_fabric@0=0.5, or stuck_process@RANK, stuck_gpu@RANK, dead_process@RANK; "
        "may be given again",
    )
    comm.add_argument("--messages", action="store_true", help="pipeline messages too, as NCCL 2.30.3 and later tell of them")
    comm.add_argument("--seed", type=int, default=1)
    comm.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the logs; the faults stand beside them in labels.json")
    comm.set_defaults(run=run, verb="sim")


def run(args: argparse.Namespace) -> int:
    for name, high in (("tensor", 64), ("pipeline", 64), ("data", 512), ("expert", 512), ("steps", 100_000)):
        if not 1 <= getattr(args, name) <= high:
            raise ConfigError(f"--{name}: is {getattr(args, name)}, should be 1 to {high}")
    if args.data % args.expert:
        raise ConfigError(f"--expert: is {args.expert}, should divide --data, which is {args.data}")
    if args.out.exists():
        raise ConfigError(f"--out: {args.out} is there already; name a new folder")
    from gpuwarden.sim.comm.shape import Shape

    shape = Shape(args.tensor, args.pipeline, args.data, expert=args.expert)
    hangs = [_hang(one, shape, args.seed) for one in args.fault if _HANG.match(one)]
    faults = [_fault(one, shape) for one in args.fault if not _HANG.match(one)]
    said = [_slow(args, shape, faults)] if faults or not hangs else []
    said += [_hung(args, shape, hangs)] if hangs else []
    labels = {"ranks": shape.ranks, "faults": [{"kind": one.kind, "at": one.at, "strength": one.strength} for one in faults]}
    labels["hangs"] = [{"kind": one.kind, "rank": one.rank, "operation": one.at} for one in hangs]
    (args.out / "labels.json").write_text(json.dumps(labels, indent=1) + "\n", encoding="utf-8")
    print(f"{' and '.join(said)} of {shape.ranks} ranks in {args.out}; now: gpuwarden diagnose {args.out}")
    return 0


def _slow(args: argparse.Namespace, shape: "Shape", faults: "list[Fault]") -> str:
    from gpuwarden.sim.comm.job import Job
    from gpuwarden.sim.comm.written import write

    return f"{write(args.out, Job(shape, faults, args.seed, args.messages).run(args.steps)):,} operations"


def _hung(args: argparse.Namespace, shape: "Shape", hangs: "list[Hang]") -> str:
    from gpuwarden.sim.comm.hung import HungJob
    from gpuwarden.sim.comm.written import write_hung

    return f"{write_hung(args.out, HungJob(shape, tuple(hangs))):,} dumps and 2 RAS answers"


def _hang(text: str, shape: "Shape", seed: int) -> "Hang":
    """At any operation of the second step."""
    from gpuwarden.sim.comm.hung import Hang
    from gpuwarden.sim.comm.programs import programs

    found = _HANG.match(text)
    assert found is not None
    rank = _within(found[1], int(found[2]), shape.ranks)
    step = (len(programs(shape, 1)[rank])) - 1
    return Hang(found[1], rank, 1 + step + random.Random(f"{seed} {text}").randrange(max(step, 1)))


def _fault(text: str, shape: "Shape") -> "Fault":
    from gpuwarden.sim.comm.shape import Fault

    if (found := _FAULT.match(text)) is None:
        raise ConfigError(f"--fault: is {text!r}, should be such as slow_gpu@3=0.1 or stuck_gpu@3")
    return Fault(found[1], _within(found[1], int(found[2]), shape.ranks if found[1] == "slow_gpu" else shape.hosts), float(found[3]))


def _within(kind: str, at: int, most: int) -> int:
    if at >= most:
        raise ConfigError(f"--fault: {kind} at {at}, the job has {most}, counted from 0")
    return at
