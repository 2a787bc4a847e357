"""`gpuwarden sim comm`: a training job's communication in virtual time, as NCCL Inspector would write it, with faults whose place is known."""

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.sim.comm.job import Fault

_FAULT = re.compile(r"^(slow_gpu|slow_host|slow_nic|slow_fabric)@(\d{1,6})=(\d+(?:\.\d+)?)$")


def add(what: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    comm = what.add_parser("comm", help="a training job whose ranks, hosts or networks are slow, as NCCL Inspector's logs for `diagnose`")
    comm.add_argument("--tensor", type=int, default=8, metavar="N", help="ranks of a tensor parallel group; default: %(default)s")
    comm.add_argument("--pipeline", type=int, default=2, metavar="N", help="stages; default: %(default)s")
    comm.add_argument("--data", type=int, default=4, metavar="N", help="copies; default: %(default)s")
    comm.add_argument("--steps", type=int, default=40, metavar="N")
    comm.add_argument(
        "--fault", action="append", default=[], metavar="KIND@AT=STRENGTH",
        help="slow_gpu@RANK=0.1, slow_host@HOST=0.1, slow_nic@HOST=0.5 or slow_fabric@0=0.5; may be given again",
    )
    comm.add_argument("--messages", action="store_true", help="pipeline messages too, as NCCL 2.30.3 and later tell of them")
    comm.add_argument("--seed", type=int, default=1)
    comm.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the logs; the faults stand beside them in labels.json")
    comm.set_defaults(run=run, verb="sim")


def run(args: argparse.Namespace) -> int:
    for name, high in (("tensor", 64), ("pipeline", 64), ("data", 512), ("steps", 100_000)):
        if not 1 <= getattr(args, name) <= high:
            raise ConfigError(f"--{name}: is {getattr(args, name)}, should be 1 to {high}")
    faults = [_fault(one) for one in args.fault]
    if args.out.exists():
        raise ConfigError(f"--out: {args.out} is there already; name a new folder")
    from gpuwarden.sim.comm.job import CARDS, Job, Shape
    from gpuwarden.sim.comm.written import write

    shape = Shape(args.tensor, args.pipeline, args.data)
    for fault in faults:
        most = shape.ranks if fault.kind == "slow_gpu" else -(-shape.ranks // CARDS)
        if fault.at >= most:
            raise ConfigError(f"--fault: {fault.kind} at {fault.at}, the job has {most}, counted from 0")
    lines = write(args.out, Job(shape, faults, args.seed, args.messages).run(args.steps))
    labels = {"ranks": shape.ranks, "faults": [{"kind": one.kind, "at": one.at, "strength": one.strength} for one in faults]}
    (args.out / "labels.json").write_text(json.dumps(labels, indent=1) + "\n", encoding="utf-8")
    print(f"{lines:,} operations of {shape.ranks} ranks in {args.out}; now: gpuwarden diagnose {args.out}")
    return 0


def _fault(text: str) -> "Fault":
    from gpuwarden.sim.comm.job import Fault

    if (found := _FAULT.match(text)) is None:
        raise ConfigError(f"--fault: is {text!r}, should be such as slow_gpu@3=0.1")
    return Fault(found[1], int(found[2]), float(found[3]))
