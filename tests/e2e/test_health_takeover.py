"""Two detectors share a room of nodes between real topics of Apache Kafka. One is killed: the other takes over, and nothing that is found is lost or said twice.

Two hours are lived in seconds: minutes are those of the nodes' records, which come as fast as they are read. Who is right is told by a room in this process
that reads the same scores, hears all nodes, and never dies.
"""

import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes.room import Agent, name
from fakes.room_said import Teller
from services import kafka
from services.port import free_port

from gpuwarden.core.bus import Bus, BusConfig
from gpuwarden.core.connect import connect
from gpuwarden.detector.events import Raw
from gpuwarden.detector.findings import Findings
from gpuwarden.detector.health.open_minutes import MOST_OPEN
from gpuwarden.detector.health.room import Room as Judging
from gpuwarden.detector.health.summaries import RoomSetup
from gpuwarden.proto import topics
from gpuwarden.proto.finding_pb2 import Finding, FindingState
from gpuwarden.proto.scores_pb2 import MinuteSummaries
from gpuwarden.sim.health.ward import Bout, Room, Told, told

GROUP = "e2e-takeover"
ROOM = Room((8, 8, 8, 4, 4, 4, 2, 2, 2, 2), seed=11, spares=2)
LEARNED = 365  # minutes: the largest scores of six hours of so many nodes are enough for rates
SPLIT, KILLED, TAKEN = LEARNED + 3, LEARNED + 12, LEARNED + 18  # minutes by which it is known who hears whom, one is dead, and its nodes are the other's
END = TAKEN + 55 + MOST_OPEN  # the dead one is waited for by the clock on the wall, or until so many minutes are open
LASTS, STRENGTH = 4, 0.03
MINUTE_S = 0.1
EVENTUALLY_S = 60.0
FIRES, OVER = FindingState.FINDING_STATE_FIRING, FindingState.FINDING_STATE_RESOLVED

pytestmark = pytest.mark.timeout(300)

Said = tuple[str, str, int]  # a finding's id, its node, and its state


class Daemon:
    """A detector's process."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        folder.mkdir()
        self.port, self._log, config = free_port(), folder / "log", folder / "detector.toml"
        config.write_text(f'group = "{GROUP}"\nmetrics_listen = "127.0.0.1:{self.port}"\nstale_s = 600\n[bus]\nbootstrap = ["{bootstrap}"]\n[health]\n')
        with self._log.open("ab") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "gpuwarden.cli", "detector", "--config", str(config)], stderr=out, env=os.environ)

    def number(self, metric: str) -> float:
        """-1 while there is no such metric."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as page:
                lines = page.read().decode().splitlines()
        except OSError:
            return -1.0
        return next((float(line.split()[1]) for line in lines if line.startswith(f"{metric} ")), -1.0)

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[kafka.Broker]:
    """Of its own: a detector reads what all other tests sent, of other times."""
    with kafka.running(tmp_path) as one:
        yield one


@pytest.fixture
def start(tmp_path: Path, broker: kafka.Broker) -> Iterator[Callable[[], Daemon]]:
    started = list[Daemon]()

    def one() -> Daemon:
        started.append(Daemon(tmp_path / f"detector-{len(started)}", broker.bootstrap))
        return started[-1]

    yield one
    for daemon in started:
        daemon.process.kill()
        daemon.process.wait()


@dataclass
class Watch:
    """All that goes over the topics of scores and findings, and the room that hears all of it."""

    bus: Bus
    said: list[Said] = field(default_factory=list)
    wanted: list[Said] = field(default_factory=list)
    heard_by: dict[str, set[str]] = field(default_factory=dict)  # detector's start: its nodes

    def __post_init__(self) -> None:
        self._scores, self._findings = (self.bus.consumer((topic,), f"watch-{topic}") for topic in (topics.SCORES, topics.FINDINGS))
        self._room = Judging(Findings(), RoomSetup(GROUP, "watch", 0.1), 1000, {name(node) for node in range(ROOM.nodes)})
        self._room.live = True

    def look(self) -> None:
        for record in self._scores.poll(0.05, 1000):
            told_ = MinuteSummaries.FromString(record.value)
            self.heard_by.setdefault(told_.detector_start, set()).update(of.node for of in told_.nodes)
            raw = Raw(record.partition, record.offset, record.key, record.value, topics.SCORES)
            self.wanted += [_said(action.payload) for action in self._room.take(raw)]
        for record in self._findings.poll(0.05, 1000):
            finding = Finding.FromString(record.value)
            if finding.kind == "node_unlike_others":
                self.said.append(_said(record.value))

    def until(self, so: Callable[[], bool], why: Callable[[], str]) -> None:
        end_s = time.monotonic() + EVENTUALLY_S
        while not so():
            assert time.monotonic() < end_s, f"{why()}\nsaid {self.said}\nwanted {self.wanted}"
            self.look()

    def close(self) -> None:
        self._scores.close()
        self._findings.close()


def _said(payload: bytes) -> Said:
    finding = Finding.FromString(payload)
    return finding.id, finding.subject.node, finding.state


@pytest.fixture
def bus(broker: kafka.Broker) -> Bus:
    return connect(BusConfig(bootstrap=(broker.bootstrap,)))


@pytest.fixture
def watch(bus: Bus) -> Iterator[Watch]:
    """The room's past is on the topic already."""
    producer, teller = bus.producer(), Teller(told(ROOM, LEARNED, []))
    for minute in range(LEARNED):
        producer.send(topics.SCORES, GROUP, teller.minute(minute))
    producer.flush(10)
    producer.close()
    made = Watch(bus)
    made.until(lambda: "teller" in made.heard_by, lambda: "the past is not there")
    yield made
    made.close()


class Feed:
    """All nodes' agents."""

    def __init__(self, bus: Bus, room: Told, first: int) -> None:
        self._producer, self._agents = bus.producer(), [Agent(room, node) for node in range(ROOM.nodes)]
        for agent in self._agents:
            for _ in agent.minutes(LEARNED, first):
                pass  # sent by the agents of the room before anybody fell ill, which is the same one until then

    def live(self, first: int, end: int, watch: Watch) -> None:
        for minute in range(first, end):
            began_s = time.monotonic()
            for node, agent in enumerate(self._agents):
                for payload in agent.minutes(minute, minute + 1):
                    self._producer.send(topics.TELEMETRY, name(node), payload)
            self._producer.flush(10)
            watch.look()
            time.sleep(max(0.0, began_s + MINUTE_S - time.monotonic()))

    def close(self) -> None:
        self._producer.close()


def test_one_of_two_detectors_is_killed_and_nothing_found_is_lost_or_said_twice(bus: Bus, watch: Watch, start: Callable[[], Daemon]) -> None:
    first, second = _two(watch, start)
    healthy = Feed(bus, told(ROOM, SPLIT, []), LEARNED)
    healthy.live(LEARNED, SPLIT, watch)
    healthy.close()
    watch.until(lambda: sum(len(watch.heard_by[at]) for at in first_and_second(watch)) == ROOM.nodes, lambda: "not all nodes are told of")
    doomed, left = first_and_second(watch)
    room = told(ROOM, END, [])
    ill, ill_later, left_ill = _of_a_shared_job(room, watch.heard_by[doomed], watch.heard_by[left])
    bouts = [Bout("slow_card", node, SPLIT, SPLIT + LASTS, STRENGTH) for node in (ill, left_ill)]
    bouts.append(Bout("slow_card", ill_later, KILLED, KILLED + LASTS, STRENGTH))
    feed = Feed(bus, told(ROOM, END, bouts), SPLIT)
    feed.live(SPLIT, KILLED, watch)
    watch.until(lambda: {(name(node), FIRES) for node in (ill, left_ill)} <= {of[1:] for of in watch.said}, lambda: first.said() + second.said())

    first.process.kill()
    first.process.wait()
    feed.live(KILLED, TAKEN, watch)  # nobody hears the dead one's nodes meanwhile, one of which falls ill
    assert name(ill_later) not in {node for _, node, _ in watch.said}
    watch.until(lambda: second.number("gpuwarden_detector_nodes") == ROOM.nodes, second.said)
    feed.live(TAKEN, END, watch)
    over = {(name(node), state) for node in (ill, ill_later, left_ill) for state in (FIRES, OVER)}
    watch.until(lambda: over <= {of[1:] for of in watch.wanted} and len(watch.said) >= len(watch.wanted), second.said)
    assert Counter(watch.said) == Counter(watch.wanted)
    assert set(Counter(watch.said).values()) == {1}
    assert len({identity for identity, node, _ in watch.said if node in map(name, (ill, ill_later, left_ill))}) == 3
    assert second.number("gpuwarden_detector_room_firing") == second.number("gpuwarden_detector_findings_firing") == 0
    feed.close()


def _two(watch: Watch, start: Callable[[], Daemon]) -> tuple[Daemon, Daemon]:
    """Which know the past, and share the partitions. The first is heard first."""
    first = start()
    watch.until(lambda: len(watch.heard_by) == 2, first.said)
    second = start()
    both = (first, second)
    watch.until(
        lambda: all(one.number("gpuwarden_detector_room_live") == 1 and one.number("gpuwarden_detector_partitions") == 12 for one in both),
        lambda: "\n".join(one.said() for one in both),
    )
    return both


def first_and_second(watch: Watch) -> Sequence[str]:
    """Their starts, in the order in which they were heard first."""
    return list(watch.heard_by)[1:]


def _of_a_shared_job(room: Told, doomed: set[str], left: set[str]) -> tuple[int, int, int]:
    """Two nodes of the one that will die and one of the other's, of one job that runs on nodes of both all the while."""
    steady = [node for node in range(ROOM.nodes) if (room.job[node, LEARNED - 30 : KILLED + 2 * LASTS] == room.job[node, LEARNED]).all() and room.job[node, LEARNED] >= 0]
    for job in sorted({int(room.job[node, LEARNED]) for node in steady}):
        of = [node for node in steady if room.job[node, LEARNED] == job]
        theirs, others = [node for node in of if name(node) in doomed], [node for node in of if name(node) in left]
        if len(theirs) >= 2 and others:
            return theirs[0], theirs[1], others[0]
    raise AssertionError("no job is shared")
