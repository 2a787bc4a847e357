"""Loss: parts of the data path die one after another, and every sample is counted from the card to the detector and the files."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.kafka_three import ThreeBrokers

from chaos.receiver import Receiver
from chaos.row import GPUS, Row, running, start_data_path
from chaos.samples import Reading, consumed, read_by_agents, recorded
from chaos.watch import boottime_s

NODES, PER_NODE_W = ("a", "b"), 6800.0
BEFORE_S, AFTER_S, DRAIN_S = 10.0, 20.0, 30.0
XID: Final = 79  # GPU has fallen off the bus: a finding, told at once

Fault = Callable[[Row, ThreeBrokers], None]


def _killed(name: str) -> Fault:
    def fault(row: Row, brokers: ThreeBrokers) -> None:
        row.services[name].kill()

    return fault


def broker_killed(row: Row, brokers: ThreeBrokers) -> None:
    brokers.kill(1)
    time.sleep(15.0)
    brokers.start(1)


def brokers_stopped(row: Row, brokers: ThreeBrokers) -> None:
    brokers.stop_all()
    time.sleep(60.0)
    brokers.start_all()


FAULTS: Final[Mapping[str, Fault]] = {
    "detector: SIGKILL": _killed("detector"),
    "agent: SIGKILL, samples": _killed("agent-a"),
    "recorder: SIGKILL": _killed("recorder"),
    "broker: SIGKILL of one of three": broker_killed,
    "brokers: all three gone for 60 s": brokers_stopped,
}


@dataclass(frozen=True, slots=True)
class Line:
    """Readings of single cards. `in_hand` are those of the one pass that an agent's SIGKILL took with it."""

    fault: str
    read: int
    not_consumed: int
    not_recorded: int
    in_hand: int
    told: int
    told_twice: int
    wrong: list[str] = field(default_factory=list)


def measured(folder: Path, only: re.Pattern[str]) -> list[Line]:
    """Does the chosen faults in turn; then everything is drained, stopped and compared."""
    chosen = {name: fault for name, fault in FAULTS.items() if only.search(name)}
    if not chosen:
        return []
    with _data_path(folder) as (row, brokers, receiver):
        phases, told = [], []
        for number, (name, fault) in enumerate(chosen.items()):
            began_s, before = boottime_s(), receiver.told.copy()
            time.sleep(BEFORE_S)
            row.gpus["b"].xid(number % GPUS, XID)
            fault(row, brokers)
            row.gpus["b"].xid((number + 1) % GPUS, XID)
            time.sleep(AFTER_S)
            phases.append((name, began_s, boottime_s()))
            told.append(receiver.told - before)
        for node in row.nodes:
            row.services[f"agent-{node}"].stop()
        time.sleep(DRAIN_S)
        for name in ("detector", "recorder"):
            row.services[name].stop()
        reads, seen, kept = read_by_agents(row), consumed(row), recorded(folder / "history", row.nodes)
        return [_line(phase, reads, seen, kept, tells) for phase, tells in zip(phases, told, strict=True)]


@contextmanager
def _data_path(folder: Path) -> Iterator[tuple[Row, ThreeBrokers, Receiver]]:
    receiver = Receiver()
    (folder / "kafka").mkdir()
    with ThreeBrokers(folder / "kafka") as brokers:
        more = f'webhooks = [{{name = "chaos", url = "{receiver.url}"}}]\n'
        with running(folder, NODES, PER_NODE_W, brokers.bootstrap, more) as row:
            start_data_path(row, brokers.bootstrap)
            yield row, brokers, receiver
    receiver.close()


def _line(
    phase: tuple[str, float, float], reads: list[Reading], seen: Counter[tuple[str, int, int]],
    kept: Counter[tuple[str, int, int]], told: Counter[str],
) -> Line:
    name, began_s, ended_s = phase
    ours = [one for one in reads if began_s <= one.now_s < ended_s]
    unseen, unkept = [one for one in ours if not seen[one.key]], [one for one in ours if not kept[one.key]]
    in_hand = _one_pass(unseen) if name.startswith("agent") else 0
    lost, unwritten, twice = len(unseen) - in_hand, len(unkept) - in_hand, sum(count - 1 for count in told.values())
    wrong = [
        *([f"{lost} readings never reached the detector"] if lost else []),
        *([f"{unwritten} readings were never recorded"] if unwritten > 0 else []),
        *([f"{twice} alerts told twice"] if twice else []),
    ]
    return Line(name, len(ours), lost, max(unwritten, 0), in_hand, len(told), twice, wrong)


def _one_pass(unseen: list[Reading]) -> int:
    """Readings of one pass over one node at most: they are within half a second."""
    within = [one for one in unseen if one.now_s - unseen[0].now_s < 0.5] if unseen else []
    return len(within) if len(within) <= GPUS else 0
