"""`gpuwarden report`: what went wrong in a time, where, and what each job lost by it, from what the daemons have recorded."""

import argparse
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuwarden.cli.brokers import brokers
from gpuwarden.cli.jobs import MAX_NS, unix_ns
from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.cli.report_faults import Fault
    from gpuwarden.detector.job_spans import Presence
    from gpuwarden.proto.control_pb2 import Action

GROUP: Final = "gpuwarden-recorder-report"  # a recorder's rights are enough


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    meaning = "faults by cause and node, how many were localised, what was done, and what each job lost; from whatever of the three sources is named"
    report = verbs.add_parser("report", help=meaning)
    findings = report.add_mutually_exclusive_group()
    findings.add_argument("--bootstrap", metavar="HOST:PORT,..", help="Kafka's brokers, for the findings that their topic still has")
    findings.add_argument("--config", type=Path, metavar="FILE", help="the same by a file with a [bus] table, for brokers that ask who one is")
    report.add_argument("--ledger", type=Path, metavar="FILE", help="the controller's, which may be running")
    report.add_argument("--history", type=Path, metavar="DIR", help="folder that `gpuwarden record` writes to: when jobs were on their cards")
    report.add_argument("--since", type=unix_ns, default=0, metavar="TIME", help="2026-01-31 or 2026-01-31T13:00, UTC; default: from the first record on")
    report.add_argument("--until", type=unix_ns, default=MAX_NS, metavar="TIME", help="not included; default: to the last record")
    report.add_argument("--wait-s", type=float, default=30.0, metavar="S", help="for a broker that does not answer (%(default)g)")
    report.add_argument("--json", action="store_true", help="everything as JSON, in seconds")
    report.set_defaults(run=run, verb="report")


def run(args: argparse.Namespace) -> int:
    from gpuwarden.cli.report_made import made
    from gpuwarden.cli.report_text import as_json, lines

    if args.since >= args.until:
        raise ConfigError("--until: should be later than --since")
    asked = args.bootstrap is not None or args.config is not None
    if not (asked or args.ledger or args.history):
        raise ConfigError("--bootstrap, --ledger, --history: one at least says what there is to report")
    faults, refused = _faults(args) if asked else (None, ())
    report = made(faults, refused, _lines(args), _presences(args), args.since, args.until)
    print(json.dumps(as_json(report), indent=1) if args.json else "\n".join(lines(report)))
    return 0


def _faults(args: argparse.Namespace) -> "tuple[tuple[Fault, ...], Sequence[str]]":
    from gpuwarden.cli.report_faults import faults_of
    from gpuwarden.core.bus import BusError
    from gpuwarden.core.connect import connect
    from gpuwarden.core.left_firing import published
    from gpuwarden.proto import topics

    stop = threading.Event()
    timer = threading.Timer(args.wait_s, stop.set)
    timer.daemon = True
    timer.start()
    try:
        bus = connect(brokers(args), stop, wanted=(topics.FINDINGS,))
        timer.cancel()
        return faults_of(published(bus, GROUP, stop))
    except BusError as why:
        raise ConfigError(f"--bootstrap: {why}") from None
    finally:
        timer.cancel()


def _lines(args: argparse.Namespace) -> "tuple[Action, ...] | None":
    from gpuwarden.controller.ledger_read import lines

    return tuple(lines(args.ledger, args.since, args.until)) if args.ledger is not None else None


def _presences(args: argparse.Namespace) -> "tuple[Presence, ...] | None":
    from gpuwarden.detector.history_door import BadHistory
    from gpuwarden.detector.job_spans import presences

    if args.history is None:
        return None
    if not args.history.is_dir():
        raise ConfigError(f"--history: {args.history} is not a folder")
    try:
        return tuple(presences(args.history, args.since, args.until))
    except BadHistory as why:
        raise ConfigError(f"--history: {why}") from None
