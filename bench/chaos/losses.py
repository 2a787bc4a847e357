"""Loss: parts of the data path die one after another; samples, alerts and the ledger are compared at both ends."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from services.kafka_three import ThreeBrokers

from chaos.alerts import XID, Card
from chaos.compared import Evidence, Line, Phase, compared
from chaos.receiver import Receiver
from chaos.row import GPUS, Row, running, start_data_path
from chaos.samples import consumed, read_by_agents, recorded
from chaos.watch import Watch, boottime_s
from chaos.word import runs
from chaos.written import entries

NODES, PER_NODE_W = ("a", "b"), 7600.0
BEFORE_S, AFTER_S, DRAIN_S = 10.0, 20.0, 30.0
TELLS: Final = "b"  # the node whose cards have the XIDs; the agent that dies is another's

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
AGENT_KILLED: Final[Mapping[str, str]] = {"agent: SIGKILL, samples": "a"}


def measured(folder: Path, only: re.Pattern[str]) -> list[Line]:
    """Does the chosen faults in turn; then everything is drained, stopped and compared."""
    chosen = {name: fault for name, fault in FAULTS.items() if only.search(name)}
    if not chosen:
        return []
    with _data_path(folder) as (row, brokers, receiver):
        watch, known, phases = Watch(row), set[Card](), []
        for number, (name, fault) in enumerate(chosen.items()):
            phases.append(_phase(row, brokers, receiver, number, name, fault, known))
        for node in row.nodes:
            row.services[f"agent-{node}"].stop()
        time.sleep(DRAIN_S)
        for name in ("detector", "recorder"):
            row.services[name].stop()
        watch.close()
        evidence = Evidence(
            read_by_agents(row), consumed(row), recorded(folder / "history", row.nodes), receiver.events, entries(row), runs(row)
        )
        return [compared(row, phase, evidence, watch.between(phase.began_s, phase.ended_s)) for phase in phases]


def _phase(row: Row, brokers: ThreeBrokers, receiver: Receiver, number: int, name: str, fault: Fault, known: set[Card]) -> Phase:
    """One XID before and one during the fault. What a card has already is told no second time, so it must not be said again."""
    began_s, first_event = boottime_s(), len(receiver.events)
    cards = [(TELLS, number % GPUS), (TELLS, (number + 1) % GPUS)]
    time.sleep(BEFORE_S)
    row.gpus[TELLS].xid(cards[0][1], XID)
    struck_s = boottime_s()
    fault(row, brokers)
    row.gpus[TELLS].xid(cards[1][1], XID)
    time.sleep(AFTER_S)
    new = [card for card in cards if card not in known]
    known.update(cards)
    return Phase(name, began_s, struck_s, boottime_s(), AGENT_KILLED.get(name), new, first_event, len(receiver.events))


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
