"""`gpuwarden limiter`: the root process that sets this node's power limits."""

import argparse
from pathlib import Path


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    limiter = verbs.add_parser("limiter", help="set this node's power limits, under the controller's leases (root)")
    limiter.add_argument("--config", type=Path, default=Path("/etc/gpuwarden/limiter.toml"), metavar="FILE")
    limiter.add_argument("--events", type=Path, metavar="DIR", help="write every event to a log that `replay` reads")
    limiter.add_argument("--floor", action="store_true", help="set every card to its floor, if this node is in auto, and end")
    limiter.add_argument(
        "--state", type=Path, default=Path("/var/lib/gpuwarden/limiter.json"), metavar="FILE",
        help="for --floor: the state file, if the configuration cannot be read to tell where it is (%(default)s)",
    )
    limiter.set_defaults(run=run, verb="limiter")


def run(args: argparse.Namespace) -> int:
    if args.floor:
        from gpuwarden.agent.limiter.floor import run as set_floors

        return set_floors(args.config, args.state)
    from gpuwarden.agent.limiter.config import LimiterConfig
    from gpuwarden.agent.limiter.main import run as run_limiter
    from gpuwarden.core.reload import load_watched

    return run_limiter(load_watched(args.config, LimiterConfig), events_dir=args.events)
