"""`gpuwarden jobs`: what each job drew and how long it was under our caps, from the history that a recorder wrote."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuwarden.cli.plain_text import Ink
from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.detector.account import Account

AGREES_RATIO: Final = 0.02
MAX_NS: Final = 2**64 - 1  # of a time in telemetry


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    meaning = "energy, time under our caps and what that may have cost, job by job; 1: it does not add up to the cards' counters"
    jobs = verbs.add_parser("jobs", help=meaning)
    jobs.add_argument("--history", type=Path, required=True, metavar="DIR", help="folder that `gpuwarden record` writes to")
    since = "2026-01-31 or 2026-01-31T13:00, UTC; default: from the first record on"
    jobs.add_argument("--since", type=unix_ns, default=0, metavar="TIME", help=since)
    jobs.add_argument("--until", type=unix_ns, default=MAX_NS, metavar="TIME", help="not included; default: to the last record")
    jobs.add_argument("--json", action="store_true", help="everything as JSON, in joules and seconds")
    jobs.set_defaults(run=run, verb="jobs")


def unix_ns(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"is {text}, should be a time such as 2026-01-31 or 2026-01-31T13:00") from None
    seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    if not 0 <= seconds < MAX_NS / 1e9:
        raise argparse.ArgumentTypeError(f"is {text}, should be 1970 or later, and before 2554")
    return int(seconds * 1e6) * 1000


def run(args: argparse.Namespace) -> int:
    from gpuwarden.cli.jobs_text import as_json, lines

    made = _account(args)
    if args.json:
        print(json.dumps(as_json(made), indent=1))
    else:
        print("\n".join(lines(made, Ink(sys.stdout.isatty()))))
    return int(abs(made.difference_ratio) > AGREES_RATIO)


def _account(args: argparse.Namespace) -> "Account":
    from gpuwarden.detector.account import account
    from gpuwarden.detector.history_door import BadHistory

    if args.since >= args.until:
        raise ConfigError("--until: should be later than --since")
    if not args.history.is_dir():
        raise ConfigError(f"--history: {args.history} is not a folder")
    try:
        made = account(args.history, args.since, args.until)
    except BadHistory as why:
        raise ConfigError(f"--history: {why}") from None
    if not made.gpus:
        raise ConfigError(f"--history: {args.history} has no readings of GPUs in that time")
    return made
