"""From a demand step on one node to eight lower limits on another: separate processes, Apache Kafka, simulated GPUs.

    python bench/latency.py [--steps 200] [--json FILE]

Eight nodes take turns: the load of one rises, and fair share takes power from a ninth that could use all. Between its turns a node
is low for long enough that its peak is forgotten. Times come from the event logs of limiters and controller, all on this machine's
clock, and from this process's clock for the step itself. The shares of one step, in order:

    sensor       until the cards' sensors show a step of 5 %, the least that does not wait (every 100 ms)
    poll         until the limiter has read it (every 100 ms)
    stream       until the controller has the report (limiter, Unix socket, agent, gRPC)
    decide       until the ninth node's limiter has the grant (decision, ledger, gRPC, agent, Unix socket)
    set          until eight lower limits are set and read back
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fakes.nvml.steer import FakeNode
from services import kafka, stack

from gpuwarden.agent.limiter import events as limiter_events
from gpuwarden.agent.limiter.card import CardState
from gpuwarden.controller import events as controller_events
from gpuwarden.core.eventlog import Step, read_head, read_steps
from gpuwarden.core.plain import Plain, Reader
from gpuwarden.proto.lease_pb2 import Grant, PowerReport, Sealed

RICH, STEPPING = "rich", tuple(f"step-{number}" for number in range(1, 9))
GPUS = 8
LOW_W, HIGH_W, BUSY_W = 120.0, 600.0, 650.0
STEP_W = 0.05 * GPUS * 700.0  # as the limiter defines it
LOOK_S = 0.004
BUDGET_W = 41_000.0
HIGH_S, BETWEEN_S = 2.0, 4.0
FORGOTTEN_S = 25.0
SAMPLE_P99_MS, STEP_P99_MS = 300.0, 500.0  # what is asked of it
LOWER_W = 5.0  # a limit that fell by at least one step of the allocator


class Stepped(NamedTuple):
    """Boot-clock times: the demand rose, and the sensors showed it."""

    step_s: float
    shown_s: float


@dataclass(frozen=True, slots=True)
class Shares:
    """Seconds of one step."""

    sensor_s: float
    poll_s: float
    stream_s: float
    decide_s: float
    set_s: float

    @property
    def from_sample_s(self) -> float:
        return self.stream_s + self.decide_s + self.set_s

    @property
    def from_step_s(self) -> float:
        return self.sensor_s + self.poll_s + self.from_sample_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = _drive(Path(folder), args.steps)
        shares = list(_measured(Path(folder) / "events", steps))
    result = _summary(args.steps, shares)
    _print_slowest(shares)
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")
    return 0 if len(shares) == args.steps and _in_time(result) else 1


def _in_time(result: dict[str, float]) -> bool:
    return result["from_sample_p99_ms"] <= SAMPLE_P99_MS and result["from_step_p99_ms"] <= STEP_P99_MS


def _drive(folder: Path, steps: int) -> list[Stepped]:
    """Runs the whole chain."""
    (folder / "kafka").mkdir()
    domain = f'name = "row"\nrating_w = {BUDGET_W}\nmode = "auto"\ndead_nodes = 0\n'
    stepped = []
    with kafka.running(folder / "kafka") as broker:
        plan = stack.Plan((RICH, *STEPPING), domain, broker.bootstrap, events=True)
        with stack.running(folder, plan) as parts:
            for node in STEPPING:
                parts.gpus[node].set_demands(LOW_W)
            parts.gpus[RICH].set_demands(BUSY_W)
            time.sleep(FORGOTTEN_S)
            for number in range(steps):
                time.sleep(BETWEEN_S + number % 10 / 10)  # at every phase of the sensors and the ticks
                stepping = parts.gpus[STEPPING[number % len(STEPPING)]]
                stepped.append(_step(stepping))
                time.sleep(HIGH_S)
                stepping.set_demands(LOW_W)
                print(f"step {number + 1} of {steps}", file=sys.stderr)
    return stepped


def _step(cards: FakeNode) -> Stepped:
    step_s = _boottime_s()
    shown_w = sum(cards.sensor_w(gpu) for gpu in range(GPUS)) + STEP_W
    cards.set_demands(HIGH_W)
    while sum(cards.sensor_w(gpu) for gpu in range(GPUS)) <= shown_w:
        assert _boottime_s() - step_s < HIGH_S, "the sensors show no step"
        time.sleep(LOOK_S)
    return Stepped(step_s, _boottime_s())


def _boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _measured(events: Path, stepped: list[Stepped]) -> Iterator[Shares]:
    """One entry for each step that led to eight lower limits; the others are missing, and said."""
    reader = Reader((*_types(limiter_events), *_types(controller_events), CardState))
    ahead_s = _boottime_s() - time.monotonic()
    logs = {read_setup(log)["node"]: list(read_steps(log, reader)) for log in events.glob("limiter-*.jsonl")}
    (log,) = events.glob("controller-*.jsonl")
    heard, rich = list(read_steps(log, reader)), logs[RICH]
    for number, (step_s, shown_s) in enumerate(stepped):
        node = STEPPING[number % len(STEPPING)]
        try:
            shown_w = _newest_w(heard, node, step_s - ahead_s) + STEP_W
            read_s = _first(logs[node], step_s, _shows(shown_w)).now_s
            heard_s = ahead_s + _first(heard, read_s - ahead_s, _tells(node, shown_w)).now_s
            granted = _first(rich, heard_s, _lower_grant(rich, heard_s))
            granted_s, limit_w = granted.now_s, _granted_w(granted.event)
            set_s = _first(rich, granted_s, _all_enforce(limit_w)).now_s
        except LookupError:
            print(f"step {number + 1} led to no lower limits", file=sys.stderr)
            continue
        shown_s = min(shown_s, read_s)  # we look every LOOK_S, and so may be later than the limiter
        yield Shares(shown_s - step_s, read_s - shown_s, heard_s - read_s, granted_s - heard_s, set_s - granted_s)


def read_setup(log: Path) -> Plain:
    """What a daemon's machine began with."""
    return read_head(log)[1]


def _types(module: object) -> tuple[type, ...]:
    return tuple(value for value in vars(module).values() if isinstance(value, type))


def _first(steps: list[Step], after_s: float, shows: Callable[[object], bool]) -> Step:
    for step in steps:
        if step.now_s >= after_s and shows(step.event):
            return step
        if step.now_s > after_s + 2.0:
            break
    raise LookupError


def _shows(shown_w: float) -> Callable[[object], bool]:
    return lambda event: isinstance(event, limiter_events.PowerRead) and sum(event.power_w) > shown_w


def _tells(node: str, shown_w: float) -> Callable[[object], bool]:
    return lambda event: (_reported_w(event, node) or 0.0) > shown_w


def _reported_w(event: object, node: str) -> float | None:
    """The power in a report of this node; None if it is another event."""
    if not isinstance(event, controller_events.ReportArrived):
        return None
    sealed = Sealed.FromString(event.sealed)
    return sum(card.power_w for card in PowerReport.FromString(sealed.payload).cards) if sealed.node == node else None


def _newest_w(steps: list[Step], node: str, before_s: float) -> float:
    """What the limiter compares with: its newest report."""
    return next(w for step in reversed(steps) if step.now_s < before_s and (w := _reported_w(step.event, node)) is not None)


def _lower_grant(steps: list[Step], at_s: float) -> Callable[[object], bool]:
    before_w = [w for step in steps if step.now_s < at_s and (w := _granted_w(step.event))]

    def lower(event: object) -> bool:
        limit_w = _granted_w(event)
        return limit_w is not None and limit_w <= before_w[-1] - LOWER_W

    return lower


def _all_enforce(limit_w: float | None) -> Callable[[object], bool]:
    """A readback after which no card has more than `limit_w`."""
    assert limit_w is not None

    def enforce(event: object) -> bool:
        return isinstance(event, limiter_events.LimitsRead) and all(card.enforced_w <= limit_w + 0.5 for card in event.cards)

    return enforce


def _granted_w(event: object) -> float | None:
    """The highest limit of a grant: when it falls, all eight have fallen."""
    if not isinstance(event, limiter_events.Directive):
        return None
    return max(Grant.FromString(Sealed.FromString(event.sealed).payload).limits_w)


def _summary(steps: int, shares: list[Shares]) -> dict[str, float]:
    columns = {f.name: values for f, values in zip(fields(Shares), zip(*map(astuple, shares), strict=True), strict=True)}
    from_sample, from_step = [s.from_sample_s for s in shares], [s.from_step_s for s in shares]
    return {
        "steps": steps,
        "steps_that_led_to_eight_lower_limits": len(shares),
        **{f"{name.removesuffix('_s')}_mean_ms": round(1e3 * statistics.fmean(values), 1) for name, values in columns.items()},
        **{f"{name.removesuffix('_s')}_p99_ms": _percentile_ms(values, 99) for name, values in columns.items()},
        "from_sample_p50_ms": _percentile_ms(from_sample, 50),
        "from_sample_p99_ms": _percentile_ms(from_sample, 99),
        "from_step_p50_ms": _percentile_ms(from_step, 50),
        "from_step_p99_ms": _percentile_ms(from_step, 99),
    }


def _print_slowest(shares: list[Shares]) -> None:
    names = [f.name.removesuffix("_s") for f in fields(Shares)]
    print("the five slowest, ms:", *(f"{name:>8}" for name in names), file=sys.stderr)
    for one in sorted(shares, key=lambda one: -one.from_sample_s)[:5]:
        print(" " * 21, *(f"{1e3 * value:8.0f}" for value in astuple(one)), file=sys.stderr)


def _percentile_ms(seconds: Sequence[float], percent: int) -> float:
    """The smallest value that at least `percent` of all do not exceed."""
    ordered = sorted(seconds)
    return round(1e3 * ordered[max(0, -(-percent * len(ordered) // 100) - 1)], 1)


if __name__ == "__main__":
    sys.exit(main())
