"""`gpuwarden sim power`: a row of serving nodes in virtual time, oversubscribed under a policy, against the same row left alone."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuwarden.cli import sim_comm, sim_faults
from gpuwarden.controller.policies.ladder import LADDERS
from gpuwarden.core.config import ConfigError
from gpuwarden.sim.serving.faults import KINDS, Planned, planned
from gpuwarden.sim.serving.frozen import frozen
from gpuwarden.sim.serving.presets import IN_BAND

if TYPE_CHECKING:
    from gpuwarden.sim.serving.study import Loads


def add(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sim = verbs.add_parser("sim", help="simulates, in virtual time")
    what = sim.add_subparsers(title="what", metavar="WHAT", required=True)
    sim_comm.add(what)
    sim_faults.add(what)
    power = what.add_parser("power", help="a serving row with more servers than its breaker carries at their peak")
    power.add_argument(
        "--preset", choices=(*LADDERS, *IN_BAND), default="polca",
        help=f"clock locks with the paper's delays: {', '.join(LADDERS)}; or our own controller, limiters and agents: {', '.join(IN_BAND)}",
    )
    power.add_argument("--trace", type=Path, metavar="FILE", help="arrivals: TIMESTAMP,ContextTokens,GeneratedTokens; default: as bursty ones")
    power.add_argument("--servers", type=int, metavar="N", help="nameplates that make the budget; default: the calibrated row's")
    power.add_argument("--added", type=float, default=0.30, metavar="RATIO", help="servers beyond those, load with them")
    power.add_argument("--days", type=float, default=2.0)
    power.add_argument("--seed", type=int, default=1)
    power.add_argument("--more-power", type=float, default=1.0, metavar="RATIO", help="servers draw this much of what was profiled")
    power.add_argument("--low-ratio", type=float, default=0.5, metavar="RATIO", help="share of the servers, and of their load, that is of the low priority")
    power.add_argument(
        "--fault", type=_fault, action="append", default=[], metavar="KIND@MINUTE[+SECONDS]",
        help=f"what befalls a row under our own controller, at that minute and for so long; as often as you like: {', '.join(KINDS)}",
    )
    power.add_argument("--message-loss", type=float, default=0.0, metavar="RATIO", help="of the messages between our controller and its agents")
    power.add_argument("--message-late", type=float, default=0.0, metavar="SECONDS", help="by which they are late at most, beyond some ms")
    power.add_argument("--training", type=int, default=0, metavar="N", help="so many of the servers are nodes of a training job")
    power.add_argument("--power-log", type=Path, metavar="FILE", help="what each of them draws: CSV or CSV.gz with node, time_s, power_w")
    power.add_argument("--ramp-kw", type=float, metavar="KW", help="by which, a second, their power may rise under our own controller")
    power.add_argument("--plot", type=Path, metavar="FILE", help="the run as a picture, one HTML file")
    power.add_argument("--json", action="store_true", help="the figures as JSON")
    power.set_defaults(run=run, verb="sim")


def run(args: argparse.Namespace) -> int:
    _check(args)
    from gpuwarden.sim.powerlog import BadPowerLog
    from gpuwarden.sim.safety.network import Weather
    from gpuwarden.sim.serving.requests import BadTrace
    from gpuwarden.sim.serving.study import Study, done

    study = Study(
        args.preset, args.trace, args.servers, args.added, args.days, args.seed, args.more_power, args.low_ratio, tuple(args.fault),
        Weather(args.message_loss, args.message_late), args.training, args.power_log, None if args.ramp_kw is None else 1e3 * args.ramp_kw,
    )
    try:
        made, loads = done(study, _progress())
    except BadTrace as why:
        raise ConfigError(f"--trace {why}") from None
    except BadPowerLog as why:
        raise ConfigError(f"--power-log {why}") from None
    except OSError as why:
        raise ConfigError(f"--trace {args.trace}: {why.strerror}") from None
    said = _sentences(made)
    print(json.dumps(made, indent=1) if args.json else "\n".join(said))
    if args.plot is not None:
        _plot(args.plot, said, made, loads)
    return 0


def _plot(file: Path, said: list[str], made: dict[str, Any], loads: "Loads") -> None:
    from gpuwarden.sim.serving.picture import draw

    try:
        draw(file, f"{made['servers_in_all']} servers under a budget for {made['servers']}", said, made, loads, LADDERS.get(made["preset"], ()))
    except OSError as why:
        raise ConfigError(f"--plot {file}: {why.strerror}") from None
    print(f"{file}: open it in a browser", file=sys.stderr)


def _check(args: argparse.Namespace) -> None:
    if args.servers is not None and not 2 <= args.servers <= 1000:
        raise ConfigError(f"--servers: is {args.servers}, should be 2 to 1000")
    for name, low, high in (("added", 0.0, 2.0), ("days", 0.05, 60.0), ("more_power", 0.5, 2.0), ("low_ratio", 0.05, 0.95)):
        if not low <= getattr(args, name) <= high:
            raise ConfigError(f"--{name.replace('_', '-')}: is {getattr(args, name):g}, should be {low:g} to {high:g}")


    for name, low, high in (("message_loss", 0.0, 0.95), ("message_late", 0.0, 30.0)):
        if not low <= getattr(args, name) <= high:
            raise ConfigError(f"--{name.replace('_', '-')}: is {getattr(args, name):g}, should be {low:g} to {high:g}")
    _check_training(args)
    if args.preset not in IN_BAND and (args.fault or args.message_loss or args.message_late or args.ramp_kw is not None):
        raise ConfigError(f"--preset {args.preset}: no controller runs there: --fault, --message-loss, --message-late and --ramp-kw are for {', '.join(IN_BAND)}")
    for fault in args.fault:
        if fault.begin_s + fault.lasts_s > args.days * 86400.0:
            raise ConfigError(f"--fault {fault.kind}: ends at minute {(fault.begin_s + fault.lasts_s) / 60:g}, the row at {1440 * args.days:g}")


def _check_training(args: argparse.Namespace) -> None:
    if bool(args.training) != (args.power_log is not None):
        raise ConfigError("--training, --power-log: one needs the other")
    if args.ramp_kw is not None and (args.ramp_kw <= 0.0 or not args.training):
        raise ConfigError(f"--ramp-kw: is {args.ramp_kw:g}, should be above 0, with --training")
    servers = round((args.servers or frozen().servers) * (1.0 + args.added))
    if not 0 <= args.training <= servers - 2:
        raise ConfigError(f"--training: is {args.training}, should be 0 to {servers - 2}: of {servers} servers two at least serve")


def _fault(text: str) -> Planned:
    try:
        return planned(text)
    except ValueError as why:
        raise argparse.ArgumentTypeError(str(why)) from None


def _progress() -> Any:
    """On a terminal a line that is written over; elsewhere nothing."""
    if not sys.stderr.isatty():
        return lambda what, share: None
    return lambda what, share: print(f"\r{what}: {100 * share:3.0f} %", end="\n" if share >= 1.0 else "", file=sys.stderr)


def _sentences(made: dict[str, Any]) -> list[str]:
    row, latency = made["row"], made["latency"]
    alone = f"The row alone: {made['servers']} servers peak at {100 * row['peak_fraction']:.1f} % of their budget"
    rises = f"it rises by at most {100 * row['rise_2s']:.1f} % in 2 s and {100 * row['rise_40s']:.1f} % in 40 s."
    counts = f"With {made['servers_in_all']} servers and {made['preset']}: {made['brakes']} brakes, {made['trips']} trips"
    peak = f"{made['over_rating_s']:g} s over the rating, peak {made['peak_w'] / 1e3:,.1f} of {made['budget_w'] / 1e3:,.1f} kW."
    served = [
        f"{name.capitalize()} priority: p50 {one['p50_s']:.1f} s ({one['p50_ratio']:.3f} of uncapped), p99 {one['p99_s']:.1f} s ({one['p99_ratio']:.3f})."
        for name, one in latency.items()
    ]
    answered = f"Requests answered: {made['throughput_ratio']:.4f} of uncapped."
    return [
        f"{alone}; {rises}", f"{counts}, {peak}", *served, answered, *(_held(made["held"]) if made["held"] else ()),
        *(_trained(made) if made["training"] else ()), *_faults(made),
    ]


def _trained(made: dict[str, Any]) -> list[str]:
    job = made["training"]
    swing = f"its power rises by at most {job['rise_2s_w'] / 1e3:.1f} kW in 2 s ({job['rise_ratio']:.3f} of uncapped) and falls by {job['fall_2s_w'] / 1e3:.1f} kW"
    return [f"{made['training_nodes']} of the servers train: {swing}; {100 * job['lost_ratio']:.2f} % of its work is lost."]


def _faults(made: dict[str, Any]) -> list[str]:
    told = [
        f"{one['kind']} at minute {one['minute']:g} for {one['seconds']:g} s" + (f", peak {100 * one['peak_fraction']:.1f} %" if one["struck"] else ", could not strike")
        for one in made["faults"]
    ]
    weather = [f"{100 * made['message_loss']:g} % of messages lost, up to {made['message_late_s']:g} s late"] if made["message_loss"] or made["message_late_s"] else []
    return [f"Faults: {'; '.join(told + weather)}."] if told or weather else []


def _held(held: dict[str, float]) -> list[str]:
    shares = f"{100 * held['capped_ratio']:.1f} % of server time under a limit below the driver's default, {100 * held['locked_ratio']:.1f} % under a clock lock"
    return [f"By our own controller, limiters and agents: {shares}; {held['limits_set']:,} times a limit was set, {held['clocks_set']:,} times a clock."]
