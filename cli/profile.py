"""`gpuwarden profile`: what a clock lock, or a power limit, costs and saves on this card with this workload."""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from gpuwarden.core.config import ConfigError

if TYPE_CHECKING:
    from gpuwarden.agent.profile.measure import Card
    from gpuwarden.agent.profile.points import Point


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    profile = verbs.add_parser("profile", help="what clock locks or power limits cost and save on a card of this node, with a workload of yours")
    profile.add_argument("--card", type=int, default=0, metavar="N", help="as nvidia-smi counts; the workload sees it alone (CUDA_VISIBLE_DEVICES)")
    profile.add_argument("--by", choices=("clock", "limit"), default="clock", help="what is set; default: %(default)s")
    profile.add_argument("--ratios", metavar="R,R,...", help="shares of the highest clock or the default limit; 1 comes first")
    profile.add_argument("--repeats", type=int, default=3, metavar="N", help="runs at each; the median counts")
    profile.add_argument("--socket", type=Path, default=Path("/run/gpuwarden/limiter.sock"), help="a limiter that listens here would set what is measured")
    profile.add_argument("--json", action="store_true", help="every run as JSON")
    profile.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the workload: some seconds of the same work each time")
    profile.set_defaults(run=run, verb="profile")


def run(args: argparse.Namespace) -> int:
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    _check(args, command)
    from gpuwarden.agent.profile.measure import Card, ProfileError, measured
    from gpuwarden.cli.profile_text import lines

    signal.signal(signal.SIGTERM, _interrupted)
    try:
        card = Card(args.card)
        with card.given_back():
            made, drift_ratio = measured(card, _points(args, card), command, args.repeats, _progress())
    except ProfileError as why:
        raise ConfigError(str(why)) from None
    if args.json:
        print(json.dumps({"card": asdict(card.found), "drift_ratio": drift_ratio, "runs": [asdict(one) for one in made]}, indent=1))
    else:
        print("\n".join(lines(card.found, args.by, made, drift_ratio)))
    return 0


def _check(args: argparse.Namespace, command: list[str]) -> None:
    from gpuwarden.cli.checks.limiter_socket import somebody_listens

    if not command:
        raise ConfigError("command: is missing; gpuwarden profile -- python work.py")
    if not 1 <= args.repeats <= 100:
        raise ConfigError(f"--repeats: is {args.repeats}, should be 1 to 100")
    if somebody_listens(Path("/"), args.socket):
        raise ConfigError(f"a limiter listens at {args.socket} and would set the card while it is measured; drain the node, then systemctl stop gpuwarden-limiter")


def _points(args: argparse.Namespace, card: "Card") -> "tuple[Point, ...]":
    from gpuwarden.agent.profile.points import CLOCK_RATIOS, LIMIT_RATIOS, clock_points, limit_points

    ratios = _ratios(args.ratios) if args.ratios else CLOCK_RATIOS if args.by == "clock" else LIMIT_RATIOS
    return clock_points(card.found, ratios) if args.by == "clock" else limit_points(card.found, ratios)


def _ratios(text: str) -> tuple[float, ...]:
    try:
        ratios = {float(word) for word in text.split(",")}
    except ValueError:
        raise ConfigError(f"--ratios: is {text!r}, should be numbers with commas") from None
    if wrong := [ratio for ratio in ratios if not 0.1 <= ratio <= 1.0]:
        raise ConfigError(f"--ratios: has {wrong[0]:g}, should be 0.1 to 1")
    return tuple(sorted({1.0, *ratios}, reverse=True))


def _interrupted(number: int, frame: FrameType | None) -> None:
    """As by Ctrl-C: the card is given back on the way out."""
    raise KeyboardInterrupt


def _progress() -> Callable[[str], object]:
    if not sys.stderr.isatty():
        return lambda what: None
    return lambda what: print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)
