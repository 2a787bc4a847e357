"""`gpuwarden controller`: the daemon that decides and acts."""

import argparse
from pathlib import Path


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    controller = verbs.add_parser("controller", help="decide on power caps, tell people, keep the ledger")
    controller.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML; see docs/configuration.md")
    controller.add_argument("--events", type=Path, metavar="DIR", help="write an event log there, for gpuwarden replay")
    controller.set_defaults(run=run, verb="controller")


def run(args: argparse.Namespace) -> int:
    from gpuwarden.controller.config import ControllerConfig
    from gpuwarden.controller.main import run as run_controller
    from gpuwarden.core.reload import load_watched

    return run_controller(load_watched(args.config, ControllerConfig), events_dir=args.events)
