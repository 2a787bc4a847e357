"""The live path of power with 64 nodes: a controller of its own process with gRPC, and what bench/power.py prints of it.

Eight nodes are whole: limiter, agent and eight simulated cards each, in processes of their own. The load of four of them rises in turn, and fair
share takes power from a fifth that could use all; three others have something to see for their guards (power_path_guard.py). The other 56 are sessions of one
process (session_load.py), whose limiters report once a second and obey at once: two cores carry no more. No Kafka: power does not go through it.

A cycle of CYCLE_S does each once, at another phase of sensors and ticks every time.
"""

import multiprocessing
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from power_path_guard import FAR, LEASE, LIMIT, NEAR, Sight, lease_shares, orders, sight_shares
from services import stack
from session_load import play
from step_log import Logs, Stepped, central_shares, percentile_ms, rise, watched

from gpuwarden.agent.limiter.guard import ABOVE_RATIO
from gpuwarden.core.private import read_key

RICH, STEPPING = "rich", tuple(f"step-{number}" for number in range(1, 5))
DRAWS, RAISED, CUT_OFF = "guard-draw", "guard-limit", "guard-lease"
WHOLE = (RICH, *STEPPING, DRAWS, RAISED, CUT_OFF)
OTHERS = tuple(f"other-{number:02}" for number in range(64 - len(WHOLE)))
OTHER_W, GUARDED_W, LOW_W, HIGH_W, BUSY_W = 1000.0, 190.0, 120.0, 600.0, 650.0  # of a node; the others of a card
BUDGET_W = 270_000.0  # what all need, and some 600 W a card for the rich one
DEFAULT_W, NEAR_RATIO = 700.0, 1.35  # of a card; of its limit, that one draws which disobeys a little
COMES_UP_S, BEGIN_S, CYCLE_S, HIGH_S, APART_S, DRAWN_S, CUT_OFF_S = 120.0, 25.0, 9.0, 1.5, 2.5, 1.5, 5.6
ASKED: Final = {"central": (300.0, 500.0), "guard": (200.0, 400.0)}  # ms, p99: from the sample, from the step


@dataclass
class Done:
    """What was done, and when: steps in the order of the nodes that made them, sights of the guard by kind."""

    stepped: list[Stepped] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    cut_offs: int = 0


def live_path(cycles: int) -> dict[str, object]:
    """Shares in ms of every way, and `short_of`: what is above what is asked."""
    with tempfile.TemporaryDirectory() as made:
        busy = _busy_ticks()
        done = _drive(Path(made), cycles)
        busy_s, all_s = (after - before for after, before in zip(_busy_ticks(), busy, strict=True))
        logs = Logs(Path(made) / "events")
        told = {"central": _told(list(central_shares(logs, done.stepped, STEPPING, RICH)), len(done.stepped))}
        ordered = {node: orders(logs, node, Path(made) / "keys") for node in (DRAWS, RAISED, CUT_OFF)}
    for kind, node in ((LIMIT, RAISED), (FAR, DRAWS), (NEAR, DRAWS)):
        sights = [sight for sight in done.sights if sight.kind == kind]
        told[f"guard, {kind}"] = _told(list(sight_shares(logs.limiters[node], ordered[node], sights)), len(sights))
    told[f"guard, {LEASE}"] = _told(list(lease_shares(logs.limiters[CUT_OFF], ordered[CUT_OFF])), done.cut_offs)
    return {
        "nodes": len(WHOLE) + len(OTHERS), "whole_nodes": len(WHOLE), "machine_busy_percent": round(100 * busy_s / all_s), **told,
        "short_of": [line for name, one in told.items() for line in _short(name, one)],
    }


def _drive(folder: Path, cycles: int) -> Done:
    domain = f'name = "row"\nrating_w = {BUDGET_W}\nmode = "auto"\ndead_nodes = 0\n'
    plan, done, begun_s = stack.Plan(WHOLE, domain, events=True, others=OTHERS), Done(), time.monotonic()
    with stack.running(folder, plan) as parts, _others(parts, COMES_UP_S + BEGIN_S + 2 * CYCLE_S * cycles):
        for node in (*STEPPING, DRAWS, RAISED, CUT_OFF):
            parts.gpus[node].set_demands(LOW_W if node in STEPPING else GUARDED_W)
        parts.gpus[RICH].set_demands(BUSY_W)
        while free := [node for node, cards in parts.gpus.items() if node != RICH and cards.limit_w(0) >= DEFAULT_W]:
            ended = [name for name, process in parts.processes.items() if process.poll() is not None]
            assert not ended and time.monotonic() - begun_s < COMES_UP_S, f"{free} have no limit yet, {ended} have ended"
            time.sleep(0.1)
        time.sleep(BEGIN_S)
        for number in range(cycles):
            began_s = time.monotonic()
            time.sleep(0.037 * (number % 27))
            _cycle(parts, number, done)
            time.sleep(max(0.0, began_s + CYCLE_S + 0.1 * (number % 10) - time.monotonic()))
    return done


def _cycle(parts: stack.Stack, number: int, done: Done) -> None:
    began_s, stepping, cut_off = time.monotonic(), parts.gpus[STEPPING[number % len(STEPPING)]], number % 2 == 0
    agent = parts.processes[f"agent-{CUT_OFF}"]
    if cut_off:
        agent.send_signal(signal.SIGSTOP)
        done.cut_offs += 1
    done.stepped.append(rise(stepping, HIGH_W))
    time.sleep(HIGH_S)
    stepping.set_demands(LOW_W)
    done.sights.append(_raise_limits(parts))
    time.sleep(APART_S)  # while a limit is raised it counts, and everybody else gives way
    done.sights.append(_disobey(parts, number % 2 == 0))
    time.sleep(DRAWN_S)
    parts.gpus[DRAWS].set("disobeys", 0.0, 0)
    parts.gpus[DRAWS].set_demand(0, GUARDED_W)
    time.sleep(max(0.0, began_s + CUT_OFF_S - time.monotonic()))
    if cut_off:
        agent.send_signal(signal.SIGCONT)


def _raise_limits(parts: stack.Stack) -> Sight:
    """Somebody on the node gives all eight cards their default."""
    cards = parts.gpus[RAISED]
    limit_w = cards.limit_w(0)
    return Sight(LIMIT, RAISED, watched(cards.reset_limits, lambda: True), limit_w)


def _disobey(parts: stack.Stack, far: bool) -> Sight:
    """One card pays no heed to its limit any more."""
    cards = parts.gpus[DRAWS]
    limit_w = cards.limit_w(0)

    def disobey() -> None:
        cards.set("disobeys", 1.0, 0)
        cards.set_demand(0, BUSY_W if far else NEAR_RATIO * limit_w)

    return Sight(FAR if far else NEAR, DRAWS, watched(disobey, lambda: cards.sensor_w(0) > ABOVE_RATIO * limit_w), limit_w)


@contextmanager
def _others(parts: stack.Stack, duration_s: float) -> Iterator[None]:
    keys = {node: read_key(parts.folder / "keys" / f"{node}.key") for node in OTHERS}
    process = multiprocessing.get_context("spawn").Process(target=play, args=(parts.server, keys, OTHER_W, duration_s), daemon=True)
    process.start()
    try:
        yield
        assert process.is_alive(), "the other nodes are gone"
    finally:
        process.kill()
        process.join()


def _told(shares: Sequence[object], done: int) -> dict[str, object]:
    """p50 and p99 of each share, and from the sample and the step to the last of eight limits set and read back."""
    names = [name for name in (*getattr(type(shares[0]), "__slots__", ()), "from_sample_s", "from_step_s")] if shares else []
    columns = {name.removesuffix("_s"): [getattr(one, name) for one in shares] for name in names}
    return {"done": done, "answered": len(shares), **{f"{name}_ms": _spread(seconds) for name, seconds in columns.items()}}


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {"p50": percentile_ms(seconds, 50), "p99": percentile_ms(seconds, 99), "mean": round(1e3 * statistics.fmean(seconds), 1)}


def _short(name: str, one: dict[str, object]) -> Iterator[str]:
    if one["answered"] != one["done"]:
        yield f"{name}: {one['answered']} of {one['done']} answered"
    for way, asked_ms in zip(("from_sample_ms", "from_step_ms"), ASKED[name.partition(",")[0]], strict=True):
        spread = one.get(way)
        if isinstance(spread, dict) and spread["p99"] > asked_ms:
            yield f"{name}: {way.removesuffix('_ms')} p99 {spread['p99']} ms, asked {asked_ms:.0f} ms"


def _busy_ticks() -> tuple[float, float]:
    """Of all cores since boot: busy, and all."""
    ticks = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return float(sum(ticks) - ticks[3] - ticks[4]), float(sum(ticks))
