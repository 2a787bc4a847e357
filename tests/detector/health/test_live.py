"""Nodes that are watched: live scores are those of the whole history at once; faults are found, our own caps are none."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from fakes.room import FIRST, Agent, block, name, past

from gpuwarden.detector.events import Action, Chosen, Moved, Polled, PublishFinding, Raw, Tick
from gpuwarden.detector.health.conditional import conditional
from gpuwarden.detector.health.features import LEARNED
from gpuwarden.detector.health.fit import Fitted, fitted, stacked
from gpuwarden.detector.health.learned import Learned
from gpuwarden.detector.health.live import STATES
from gpuwarden.detector.health.past import past as past_of
from gpuwarden.detector.health.scale import Array, floors, scale
from gpuwarden.detector.health.score import parts, raw, smoothed
from gpuwarden.detector.health.trend import MINUTES
from gpuwarden.detector.health.verdict import SMOOTHED, WARM_MINUTES
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.detector.past.features import FEATURES
from gpuwarden.detector.past.piece import MINUTE_NS
from gpuwarden.proto import topics
from gpuwarden.proto.decode import decode
from gpuwarden.proto.finding_pb2 import Finding, FindingState
from gpuwarden.sim.health.ward import Bout, Room, Told, told

DAY = 1440
TAUGHT = 2 * DAY
BEGINS = TAUGHT + 10  # of what is amiss, in each story
ENDS = BEGINS + 60
GONE = frozenset({"gpu_sm_clock_hertz", "host_cpu_power_watts"})
NODES = 2  # that are compared to the last digit
WELL, CLOCKS, FAN, CAPPED, GOVERNOR, CARD, EARLY = range(7)  # nodes, by what becomes of them
BOUTS = (
    Bout("low_clocks", CLOCKS, BEGINS, ENDS), Bout("failing_fan", FAN, BEGINS, ENDS), Bout("our_cap", CAPPED, BEGINS, ENDS),
    Bout("powersave", GOVERNOR, BEGINS, BEGINS + 8), Bout("slow_card", CARD, BEGINS, ENDS), Bout("low_clocks", EARLY, TAUGHT, ENDS),
)  # fmt: skip


@pytest.fixture(scope="module")
def room() -> Told:
    return told(Room((1,) * 7, 2), ENDS + 40, BOUTS)


@pytest.fixture(scope="module")
def nodes(room: Told) -> list[Fitted]:
    history = past(room, TAUGHT)
    return [one for node in range(7) if isinstance(one := fitted(history, 0.1, node), Fitted)]


@pytest.fixture(scope="module")
def model(nodes: list[Fitted]) -> Learned:
    return stacked(nodes)


@dataclass
class Story:
    """A detector that is told what agents of a room say."""

    detector: Detector
    findings: list[Finding] = field(default_factory=list)
    now_s: float = 0.0

    def choose(self, live: str | None, shadow: str | None = None) -> None:
        self._keep(self.detector.step(self.now_s, Chosen(live, shadow, FIRST * MINUTE_NS)))

    def hear(self, payloads: Iterable[bytes]) -> None:
        for payload in payloads:
            sample = decode(payload)
            self.now_s = (sample.unix_ns - FIRST * MINUTE_NS) / 1e9
            self._keep(self.detector.step(self.now_s, Polled((Raw(0, 0, sample.node, payload),))))

    def hear_all(self, of: Iterable[Agent], first: int, end: int, without: frozenset[str] = frozenset()) -> None:
        """Two readings of each a minute, and a tick at its end."""
        for records in zip(*(agent.minutes(first, end, without) for agent in of), strict=True):
            self.now_s = (decode(records[0]).unix_ns - FIRST * MINUTE_NS) / 1e9
            raws = tuple(Raw(0, 0, decode(payload).node, payload) for payload in records)
            self._keep(self.detector.step(self.now_s, Polled(raws)))
            self._keep(self.detector.step(self.now_s, Tick(FIRST * MINUTE_NS + int(self.now_s * 1e9))))

    def _keep(self, actions: list[Action]) -> None:
        self.findings += [Finding.FromString(action.payload) for action in actions if isinstance(action, PublishFinding)]

    @property
    def unlike(self) -> list[tuple[str, bool, int]]:
        """(node, whether it fires, minute) of each."""
        return [
            (one.subject.node, one.state == FindingState.FINDING_STATE_FIRING, one.updated_unix_ns // MINUTE_NS - FIRST)
            for one in self.findings if one.kind == "node_unlike_itself"
        ]  # fmt: skip


def story(model: Learned, **others: Learned) -> Story:
    made = Story(Detector(DetectorSetup(), {"live": model, **others}))
    made.choose("live", next(iter(others), None))
    return made


def test_live_scores_are_those_of_the_whole_history_at_once(room: Told, model: Learned) -> None:
    """Those too of minutes in which some metrics are gone: nothing leans on them."""
    first, lost, end = TAUGHT, TAUGHT + 25, TAUGHT + 45
    made = story(model)
    verdict = made.detector.health._live
    assert verdict is not None
    raws, scores = [], []
    agents = [Agent(room, node) for node in range(NODES)]
    for minute in range(first, end):
        made.hear_all(agents, minute, minute + 1, GONE if minute >= lost else frozenset())
        raws.append(verdict.recent[:, -1].copy())
        scores.append(verdict.score.copy())
    values = block(room)[:NODES, :, LEARNED].astype(np.float64)
    told_at = ~np.isnan(values).all((0, 1))
    values = values[..., told_at]
    gone = [FEATURES[column].metric.name in GONE for column in LEARNED[told_at].tolist()]
    taught, floor = values[:, :TAUGHT], floors(values[:, :TAUGHT])
    own = scale(taught, floor)
    whole = conditional(own.deviations(taught), own.of_past(past_of(taught, 60.0)))
    now = values[:, first:end].copy()
    now[:, lost - first :, gone] = np.nan
    deviations, earlier = own.deviations(now), own.of_past(past_of(now, 60.0))
    carried = parts(deviations, whole.residuals(deviations, earlier))
    carried[:, 0] = np.nan  # the first minute of a node only begins its past
    live, wanted = (np.array(of).T[:, 1:] for of in (raws, scores)), raw(carried)[:, :-1]  # a minute is over with the next one
    live_raw, live_score = (of[:NODES] for of in live)
    np.testing.assert_allclose(live_raw, wanted, rtol=1e-3)
    np.testing.assert_allclose(live_score[:, WARM_MINUTES:], _held(wanted)[:, WARM_MINUTES:], rtol=1e-3)
    assert np.ptp(live_score[:, WARM_MINUTES:]) > 0.2
    assert made.detector.health.metrics_missing == 9 * NODES
    assert made.detector.health.nodes_by_state(NODES)["judged"] == NODES


def test_a_finding_tells_the_score_of_each_minute_until_it_fired(room: Told, model: Learned) -> None:
    made, agent = story(model), Agent(room, CLOCKS)
    health, scores = made.detector.health, dict[int, float]()
    verdict, row = health._live, CLOCKS
    assert verdict is not None
    for minute in range(TAUGHT - 65, BEGINS + 10):
        if minute == TAUGHT - 9:  # a record is lost
            list(agent.minutes(minute, minute + 1))
            continue
        made.hear_all([agent], minute, minute + 1)
        if verdict.lived[row] >= WARM_MINUTES and health.state[row] == STATES.index("judged"):
            scores[int(health._at[row])] = float(verdict.score[row])
    (finding,) = (one for one in made.findings if one.kind == "node_unlike_itself")
    until = finding.trend.until_unix_ns // MINUTE_NS - 1
    assert finding.trend.until_unix_ns == finding.since_unix_ns and BEGINS <= until - FIRST < BEGINS + 10
    wanted = np.array([scores.get(minute, np.nan) for minute in range(until - MINUTES + 1, until + 1)])
    np.testing.assert_array_equal(np.array(finding.trend.values, np.float32), wanted.astype(np.float32))
    assert np.flatnonzero(np.isnan(wanted)).tolist() == [FIRST + TAUGHT - 9 - until - 1 + MINUTES]
    assert wanted[-1] > finding.trend.threshold >= np.nanmax(wanted[:-1])


def _held(score: Array) -> Array:
    """As health.score.held, but that the first minutes are smoothed and not held."""
    smooth, largest = smoothed(score, SMOOTHED), np.zeros(len(score))
    out = np.zeros_like(smooth)
    for row in range(WARM_MINUTES, smooth.shape[1]):
        largest = out[:, row] = np.fmax(0.5 ** (1 / 30) * largest, smooth[:, row])
    return out


@pytest.mark.parametrize(("node", "metric"), [(CLOCKS, "streaming multiprocessor clock of 8 cards"), (FAN, "slowest chassis fan")])
def test_a_fault_is_found_within_minutes_and_its_metric_named_with_what_was_expected(room: Told, model: Learned, node: int, metric: str) -> None:
    made = story(model)
    made.hear_all([Agent(room, WELL), Agent(room, node)], TAUGHT, BEGINS + 10)
    ((who, firing, minute),) = made.unlike
    assert (who, firing) == (name(node), True) and BEGINS <= minute <= BEGINS + 6
    (finding,) = (one for one in made.findings if one.kind == "node_unlike_itself")
    (guilty,) = (one for one in finding.evidence if one.name == metric)
    assert guilty.value < 0.8 * guilty.expected
    assert finding.score > 1


def test_it_is_over_when_the_node_is_as_it_was_again(room: Told, model: Learned) -> None:
    made = story(model)
    made.hear_all([Agent(room, GOVERNOR)], TAUGHT, BEGINS + 60)
    (_, fires, begun), (_, goes_on, over) = made.unlike
    assert (fires, goes_on) == (True, False) and over > begun + 10
    assert made.findings[0].id == made.findings[-1].id


def test_power_capped_by_us_for_an_hour_is_no_finding(room: Told, model: Learned) -> None:
    made = story(model)
    agents = [Agent(room, WELL), Agent(room, CAPPED)]
    made.hear_all(agents, TAUGHT, ENDS)
    assert made.detector.health.nodes_by_state(2) == {"silent": 0, "judged": 1, "capped": 1, "warming": 0, "waiting": 0, "unknown": 0}
    made.hear_all(agents, ENDS, ENDS + 15)
    assert made.detector.health.nodes_by_state(2)["judged"] == 2
    assert made.unlike == []
    made = story(model)
    made.hear_all([Agent(changed(room, gpu_capped_by_us=0.0), CAPPED)], TAUGHT, BEGINS + 10)
    assert [node for node, _, _ in made.unlike] == [name(CAPPED)], "the same limit, set by somebody else, is one"


def test_a_cap_of_ours_that_slows_nothing_is_judged_all_the_same(room: Told, model: Learned) -> None:
    loose = changed(room, gpu_capped_by_us=1.0, gpu_throttle_power_seconds_total=0.0)
    made = story(model)
    made.hear_all([Agent(loose, FAN)], TAUGHT, BEGINS + 10)
    assert [node for node, _, _ in made.unlike] == [name(FAN)]


def changed(room: Told, **metrics: float) -> Told:
    """With these metrics of all cards at these values."""
    values = room.values.copy()
    for metric, value in metrics.items():
        values[..., np.char.startswith(room.columns, metric)] = value
    return replace(room, values=values)


def test_what_the_model_does_not_know_is_not_judged_and_counted(room: Told, nodes: list[Fitted]) -> None:
    made = story(stacked(nodes[:1]))
    made.hear_all([Agent(room, WELL), Agent(room, CLOCKS)], TAUGHT, BEGINS + 8)
    assert made.unlike == []
    assert made.detector.health.nodes_by_state(2)["unknown"] == 1


def test_a_card_that_the_model_does_not_know_is_not_compared_with_the_one_that_was_there(room: Told, model: Learned) -> None:
    """A card that was replaced is another one; the node's host and its other cards are judged."""
    without = replace(model, cards=tuple(("GPU-old", *cards[1:]) for cards in model.cards))
    made = story(without)
    made.hear_all([Agent(room, CARD)], TAUGHT, BEGINS + 10)
    assert made.detector.health.metrics_missing > 10
    assert [node for node, _, _ in made.unlike] == [name(CARD)]
    assert not any("GPU-0" in one.name or "8 cards" in one.name for one in made.findings[0].evidence)


def test_a_shadow_is_counted_and_publishes_nothing(room: Told, model: Learned) -> None:
    deaf = replace(model, threshold=model.threshold * 1000)
    made = story(deaf, shadow=model)
    made.hear_all([Agent(room, CLOCKS)], TAUGHT, BEGINS + 10)
    health = made.detector.health
    assert (made.unlike, health.findings_fired, health.shadow_fired) == ([], 0, 1)
    made.choose("shadow")
    made.hear_all([Agent(room, CLOCKS, "b")], BEGINS + 10, BEGINS + 15)
    assert [(node, firing) for node, firing, _ in made.unlike] == [(name(CLOCKS), True)], "promoted, it goes on from what was known"


def test_a_finding_is_over_when_its_node_is_in_no_model_any_more(room: Told, nodes: list[Fitted], model: Learned) -> None:
    made = story(model, other=stacked(nodes[:1]))
    made.hear_all([Agent(room, WELL), Agent(room, CLOCKS)], TAUGHT, BEGINS + 10)
    made.choose("other")
    assert [firing for _, firing, _ in made.unlike] == [True, False]


def test_what_a_detector_left_firing_goes_on_under_its_id_until_the_node_is_as_it_was(room: Told, model: Learned) -> None:
    first = story(model)
    agents = [Agent(room, GOVERNOR)]
    first.hear_all(agents, TAUGHT, BEGINS + 8)
    (left,) = first.findings
    second = Story(Detector(DetectorSetup(), {"live": model}))
    second.detector.step(0.0, Moved(((topics.TELEMETRY, 0),), (left.SerializeToString(),)))
    second.choose("live")
    second.hear_all(agents, BEGINS + 8, BEGINS + 14)
    assert second.unlike == [], "neither fired anew nor dropped before it was judged"
    second.hear_all(agents, BEGINS + 14, BEGINS + 60)
    ((_, goes_on, _),) = second.unlike
    assert not goes_on and second.findings[0].id == left.id


def test_the_first_minutes_of_a_node_only_begin_its_past(room: Told, model: Learned) -> None:
    made = story(model)
    agents = [Agent(room, EARLY)]
    made.hear_all(agents, TAUGHT, TAUGHT + WARM_MINUTES)
    assert made.unlike == [] and made.detector.health.nodes_by_state(1)["warming"] == 1
    made.hear_all(agents, TAUGHT + WARM_MINUTES, TAUGHT + WARM_MINUTES + 3)
    assert [node for node, _, _ in made.unlike] == [name(EARLY)]


def test_a_node_that_sends_twice_is_judged_as_one_that_sends_once(room: Told, model: Learned) -> None:
    once, twice = story(model), story(model)
    for made, times in ((once, 1), (twice, 2)):
        for payload in Agent(room, WELL).minutes(TAUGHT, TAUGHT + 12):
            made.hear([payload] * times)
    first, second = once.detector.health._live, twice.detector.health._live
    assert first is not None and second is not None
    np.testing.assert_array_equal(first.score, second.score)
    assert first.score[0] > 0


def test_without_a_model_nothing_is_gathered_and_nothing_said(room: Told) -> None:
    made = Story(Detector(DetectorSetup()))
    made.hear_all([Agent(room, WELL)], TAUGHT, TAUGHT + 5)
    assert made.unlike == [] and made.detector.health.nodes_by_state(1)["unknown"] == 1
    assert not made.detector.health.models
