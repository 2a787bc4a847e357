"""`gpuwarden detector`: telemetry to findings."""

import argparse
from pathlib import Path


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    detector = verbs.add_parser("detector", help="turn telemetry into findings")
    detector.add_argument("--config", type=Path, default=Path("/etc/gpuwarden/detector.toml"), help="default: %(default)s")
    detector.add_argument("--events", type=Path, metavar="DIR", help="write every event there, for `gpuwarden replay`")
    detector.set_defaults(run=run, verb="detector")


def run(args: argparse.Namespace) -> int:
    from gpuwarden.core.reload import load_watched
    from gpuwarden.detector.config import DetectorConfig
    from gpuwarden.detector.main import run as run_detector

    return run_detector(load_watched(args.config, DetectorConfig), events_dir=args.events)
