"""Meters through the machine: what they show is taken from the grants in the next step, told to people, and asked for over gRPC."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.limiters import KEY, Limiter, Row
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.cli.explain import explained
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.events import (
    MeterFailed,
    MeterRead,
    Notify,
    Publish,
    Refuse,
    RememberForeign,
    Reply,
    ReportMeter,
    Tick,
)
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.level import SETTLING_S
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.meter_config import MeterConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.address import Address
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub

NODES = tuple(f"n{i}" for i in range(8))
GRPC = MeterConfig("grpc", window_s=2.0)
RACK = LimitConfig("rack", 26e3, nodes=("n[0-3]",), dead_nodes=0, meter=GRPC)
ROW = DomainConfig("row", 60e3, (NodeClass("h100", NODES),), mode="auto", dead_nodes=0, limits=(RACK,))
POLLED = replace(ROW, meter=MeterConfig("redfish", "https://pdu", "/redfish/v1/x", user="u", password_file=Path("/p")))
LEASE_S = 5.0


class Measured:
    """A row of nodes, the meter of their rack, and what else hangs there. `gains`: what each node's sensor shows for a watt."""

    def __init__(self, demand_w: float = 5000.0, gains: list[float] | None = None, domain: DomainConfig = ROW) -> None:
        self.made = Controller(ControllerSetup("c1", 0, (domain,), (), Timing(LEASE_S, 3.0, 2.5)), dict.fromkeys(NODES, KEY))
        self.row = Row(self.made, [Limiter(node, demand_w=demand_w) for node in NODES])
        self.gains = np.array(gains or [1.0] * len(NODES))
        self.row.connect()

    def rack_w(self) -> float:
        """Truly, of the nodes."""
        gpus_w = np.array([min(limiter.demand_w, limiter.enforced_w) for limiter in self.row.limiters]) / self.gains
        return float((2300.0 + 1.10 * gpus_w)[:4].sum())

    def run(self, seconds: float, foreign_w: float) -> None:
        for _ in range(round(seconds)):
            self.row.run(0.5)
            self.read("rack", self.rack_w() + foreign_w)
            self.row.run(0.5)

    def read(self, limit: str, power_w: float) -> None:
        self.row.perform(self.made.step(self.row.now_s, MeterRead("row", limit, power_w, 0.0)))

    def granted_w(self) -> float:
        return sum(node.granted_w for node in self.made.keepers["row"].nodes[:4])

    def worst_w(self) -> float:
        """Of the rack's nodes, once every grant is obeyed."""
        return 4 * 2300.0 + 1.10 * 1.05 * self.granted_w()

    def told(self) -> list[tuple[str, bool]]:
        return [(action.title, action.firing) for action in self.row.done if isinstance(action, Notify)]

    def shown(self) -> pb.WatchResponse:
        return [action for action in self.row.done if isinstance(action, Publish)][-1].snapshot


def test_foreign_load_is_taken_in_the_very_step_that_hears_of_it() -> None:
    measured = Measured(demand_w=1000.0)
    measured.run(40.0, 0.0)  # the breaker has cooled
    for limiter in measured.row.limiters:
        limiter.demand_w = 5000.0
    measured.run(10.0, 0.0)
    assert measured.worst_w() + 6e3 > RACK.rating_w
    measured.read("rack", measured.rack_w() + 6e3)
    assert measured.worst_w() + 6e3 <= RACK.rating_w * 1.001
    measured.run(10.0, 6e3)
    assert measured.rack_w() + 6e3 <= RACK.rating_w


def test_a_meter_that_shows_less_raises_nobody() -> None:
    measured = Measured()
    measured.run(20.0, 0.0)
    before_w = measured.granted_w()
    measured.run(60.0, -8e3)
    assert measured.granted_w() == before_w


def test_nothing_is_raised_before_the_meter_has_told() -> None:
    measured = Measured()
    measured.row.run(20.0)
    assert measured.granted_w() == 4 * 1600.0
    measured.run(5.0, 0.0)
    assert measured.granted_w() > 4 * 1600.0 + 1000.0


def test_without_a_word_of_it_the_declared_base_counts_in_the_end() -> None:
    measured = Measured()
    measured.row.run(45.0)
    assert measured.granted_w() > 4 * 1600.0 + 1000.0
    assert ("rack: meter-silent", True) in measured.told()


@settings(max_examples=12)
@given(
    foreign=st.lists(st.tuples(st.floats(0.0, 8e3), st.integers(1, 20)), min_size=1, max_size=5),
    demands=st.lists(st.floats(500.0, 5600.0), min_size=8, max_size=8),
    gains=st.lists(st.floats(0.953, 1.047), min_size=8, max_size=8),
)
def test_whatever_comes_and_goes_the_rack_carries_the_worst_once_a_cut_has_arrived(
    foreign: list[tuple[float, int]], demands: list[float], gains: list[float]
) -> None:
    """Sensors are off by up to 5 %, each by its own. What is drawn, and what would be if all messages were lost, is within the limit."""
    measured = Measured(gains=gains)
    for limiter, demand_w in zip(measured.row.limiters, demands, strict=True):
        limiter.demand_w = demand_w
    measured.run(15.0, 0.0)
    keeper = measured.made.keepers["row"]
    level, bare = keeper.loads.bare.levels[0], keeper.loads.bare
    before_w = 0.0
    for foreign_w, seconds in foreign:
        measured.run(seconds, foreign_w)
        if foreign_w > before_w and seconds < LEASE_S + SETTLING_S + 1.0:
            continue  # its cuts are yet on their way
        before_w = foreign_w
        assert measured.rack_w() + foreign_w <= RACK.rating_w
        decision = keeper.decision
        assert decision is not None and decision.holds
        worst_w = np.maximum(decision.counted_limits_w, decision.limits_w)
        true_gain = bare.members.gain / 1.05 / np.array(gains)
        assert float((bare.members.base_w + true_gain * worst_w)[level.nodes].sum()) + foreign_w <= RACK.rating_w * 1.001


def test_what_was_foreign_still_counts_after_a_restart_though_the_meter_says_nothing() -> None:
    measured = Measured()
    measured.run(20.0, 6e3)
    kept = {one.limit: one for action in measured.row.done if isinstance(action, RememberForeign) for one in action.foreign}
    counted_w = measured.made.keepers["row"].meters.by_limit["rack"].foreign_w
    assert 6e3 * 0.99 <= counted_w <= kept["rack"].foreign_w <= counted_w + 0.07 * RACK.rating_w
    written = sum(isinstance(action, RememberForeign) for action in measured.row.done)
    measured.run(20.0, 6e3)
    assert sum(isinstance(action, RememberForeign) for action in measured.row.done) == written, "a calm row writes nothing again and again"
    again = Controller(ControllerSetup("c1", 9, (ROW,), (), Timing(LEASE_S, 3.0, 2.5), foreign=tuple(kept.values())), dict.fromkeys(NODES, KEY))
    again.step(0.0, Tick(0))
    assert again.keepers["row"].loads.foreign_w(0) == kept["rack"].foreign_w


def test_people_are_told_of_foreign_load_with_the_numbers_and_when_it_is_over() -> None:
    measured = Measured(demand_w=2000.0)
    measured.run(15.0, 0.0)
    measured.run(15.0, 6e3)
    (notice,) = [action for action in measured.row.done if isinstance(action, Notify) and "foreign" in action.title]
    assert notice.title == "rack: foreign-load" and notice.severity == "warning"
    assert "shows 6.0 kW more than its nodes' 18.0 kW and its base load of 0.0 kW" in notice.text
    measured.run(60.0, 0.0)
    assert ("rack: foreign-load", False) in measured.told()


def test_people_are_told_of_a_meter_that_contradicts_the_sensors() -> None:
    measured = Measured(demand_w=4000.0)
    measured.run(20.0, -15e3)
    (notice,) = [action for action in measured.row.done if isinstance(action, Notify) and "contradicts" in action.title]
    assert "less than its nodes' GPUs alone draw; the larger counts" in notice.text


def test_a_meter_that_cannot_be_read_says_why_at_doubling_intervals() -> None:
    measured = Measured(domain=POLLED)
    said = [measured.made.step(1.0, MeterFailed("row", "row", "no answer within 5 s")) for _ in range(9)]
    assert [len(actions) for actions in said[1:]] == [1, 0, 1, 0, 0, 0, 1, 0]
    measured.read("row", 5e9)
    assert "power_w: is 5e+09 W" in measured.made.keepers["row"].meters.by_limit["row"].failure
    measured.row.run(1.0)
    (row,) = [limit for limit in measured.shown().cluster.domains[0].limits if limit.name == "row"]
    assert row.meter.kind == "redfish" and "power_w" in row.meter.failure and math.isnan(row.meter.power_w)


def test_the_picture_and_explain_tell_what_is_foreign() -> None:
    measured = Measured(domain=POLLED)
    measured.row.run(31.0)  # until the row's meter is no longer waited for
    measured.run(20.0, 6e3)
    measured.row.run(1.0)
    seen = measured.shown()
    rack, row = seen.cluster.domains[0].limits
    assert (rack.foreign_w, row.foreign_w) == pytest.approx((6e3, 6e3), rel=0.02)
    assert rack.meter.surplus_w == pytest.approx(6e3, rel=0.02) and rack.meter.age_s < 2.0
    said = "\n".join(explained(seen.nodes[0], seen.cluster.domains[0]))
    assert "kW of it foreign" in said
    assert "meter of rack (grpc): 25." in said and "were its nodes' by their sensors, 0 W are declared" in said
    assert "meter of row (redfish): no reading yet" in said


def test_heat_counts_the_larger_of_meter_and_sensors() -> None:
    """A rack that a meter sees above its rating warms, though all its nodes are idle by their word."""
    measured = Measured(demand_w=600.0)
    measured.run(20.0, 0.0)
    keeper = measured.made.keepers["row"]
    cool = float(keeper.loads.heats[0][0])
    measured.run(3.0, 35e3 - measured.rack_w())
    assert keeper.loads.measured_w[0][0] >= 35e3
    assert float(keeper.loads.heats[0][0]) > cool + 1.0


def test_explain_suggests_what_the_meter_has_taught() -> None:
    gains = [pb.SensorGain(of="n0", mean=1.06, sd=0.004, known=True, counted=1.07), pb.SensorGain(of="n1", mean=0.97, sd=0.004, known=True, counted=1.0)]
    meter = pb.Meter(kind="grpc", power_w=20e3, age_s=1.0, nodes_w=18e3, gains=[*gains, pb.SensorGain(of="n2", mean=1.0, sd=0.05)], rest_w=9e3)
    domain = pb.PowerDomain(name="row", limits=[pb.PowerLimit(name="row", rating_w=60e3, meter=meter)])
    said = "\n".join(explained(pb.Node(name="n0", domain="row", gpu_count=8), domain))
    assert "the sensors of n0 read 5.7 % low (a gain of 1.060, deviation 0.004); counts as 1.070 in every sum" in said
    assert "the sensors of n1 read 3.1 % high (a gain of 0.970, deviation 0.004); frees nothing" in said
    assert "n2" not in said and "beside the GPUs it carries 9.0 kW" in said


# Over gRPC.


def report(power_w: float, request_id: str = "", limit: str = "rack", domain: str = "row", age_s: float = 0.0) -> ReportMeter:
    return ReportMeter(7, "operator pdu", request_id, domain, limit, power_w, age_s)


@pytest.mark.parametrize(
    ("asked", "code", "reason", "field"),
    [
        (report(1e3, domain="rows"), "NOT_FOUND", "UNKNOWN_DOMAIN", "domain"),
        (report(1e3, limit="rock"), "NOT_FOUND", "NO_SUCH_METER", "limit"),
        (report(1e3, limit="row"), "FAILED_PRECONDITION", "OTHER_KIND", "limit"),
        (report(math.inf), "INVALID_ARGUMENT", "BAD_READING", "power_w"),
        (report(-1.0), "INVALID_ARGUMENT", "BAD_READING", "power_w"),
        (report(1e3, age_s=99.0), "INVALID_ARGUMENT", "BAD_READING", "age_s"),
    ],
)
def test_a_report_that_cannot_be_is_refused_with_field_and_reason(asked: ReportMeter, code: str, reason: str, field: str) -> None:
    (reply,) = [action for action in Measured(domain=POLLED).made.step(1.0, asked) if isinstance(action, Reply)]
    assert isinstance(reply.response, Refuse)
    assert (reply.response.code, reply.response.reason, reply.response.field) == (code, reason, field)
    assert reply.response.message


def test_the_same_report_twice_has_one_effect() -> None:
    measured = Measured()
    measured.run(10.0, 0.0)
    before_s = measured.row.now_s
    (first,) = [a for a in measured.made.step(before_s, report(20e3, "r1")) if isinstance(a, Reply)]
    (again,) = [a for a in measured.made.step(before_s + 5.0, report(20e3, "r1")) if isinstance(a, Reply)]
    assert first == again
    assert measured.made.keepers["row"].meters.by_limit["rack"].told_s == before_s
    (other,) = [a for a in measured.made.step(before_s + 5.0, report(21e3, "r1")) if isinstance(a, Reply)]
    assert isinstance(other.response, Refuse) and other.response.reason == "REQUEST_ID_REUSED"


@pytest.fixture
def controller_config(tmp_path: Path) -> ControllerConfig:
    row = DomainConfig("row-a", 60e3, (NodeClass("h100", ("n0", "n1", "n2", "n3")),), meter=GRPC)
    return ControllerConfig(ledger_file=tmp_path / "ledger.sqlite", keys_dir=tmp_path, domains=(row,), listen=Address("127.0.0.1", 0))


def test_a_report_over_the_wire(control: ControlServiceStub, refusal: Callable[..., tuple[str, str, str, str]]) -> None:
    answer = control.ReportMeter(pb.ReportMeterRequest(domain="row-a", limit="row-a", power_w=9e3, request_id="m1"), timeout=10)
    assert answer.foreign_w >= 0.0
    code, reason, field, message = refusal(
        lambda: control.ReportMeter(pb.ReportMeterRequest(domain="row-a", limit="row-a", power_w=math.nan), timeout=10)
    )
    assert (code, reason, field) == ("INVALID_ARGUMENT", "BAD_READING", "power_w") and "is nan W" in message
    assert refusal(lambda: control.ReportMeter(pb.ReportMeterRequest(domain="x" * 300), timeout=10))[1] == "TOO_LONG"
