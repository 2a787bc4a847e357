"""Detectors of one group judge nodes beside each other, through what they tell each other: nothing found is lost or said twice, whoever dies."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from fakes.room import FIRST, Agent, name
from fakes.room_said import Teller
from numpy.typing import NDArray

from gpuwarden.detector.events import (
    Action,
    DeadLetter,
    Moved,
    Polled,
    PublishFinding,
    PublishSummaries,
    Raw,
    Tick,
)
from gpuwarden.detector.health.fused import Health, Judged, judged
from gpuwarden.detector.health.others import Numbers
from gpuwarden.detector.health.readings import Readings
from gpuwarden.detector.health.summaries import RoomSetup
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.detector.past.piece import MINUTE_NS
from gpuwarden.proto import topics
from gpuwarden.proto.finding_pb2 import Finding, FindingState
from gpuwarden.sim.health.ward import Bout, Room, Told, told

LEARNED, HOUR = 1450, 60  # as long as it takes until so many nodes have given rates for all members
ROOM = Room((2, 4, 8), seed=11, spares=1)
ILL, NEW_ILL = 3, 4  # of the job of eight, and of that of four
GROUP = "g"
pytestmark = pytest.mark.timeout(300)


@dataclass
class Group:
    """Detectors that read one scores topic, and share the nodes."""

    detectors: list[Detector]
    hears: list[list[int]]
    topic: list[bytes] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    said: list[tuple[int, Finding]] = field(default_factory=list)  # by which detector
    letters: list[str] = field(default_factory=list)

    def step(self, at: int, event: Polled | Tick | Moved) -> None:
        self.keep(at, self.detectors[at].step(0.0, event))

    def keep(self, at: int, actions: list[Action]) -> None:
        self.topic += [action.payload for action in actions if isinstance(action, PublishSummaries)]
        self.said += [(at, Finding.FromString(action.payload)) for action in actions if isinstance(action, PublishFinding)]
        self.letters += [action.reason for action in actions if isinstance(action, DeadLetter)]

    def tick(self, minute: int) -> None:
        """Twenty seconds after a minute since FIRST."""
        for at in range(len(self.detectors)):
            self.step(at, Tick((FIRST + minute) * MINUTE_NS + 20_500_000_000))
        self.deliver()

    def deliver(self) -> None:
        while any(read < len(self.topic) for read in self.read):
            for at, read in enumerate(self.read):
                self.read[at] = len(self.topic)
                if read < len(self.topic):
                    self.step(at, Polled(tuple(Raw(0, read + i, GROUP, payload, topics.SCORES) for i, payload in enumerate(self.topic[read:]))))

    def live(self, agents: dict[int, Agent], first: int, end: int) -> None:
        for minute in range(first, end):
            for at, nodes in enumerate(self.hears):
                payloads = [(node, payload) for node in nodes for payload in agents[node].minutes(minute, minute + 1)]
                self.step(at, Polled(tuple(Raw(at, 0, name(node), payload) for node, payload in payloads)))
            self.tick(minute + 1)

    @property
    def unlike(self) -> list[tuple[int, str, bool]]:
        """By which detector, of which node, and whether it fires."""
        return [(at, one.subject.node, one.state == FindingState.FINDING_STATE_FIRING) for at, one in self.said if one.kind == "node_unlike_others"]

    def ids(self) -> set[str]:
        return {one.id for _, one in self.said if one.kind == "node_unlike_others"}


def detector(start: str) -> Detector:
    return Detector(DetectorSetup(stale_s=1e9, forget_s=2e9, room=RoomSetup(GROUP, start, 0.1)), {})


@pytest.fixture(scope="module")
def room() -> Told:
    """From minute LEARNED on one card of ILL is slow for four minutes, and all cards of NEW_ILL for half an hour."""
    made = told(ROOM, LEARNED + 50, [Bout("slow_card", ILL, LEARNED, LEARNED + 4, 0.03), Bout("low_clocks", NEW_ILL, LEARNED, LEARNED + 30, 0.3)])
    assert [(made.job[:, LEARNED] == made.job[node, LEARNED]).sum() for node in (ILL, NEW_ILL)] == [8, 4]
    return made


@pytest.fixture(scope="module")
def history(room: Told) -> list[bytes]:
    """Without one node, which is new then."""
    teller = Teller(room)
    return [teller.minute(minute, [node for node in range(ROOM.nodes) if node != NEW_ILL]) for minute in range(LEARNED)]


@pytest.fixture(scope="module")
def taught(history: list[bytes]) -> Group:
    """Two that have read it, and have said that they are there. What one knows the other does, so one has read for both."""
    group = Group([detector("a")], [[]], list(history), [0])
    group.deliver()
    other = copy.deepcopy(group.detectors[0])
    assert other.room is not None and other._summaries is not None
    other.room._setup = other._summaries._setup = RoomSetup(GROUP, "b", 0.1)
    group = Group([group.detectors[0], other], [[], []], group.topic, [LEARNED, LEARNED])
    group.tick(LEARNED)
    assert group.said == [] and all(one.room is not None and one.room.live for one in group.detectors)
    return group


@pytest.fixture
def group(taught: Group) -> Group:
    """The job's nodes are split: the ill one and every second other are the first detector's."""
    made = copy.deepcopy(taught)
    made.hears = [[node for node in range(ROOM.nodes) if node % 2 and node != NEW_ILL], [node for node in range(0, ROOM.nodes, 2) if node != NEW_ILL]]
    return made


@pytest.fixture
def agents(room: Told) -> dict[int, Agent]:
    return {node: Agent(room, node) for node in range(ROOM.nodes)}


def test_a_node_of_a_job_that_two_detectors_share_is_found_once_by_who_hears_it(group: Group, agents: dict[int, Agent]) -> None:
    group.live(agents, LEARNED, LEARNED + 6)
    assert group.unlike == [(0, name(ILL), True)]
    (finding,) = (one for _, one in group.said if one.kind == "node_unlike_others")
    clock = next(one for one in finding.evidence if "GPU-3" in one.name)
    assert clock.value < clock.expected and clock.unit == "GHz"
    assert any("median of 7 peers" in one.name for one in finding.evidence), finding
    assert "member" in finding.summary


def test_a_finding_tells_how_rare_the_node_was_minute_after_minute(group: Group, agents: dict[int, Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    room, rates = group.detectors[0].room, list[float]()
    assert room is not None
    row = room._known[name(ILL)].row

    def noted(health: Health, readings: Readings, job: Numbers, new: NDArray[np.bool_] | None = None) -> Judged:
        seen = judged(health, readings, job, new)
        if health is room._health:
            rates.append(float(seen.rate[row]))
        return seen

    monkeypatch.setattr("gpuwarden.detector.health.room.judged", noted)
    group.live(agents, LEARNED, LEARNED + 6)
    rates = rates[: 1 + next(at for at, rate in enumerate(rates) if rate < 0.1)]
    (finding,) = (one for _, one in group.said if one.kind == "node_unlike_others")
    shown = list(finding.trend.values)
    np.testing.assert_allclose(shown[-len(rates) :], -np.log10(np.clip(rates, 1e-7, None)), rtol=1e-6)
    assert len(rates) > 1 and finding.trend.threshold == 1.0 and shown[-1] > 1.0 >= np.nanmax(shown[:-1])
    assert finding.trend.until_unix_ns == finding.since_unix_ns


def test_who_takes_a_node_over_ends_what_the_dead_one_found_and_says_it_not_again(group: Group, agents: dict[int, Agent]) -> None:
    group.live(agents, LEARNED, LEARNED + 6)
    firing = tuple(one.SerializeToString() for _, one in group.said)
    _takes_over(group, firing)
    group.live(agents, LEARNED + 6, LEARNED + 50)
    assert group.unlike == [(0, name(ILL), True), (0, name(ILL), False)]
    assert len(group.ids()) == 1


def test_what_the_dead_one_found_and_did_not_say_is_said_by_who_takes_over_under_the_same_id(group: Group, agents: dict[int, Agent]) -> None:
    group.live(agents, LEARNED, LEARNED + 6)
    ids = group.ids()
    group.said.clear()  # it died before the brokers had it
    _takes_over(group, ())
    group.live(agents, LEARNED + 6, LEARNED + 7)
    assert group.unlike == [(0, name(ILL), True)] and group.ids() == ids


def _takes_over(group: Group, firing: tuple[bytes, ...]) -> None:
    """The first detector dies. The other is the only one now, and gets all partitions."""
    del group.detectors[0], group.read[0]
    group.hears = [sorted(group.hears[0] + group.hears[1])]
    group.step(0, Moved(((topics.TELEMETRY, 0), (topics.TELEMETRY, 1)), firing))


def test_who_loses_a_node_forgets_it_and_does_not_call_it_silent(agents: dict[int, Agent]) -> None:
    group = Group([Detector(DetectorSetup(stale_s=5.0, room=RoomSetup(GROUP, "a", 0.1)))], [[ILL]], read=[0])
    group.step(0, Moved(((topics.TELEMETRY, 0),), ()))
    group.live(agents, 0, 1)
    group.step(0, Moved((), ()))
    for second in range(20):
        group.keep(0, group.detectors[0].step(float(second), Tick((FIRST + 2) * MINUTE_NS)))
    assert group.said == [] and group.detectors[0].nodes_known == 0


def test_records_that_come_twice_or_late_change_nothing(group: Group, agents: dict[int, Agent], history: list[bytes]) -> None:
    group.topic += [history[-1], history[-500]]
    group.deliver()
    late = Teller(told(ROOM, 1, []), start="late", first=FIRST + LEARNED - 9)
    group.topic.append(late.minute(0))
    group.live(agents, LEARNED, LEARNED + 6)
    assert group.unlike == [(0, name(ILL), True)]
    room = group.detectors[1].room
    assert room is not None and (room.minutes.records_repeated, room.minutes.late) == (2, ROOM.nodes)


def test_a_detector_whose_clock_is_ahead_ends_no_minute(group: Group, agents: dict[int, Agent]) -> None:
    group.topic.append(Teller(told(ROOM, 1, []), start="ahead", first=FIRST + LEARNED + 600).minute(0))
    group.deliver()
    group.live(agents, LEARNED, LEARNED + 6)
    assert len(group.letters) == 2 and group.letters[0].startswith("unix_ns: is ")
    assert group.unlike == [(0, name(ILL), True)]


def test_an_hour_under_our_own_caps_is_no_finding(taught: Group) -> None:
    """Every job of the room, an hour, one after the other."""
    group = copy.deepcopy(taught)
    capped = told(ROOM, LEARNED + HOUR + 10, [Bout("our_cap", place, LEARNED, LEARNED + HOUR) for place in range(3)])
    group.hears, agents = [[*range(ROOM.nodes)], []], {node: Agent(capped, node) for node in range(ROOM.nodes)}
    group.live(agents, LEARNED, LEARNED + HOUR + 10)
    assert group.unlike == []
    room = group.detectors[0].room
    assert room is not None and room.minutes_judged > ROOM.nodes * HOUR / 2


def test_a_new_node_that_is_ill_from_its_first_minute_is_found_by_what_others_taught(group: Group, agents: dict[int, Agent]) -> None:
    group.hears = [group.hears[0], [*group.hears[1], NEW_ILL]]
    group.live(agents, LEARNED, LEARNED + 25)
    assert group.unlike == [(0, name(ILL), True), (1, name(NEW_ILL), True)]
    new = group.said[-1][1]
    assert new.since_unix_ns <= (FIRST + LEARNED + 20) * MINUTE_NS
    assert "(member laws): streaming multiprocessor clock, median of its cards" in new.summary


@pytest.fixture
def small() -> Iterator[Told]:
    yield told(Room((2,) * 12, seed=1), 40, [])


def test_one_that_starts_reads_the_past_comes_to_the_same_and_says_nothing_of_it_again(small: Told) -> None:
    teller = Teller(small)
    group = Group([detector("a")], [[]], [teller.minute(minute) for minute in range(20)], [0])
    group.deliver()
    group.topic += [teller.minute(minute) for minute in range(20, 40)]
    group.deliver()
    second = Group([detector("b")], [[]], group.topic, [0])
    second.deliver()
    mine, theirs = second.detectors[0].room, group.detectors[0].room
    assert mine is not None and theirs is not None and not mine.live
    np.testing.assert_array_equal(mine._health.nodes.correction, theirs._health.nodes.correction)
    assert mine._health.nodes.correction.any()
    second.tick(41)
    assert mine.live and second.said == []


def test_more_nodes_than_there_were_rows_for_keep_what_was_known_and_those_long_gone_make_room(small: Told) -> None:
    one, other = detector("a"), detector("a")
    teller = Teller(small)
    for minute in range(30):
        nodes = range(10) if minute < 20 else range(24)
        one.step(0.0, Polled((Raw(0, minute, GROUP, teller.minute(minute, nodes), topics.SCORES),)))
    teller = Teller(small)
    for minute in range(30):
        other.step(0.0, Polled((Raw(0, minute, GROUP, teller.minute(minute, range(10)), topics.SCORES),)))
    assert one.room is not None and other.room is not None
    assert (one.room.nodes_known, other.room.nodes_known) == (24, 10)
    rows = [one.room._known[name(node)].row for node in range(10)]
    np.testing.assert_array_equal(one.room._health.laws.minutes[:, rows][:, :, 0], other.room._health.laws.minutes[:, rows][:, :, 0])
    later = Teller(small, start="later", first=FIRST + 1500)
    one.step(0.0, Polled((Raw(0, 99, GROUP, later.minute(0, range(3)), topics.SCORES),)))
    one.step(0.0, Polled((Raw(0, 99, GROUP, later.minute(1, range(3)), topics.SCORES),)))
    assert one.room.nodes_known == 3


def test_another_groups_minutes_are_none_of_ours_and_bad_ones_are_refused(small: Told) -> None:
    group = Group([detector("a")], [[]], read=[0])
    payload = Teller(small).minute(0)
    group.step(0, Polled((Raw(0, 0, "other", payload, topics.SCORES), Raw(0, 1, GROUP, payload[:-3], topics.SCORES), Raw(0, 2, GROUP, b"", topics.SCORES))))
    assert group.detectors[0].room is not None and group.detectors[0].room.nodes_known == 0
    assert [letter.partition(":")[0] for letter in group.letters] == ["payload", "version"]
