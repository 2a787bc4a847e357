"""`gpuwarden train`: what is usual for each node, learned from recorded history, into the registry that a detector reads."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuwarden.cli.jobs import unix_ns
from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.detector.health.learned import Learned
    from gpuwarden.detector.health.train import Lessons
    from gpuwarden.detector.past.piece import Span

REGISTRY: Final = Path("/var/lib/gpuwarden-models")
DAYS: Final = 8.0  # one that only teaches, and seven for the threshold
BUDGET: Final = 0.1
_BAR: Final = 30


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    train = verbs.add_parser("train", help="learn what is usual for each node from recorded history, for a detector to judge by")
    train.add_argument("--past", required=True, metavar="SOURCE", help="parquet:DIR, kafka:HOST:PORT,.. or influx:FILE (docs/history.md)")
    train.add_argument("--registry", type=Path, default=REGISTRY, metavar="DIR", help="where the model goes; default: %(default)s")
    train.add_argument("--budget", type=_budget, default=BUDGET, metavar="N", help="findings a node and day that you will look at; default: %(default)s")
    train.add_argument("--days", type=_days, default=DAYS, metavar="N", help="so much of the history; default: %(default)g")
    train.add_argument("--until", type=unix_ns, metavar="TIME", help="end of it, 2026-01-31 or 2026-01-31T13:00, UTC; default: now")
    train.add_argument("--node", action="append", metavar="NAME", help="of this node alone; may be given several times")
    train.add_argument("--promote", action="store_true", help="the model judges at once; without it in the shadow of the one that does")
    train.add_argument("--json", action="store_true", help="everything as JSON")
    train.set_defaults(run=run, verb="train")


def _budget(text: str) -> float:
    if not 0 < (budget := float(text)) <= 100:
        raise argparse.ArgumentTypeError(f"is {text}, should be above 0 and at most 100 findings a node and day")
    return budget


def _days(text: str) -> float:
    if not 2 <= (days := float(text)) <= 60:
        raise argparse.ArgumentTypeError(f"is {text}, should be 2 to 60")
    return days


def run(args: argparse.Namespace) -> int:
    from gpuwarden.cli.train_told import as_json, lines
    from gpuwarden.detector.health.fit import stacked
    from gpuwarden.detector.registry.refused import BadModel

    span = _span(args)
    lessons = _lessons(args, span)
    learned = stacked(lessons.fitted)
    try:
        model_id = _put(args, learned, span)
    except (BadModel, OSError) as why:
        raise ConfigError(f"--registry: {why}") from None
    made = as_json(model_id, args.promote, args.budget, span, lessons, learned)
    print(json.dumps(made, indent=1) if args.json else "\n".join(lines(made)))
    return 0


def _span(args: argparse.Namespace) -> "Span":
    from gpuwarden.detector.past.piece import MINUTE_NS, Span

    end = (time.time_ns() if args.until is None else args.until) // MINUTE_NS
    return Span(max(0, end - round(args.days * 1440)), end)


def _lessons(args: argparse.Namespace, span: "Span") -> "Lessons":
    """ConfigError where there is nothing to learn from."""
    from gpuwarden.cli.train_told import when
    from gpuwarden.detector.health.fit import LEAST_MINUTES
    from gpuwarden.detector.health.train import learned_from
    from gpuwarden.detector.past import opened
    from gpuwarden.detector.past.block import BadPast

    try:
        with opened(args.past) as source:
            lessons = learned_from(source, span, args.budget, args.node, _progress())
    except BadPast as why:
        raise ConfigError(f"--past: {why}") from None
    if not lessons.fitted and not lessons.too_little:
        raise ConfigError(f"--past: {args.past} has no telemetry from {when(span.first)} to {when(span.end)}; --until and --days say of which time")
    if not lessons.fitted:
        fullest = max(lessons.too_little, key=lambda one: one.known_minutes)
        known, least = fullest.known_minutes / 1440, LEAST_MINUTES / 1440
        raise ConfigError(f"--past: too little history: {fullest.node} has {known:.2f} days of telemetry, the others less, and {least:.2f} are needed")
    return lessons


def _put(args: argparse.Namespace, learned: "Learned", span: "Span") -> str:
    from gpuwarden.detector.health.stored import Origin, stored
    from gpuwarden.detector.registry.shelf import Registry

    registry = Registry(args.registry)
    model_id = registry.add(*stored(learned, Origin(time.time(), 60.0 * span.first, 60.0 * span.end, args.budget)))
    if args.promote:
        registry.promote()
    return model_id


def _progress() -> Callable[[float], object]:
    """On a terminal a bar that is written over; elsewhere nothing."""
    if not sys.stderr.isatty():
        return lambda share: None

    def show(share: float) -> None:
        full = round(_BAR * share)
        print(f"\rlearning [{'#' * full}{'.' * (_BAR - full)}] {100 * share:3.0f} %", end="\n" if share >= 1.0 else "", file=sys.stderr, flush=True)

    return show
