"""What a decision costs, and what the live path takes.

    python bench/power.py [--racks 1250] [--ticks 20] [--cycles 60] [--json FILE]

The planner: the controller's own machine for a site of 10,000 nodes in a tree of five levels, real messages built. Site, 5 halls, 25 rows, 125
distribution units, 1,250 racks of 8 nodes. Racks carry 85 % of what their nodes may draw, and each limit above 97 % of what hangs on it, so that
limits of every level bind. Every node reports once a second; a tenth of all demands jumps at every tick. A tick is: decide
(`decide_ms`), then ledger lines and sealed grants for whom it answers, and a tenth of the picture. Aim: under 50 ms a tick on one core. Garbage is
collected as the daemon does it.
Ticks at which the site is not due, and the allowance for deciding early is spent, count apart: they draw the picture alone. The shares are the machine's
own, and in the end the five functions in which it spent most.

The live path: 64 nodes, eight of them whole (power_path.py), under a controller of its own process, from a sample and from a step to the last of
eight limits set: by the controller (sensor, poll, stream, decide, set; settle on top), and by a node's own guard (sensor, poll, wait, set). Asked: p99
300 ms from the sample and 500 ms from the step; of the guard 200 and 400 ms. Whatever decides, eight limits take some 120 ms to set, and a sensor
turns every 100 ms. `machine_busy_percent` says whether others were busy on this machine. `--cycles 0` leaves the live path out.
"""

import argparse
import cProfile
import json
import pstats
import random
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fakes.limiters import KEY, Limiter, Row
from power_path import live_path

from gpuwarden.controller.events import SendGrant, Tick, WriteLedger
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Decision, Keeper, Timing
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.service import spare_garbage_collection

NODES_A_RACK, RACK_SHARE, LEVEL_SHARE = 8, 0.85, 0.97
LEVELS = (("hall", 5), ("row", 25), ("pdu", 125))  # and how many there are of each
WARM_S, AIM_MS = 12.0, 50.0
DEMANDS_W = (1500.0, 5600.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--racks", type=int, default=1250, help="of 8 nodes each; a multiple of 125")
    parser.add_argument("--ticks", type=int, default=20)
    parser.add_argument("--cycles", type=int, default=60, help="of the live path; each takes 9 s")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.racks <= 0 or args.racks % 125:
        parser.error("--racks: should be a multiple of 125")
    path = live_path(args.cycles) if args.cycles else {}
    result: dict[str, Any] = {**_measured(_site(args.racks), args.ticks), "live_path": path}
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")
    return 0 if result["tick_ms"]["p50"] < AIM_MS and not path.get("short_of") else 1


def _site(racks: int) -> DomainConfig:
    made = NodeClass("h100", (f"n[1-{NODES_A_RACK * racks}]",))
    carries_w, above, limits = made.draw_w(made.gpus * made.default_w) * NODES_A_RACK * racks, "", list[LimitConfig]()
    shares = [LEVEL_SHARE**power for power in range(len(LEVELS), -1, -1)]
    for (name, count), share in zip((*LEVELS, ("rack", racks)), shares, strict=True):
        for number in range(count):
            nodes = (f"n[{NODES_A_RACK * number + 1}-{NODES_A_RACK * (number + 1)}]",) if name == "rack" else ()
            parent = above and f"{above}{number * dict(LEVELS)[above] // count}"
            limits.append(LimitConfig(f"{name}{number}", RACK_SHARE * share * carries_w / count, parent=parent, nodes=nodes))
        above = name
    return DomainConfig("site", RACK_SHARE * LEVEL_SHARE**4 * carries_w, (made,), mode="auto", limits=tuple(reversed(limits)))


def _measured(site: DomainConfig, ticks: int) -> dict[str, object]:
    began_s = time.process_time()
    row = _settled(site)
    spare_garbage_collection()
    built_s = time.process_time() - began_s
    samples = list(_ticks(row, ticks))
    profile = cProfile.Profile()
    profile.enable()
    list(_ticks(row, 5))
    profile.disable()
    idle_ms = tuple(tick_ms for tick_ms, _, grants, _ in samples if not grants)
    tick_ms, decide_ms, grants, lines = zip(*(sample for sample in samples if sample[2]), strict=True)
    keeper = row.controller.keepers["site"]
    assert keeper.decision is not None
    bound = {keeper.tree.limit_names[number].rstrip("0123456789") for number in set(keeper.decision.bound_by.tolist()) if number >= 0}
    return {
        "nodes": len(keeper.nodes), "limits": len(keeper.tree.limit_names), "levels": len(keeper.tree.levels), "warm_up_s": round(built_s, 1),
        "tick_ms": _spread(tick_ms), "decide_ms": _spread(decide_ms), "idle_tick_ms": _spread(idle_ms), "ticks": len(tick_ms), "grants_a_tick": round(statistics.mean(grants)),
        "ledger_lines_a_tick": round(statistics.mean(lines)), "binding": sorted(bound), "holds": keeper.decision.holds, "top_five": _top_five(profile),
    }


def _settled(site: DomainConfig) -> Row:
    setup = ControllerSetup("bench", 0, (site,), (), Timing(5.0, 3.0, 2.5))
    names = site.topology().names
    chance = random.Random(1)
    limiters = [Limiter(name, demand_w=chance.uniform(*DEMANDS_W)) for name in names]
    row = Row(Controller(setup, dict.fromkeys(names, KEY)), limiters)
    row.connect()
    for _ in range(round(WARM_S)):
        row.run(1.0)
        row.done.clear()
        row.lines.clear()
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return row


def _ticks(row: Row, count: int) -> Iterator[tuple[float, float, int, int]]:
    """(ms of a tick, ms of its decision, grants, ledger lines)."""
    chance, keeper, decided_s = random.Random(2), row.controller.keepers["site"], 0.0

    def decide(keeper: Keeper, now_s: float) -> Decision:
        nonlocal decided_s
        began_s = time.process_time()
        decision = untimed(keeper, now_s)
        decided_s = time.process_time() - began_s
        return decision

    untimed, Keeper.decide = Keeper.decide, decide  # type: ignore[method-assign]  # timed where it is
    for _ in range(count):
        for limiter in chance.sample(row.limiters, len(row.limiters) // 10):
            limiter.demand_w = chance.uniform(*DEMANDS_W)
        tenth = round(row.now_s * 10)
        for place in range(tenth % 10, len(row.limiters), 10):  # reports are taken in, and all decided in the tick
            keeper.nodes[place].take(row.now_s, row.limiters[place].report(row.now_s), row.controller.epoch)
        row.controller.turns.hurry("site")
        began_s = time.process_time()
        actions = row.controller.step(row.now_s, Tick(tenth * 10**8))
        ended_s = time.process_time()
        row.perform(actions)
        row.now_s = (tenth + 1) / 10
        lines = sum(len(action.payloads) for action in actions if isinstance(action, WriteLedger))
        yield 1e3 * (ended_s - began_s), 1e3 * decided_s, sum(isinstance(action, SendGrant) for action in actions), lines
    Keeper.decide = untimed  # type: ignore[method-assign]  # as it was


def _spread(values_ms: tuple[float, ...]) -> dict[str, float]:
    return {"p50": round(statistics.median(values_ms), 1), "max": round(max(values_ms), 1)} if values_ms else {}


def _top_five(profile: cProfile.Profile) -> list[str]:
    """Functions by their own time, as shares of all."""
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]  # typeshed leaves it out
    whole_s = sum(entry[2] for entry in stats.values())
    top = sorted(stats.items(), key=lambda item: -item[1][2])[:5]
    return [f"{100 * entry[2] / whole_s:.0f} % {Path(file).name}:{line} {name}" for (file, line, name), entry in top]


if __name__ == "__main__":
    sys.exit(main())
