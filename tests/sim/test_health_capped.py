"""A row under the real controller, limiters and agents: what they cap for lack of power is no finding of the detector, and would be one if nobody knew whose cap it is."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from gpuwarden.controller.events import MeterRead
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.meter_config import MeterConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.detector.events import Chosen, Polled, PublishFinding, Raw
from gpuwarden.detector.health import live
from gpuwarden.detector.health.fit import Fitted, fitted, stacked
from gpuwarden.detector.health.learned import Learned
from gpuwarden.detector.health.live import STATES
from gpuwarden.detector.health.verdict import WARM_MINUTES
from gpuwarden.detector.history import Recorder
from gpuwarden.detector.history_parquet import Parquet
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.detector.past import opened
from gpuwarden.detector.past.block import read
from gpuwarden.detector.past.piece import MINUTE_NS, Span
from gpuwarden.proto.finding_pb2 import Finding
from gpuwarden.sim.cluster import Cluster, Outside, Row
from gpuwarden.sim.plant import Watts
from gpuwarden.sim.watch import Watch

FIRST = 28_333_440
FREE, CAPPED, END = 8, 10, 11  # minutes: until then there is power enough, until then there is not
RATING_W, FOREIGN_W, METER_S = 3e3, 1.6e3, 2.0
NODES, GPUS, DEMAND_W = ("n0",), 2, 600.0
Sent = list[tuple[str, bytes]]


class Steady:
    """A load that swings a little; looked at every five seconds."""

    nodes, gpus = NODES, GPUS

    def __init__(self) -> None:
        self.host_w: Watts = np.full(len(NODES), 500.0)
        self._chance = np.random.default_rng(1)

    def demands_w(self, now_s: float) -> Watts:
        demands_w: Watts = DEMAND_W + 20 * np.sin(now_s / 37) + 10 * self._chance.standard_normal((len(NODES), GPUS))
        return demands_w

    def samples(self) -> Iterator[tuple[float, int]]:
        for look in count():
            yield 5.0 * look + 1.0, 0


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """All telemetry of a row on whose breaker somebody else draws for some minutes."""
    made = Sent()
    domain = DomainConfig("row", RATING_W, (NodeClass("h100", NODES, gpus=GPUS, base_w=500.0),), mode="auto", dead_nodes=0, meter=MeterConfig("grpc", window_s=METER_S))
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")
    outside = Outside(ledger, Watch(), lambda snapshot: None, lambda who, say: None, lambda node, payload: made.append((node, payload)))
    row = Cluster(Row(Steady(), domain, Timing(5.0, 3.0, 2.5), 1, FIRST * MINUTE_NS), outside)
    foreign = {"w": 0.0}
    row.time.every(METER_S, lambda: row.hear(MeterRead("row", "row", float(row.plant.node_w().sum()) + foreign["w"], 0.0)), first_s=METER_S)
    row.time.run(60.0 * FREE)
    assert (row.plant.limit_w > DEMAND_W).all(), row.plant.limit_w
    foreign["w"] = FOREIGN_W
    row.time.run(60.0 * CAPPED)
    assert (row.plant.limit_w < DEMAND_W - 50).all(), row.plant.limit_w
    foreign["w"] = 0.0
    row.time.run(60.0 * END)
    ledger.close()
    return made


@pytest.fixture(scope="module")
def model(sent: Sent, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Of two days that are made of the minutes before, drawn again and again."""
    folder = tmp_path_factory.mktemp("history")
    recorder = Recorder(Parquet(folder))
    for offset, (_, payload) in enumerate(sent):
        recorder.take(0, offset, payload)
    recorder.flush()
    with opened(f"parquet:{folder}") as source:
        past = read(source, Span(FIRST + 1, FIRST + FREE))
    drawn = np.random.default_rng(1).integers(0, FREE - 1, 2880)
    days = replace(past, minutes=FIRST + np.arange(2880), values=past.values[:, drawn])
    return stacked([one for node in range(len(NODES)) if isinstance(one := fitted(days, 0.1, node), Fitted)])


def found(sent: Sent, model: Learned) -> tuple[Detector, list[Finding]]:
    detector, findings = Detector(DetectorSetup(), {"m": model}), list[Finding]()
    detector.step(0.0, Chosen("m", None, FIRST * MINUTE_NS))
    for offset, (node, payload) in enumerate(sent):
        actions = detector.step(0.0, Polled((Raw(0, offset, node, payload),)))
        findings += [Finding.FromString(action.payload) for action in actions if isinstance(action, PublishFinding)]
    return detector, [one for one in findings if one.kind == "node_unlike_itself"]


@pytest.mark.timeout(300)
def test_what_the_controller_caps_is_no_finding_and_a_cap_of_nobody_known_is_one(sent: Sent, model: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    detector, findings = found(sent, model)
    assert findings == []
    assert detector.health.minutes_judged == len(NODES) * (FREE - WARM_MINUTES), "all before, none while it lasts and shortly after"
    assert detector.health.state.tolist() == [STATES.index("capped")] * len(NODES)
    monkeypatch.setattr(live, "held_by_us", lambda values: np.zeros(len(values), bool))
    _, findings = found(sent, model)
    assert {one.subject.node for one in findings} == set(NODES)
    assert FREE <= findings[0].since_unix_ns // MINUTE_NS - FIRST <= FREE + 3
