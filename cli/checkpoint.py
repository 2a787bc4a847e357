"""`gpuwarden checkpoint`: the folder that a job can go on from, for its own script to ask."""

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    asks = verbs.add_parser("checkpoint", help="the newest complete checkpoint in a folder, to go on from; 1: there is none")
    asks.add_argument("folder", type=Path, metavar="DIR", help="where the job puts its checkpoints, each in a folder of its own")
    asks.add_argument("--before", type=_time_s, metavar="TIME", help="only one written before, as 2026-01-31T12:00:00Z: what came later may be wrong")
    asks.add_argument("--wait", type=float, default=0.0, metavar="S", help="for one that is still being written, so long at most")
    asks.add_argument("--json", action="store_true", help="with its kind, step, size and time")
    asks.set_defaults(run=run, verb="checkpoint")


def run(args: argparse.Namespace) -> int:
    from gpuwarden.controller.checkpoints.checkpoint import NoCheckpoint
    from gpuwarden.controller.checkpoints.newest import newest

    try:
        found = newest(args.folder, args.before, args.wait)
    except NoCheckpoint as why:
        print(f"gpuwarden: {why}", file=sys.stderr)
        return 1
    told = {"path": str(found.path), "kind": found.kind, "step": found.step, "bytes": found.bytes, "written_unix_s": found.written_s}
    print(json.dumps(told, indent=1) if args.json else found.path)
    return 0


def _time_s(text: str) -> float:
    """Unix seconds; argparse says what is wrong with it."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"is {text!r}, should be as 2026-01-31T12:00:00Z") from None
    if when.tzinfo is None:
        raise argparse.ArgumentTypeError(f"is {text!r}, should say of which time zone, as Z or +01:00 at its end")
    return when.timestamp()
