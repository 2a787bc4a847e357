"""`gpuwarden whatif`: how many more servers fit under this limit, from what a row was recorded to draw."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gpuwarden.controller.policies.ladder import LADDERS
from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.sim.whatif.question import Answer, Question
    from gpuwarden.sim.whatif.recorded import Recorded


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    asks = verbs.add_parser("whatif", help="how many more servers fit under this limit, from what yours were recorded to draw; 1: none")
    source = asks.add_mutually_exclusive_group(required=True)
    source.add_argument("--history", type=Path, metavar="DIR", help="folder that `gpuwarden record` writes to")
    source.add_argument("--power-log", type=Path, metavar="FILE", help="CSV or CSV.gz of node powers: node,time_s,power_w")
    asks.add_argument("--limit-w", type=float, required=True, metavar="W", help="what may be drawn")
    asks.add_argument("--preset", choices=tuple(LADDERS), default="polca", help="whose clock locks: %(choices)s; default: %(default)s")
    asks.add_argument("--low-ratio", type=float, default=0.5, metavar="RATIO", help="share of the servers that is of the low priority")
    asks.add_argument("--gpus", type=int, default=8, metavar="N", help="cards of a server")
    asks.add_argument("--base-w", type=float, default=2300.0, metavar="W", help="what a server draws besides its cards")
    asks.add_argument("--slope", type=float, default=1.10, metavar="RATIO", help="watts at the supply for one watt at a card")
    asks.add_argument("--floor-w", type=float, default=200.0, metavar="W", help="limit of a card that always holds")
    asks.add_argument("--default-w", type=float, default=700.0, metavar="W", help="limit of a card after a driver load")
    asks.add_argument("--lock-s", type=float, default=2.0, metavar="S", help="from a reading to the clocks; 40 through a BMC")
    asks.add_argument("--prompt-ratio", type=float, default=0.25, metavar="RATIO", help="share of a request's time that its prompt takes")
    asks.add_argument("--resamplings", type=int, default=100, metavar="N")
    asks.add_argument("--seed", type=int, default=1)
    asks.add_argument("--plot", type=Path, metavar="FILE", help="the answer as a picture, one HTML file")
    asks.add_argument("--json", action="store_true", help="the figures as JSON")
    asks.set_defaults(run=run, verb="whatif")


def run(args: argparse.Namespace) -> int:
    _check(args)
    from gpuwarden.cli.whatif_text import sentences, table
    from gpuwarden.sim.whatif.question import answered

    question = _question(args, _recorded(args))
    answer = answered(question, _progress())
    said = sentences(question, answer, args.preset)
    if args.json:
        print(json.dumps({"limit_w": args.limit_w, "preset": args.preset, **asdict(answer)}, indent=1))
    else:
        print("\n".join([*said, "", *table(answer, question.service)]))
    if args.plot is not None:
        _plot(args.plot, said, question, answer)
    return 0 if answer.fit[0] > 0 else 1


def _check(args: argparse.Namespace) -> None:
    """NodeClass and DomainConfig refuse the rest."""
    for name, low, high in (
        ("limit_w", 1.0, 1e9), ("low_ratio", 0.0, 1.0), ("lock_s", 0.0, 600.0), ("prompt_ratio", 0.0, 1.0), ("resamplings", 1, 10_000), ("seed", 0, 2**32),
        ("gpus", 1, 64), ("base_w", 0.0, 1e5), ("slope", 1.0, 2.0), ("floor_w", 1.0, args.default_w), ("default_w", 1.0, 1e4),
    ):
        if not low <= getattr(args, name) <= high:
            raise ConfigError(f"--{name.replace('_', '-')}: is {getattr(args, name):g}, should be {low:g} to {high:g}")


def _recorded(args: argparse.Namespace) -> "Recorded":
    from gpuwarden.detector.history_door import BadHistory
    from gpuwarden.sim.powerlog import BadPowerLog, read
    from gpuwarden.sim.whatif.parquet import of_history
    from gpuwarden.sim.whatif.recorded import TooLittle, of_log

    option, source = ("--history", args.history) if args.history is not None else ("--power-log", args.power_log)
    if args.history is not None and not args.history.is_dir():
        raise ConfigError(f"--history: {args.history} is not a folder")
    try:
        return of_history(args.history, args.base_w, args.slope) if args.history is not None else of_log(read(args.power_log))
    except (BadHistory, BadPowerLog) as why:
        raise ConfigError(f"{option}: {why}") from None
    except TooLittle as why:
        raise ConfigError(f"{option}: {source} {why}") from None


def _question(args: argparse.Namespace, recorded: "Recorded") -> "Question":
    from gpuwarden.controller.power.node_class import NodeClass
    from gpuwarden.sim.whatif.held import Control
    from gpuwarden.sim.whatif.question import Question, Service

    control = Control(args.limit_w, LADDERS[args.preset], args.lock_s, args.lock_s, args.prompt_ratio)
    node = NodeClass("server", (), args.gpus, args.base_w, args.floor_w, args.default_w, args.slope)
    return Question(recorded, control, Service(), node, args.low_ratio, args.resamplings, args.seed)


def _progress() -> Callable[[float], object]:
    """On a terminal a line that is written over; elsewhere nothing."""
    if not sys.stderr.isatty():
        return lambda share: None
    return lambda share: print(f"\rresamplings: {100 * share:3.0f} %", end="\n" if share >= 1.0 else "", file=sys.stderr)


def _plot(file: Path, said: list[str], question: "Question", answer: "Answer") -> None:
    from gpuwarden.sim.whatif.picture import draw

    try:
        draw(file, said, question, answer)
    except OSError as why:
        raise ConfigError(f"--plot {file}: {why.strerror}") from None
    print(f"{file}: open it in a browser", file=sys.stderr)
