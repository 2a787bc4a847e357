"""What a meter's readings leave unexplained: taken at once, given back slowly, never loosened by a meter that shows too little."""

import math

import numpy as np
import pytest

from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.meter import GIVE_BACK_PER_S, Meter
from gpuwarden.controller.power.meter_config import MeterConfig
from gpuwarden.controller.power.meters import BadReading, Meters
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.config import ConfigError, parse

GRPC = MeterConfig("grpc", window_s=2.0, stale_s=30.0)
RACK = LimitConfig("rack", 30e3, nodes=("n[1-4]",), base_w=500.0, meter=GRPC)
ROW = DomainConfig("row", 60e3, (NodeClass("h100", ("n[1-8]",)),), limits=(RACK,), meter=GRPC)
IDLE_W = np.full(8, 1000.0)
RACK_W = 4 * (2300.0 + 1.10 * 1000.0)
ERRORS_W = 4 * (1.155 - 1.10) * 1000.0  # that its sensors may mean beyond it


class Bench:
    """Meters that are asked ten times a second. `gpus_w`: of each node, as its sensors tell."""

    def __init__(self) -> None:
        self.meters = Meters(ROW.topology(), ROW.tree(), ROW.classes)
        self.now_s, self.gpus_w, self.live = 0.0, IDLE_W, np.ones(8, bool)

    @property
    def rack(self) -> Meter:
        return self.meters.by_limit["rack"]

    def run(self, seconds: float, shown_w: float = math.nan) -> None:
        """The rack's meter is read once a second if it shows anything."""
        for _ in range(round(10 * seconds)):
            if shown_w >= 0 and round(10 * self.now_s) % 10 == 0:
                self.meters.read(self.now_s, "rack", shown_w, 0.0)
            self.meters.measure(self.now_s, self.gpus_w, self.live)
            self.now_s = round(self.now_s + 0.1, 1)


def test_what_neither_nodes_nor_base_explain_is_foreign_at_once() -> None:
    bench = Bench()
    bench.run(10.0, RACK_W + 500.0)
    assert bench.rack.foreign_w == 0.0
    bench.meters.read(bench.now_s, "rack", RACK_W + 500.0 + 4e3, 0.0)
    bench.run(0.1)
    assert bench.rack.foreign_w == pytest.approx(4e3)
    carried_w = dict(zip(ROW.tree().limit_names, np.concatenate(bench.meters.carried_w).tolist(), strict=True))
    assert carried_w == pytest.approx({"rack": 4e3, "row": 4e3})


def test_it_is_given_back_slowly() -> None:
    bench = Bench()
    bench.run(10.0, RACK_W + 500.0 + 4e3)
    bench.run(3.0, RACK_W + 500.0)
    before_w = bench.rack.foreign_w
    bench.run(20.0, RACK_W + 500.0)
    assert before_w - bench.rack.foreign_w == pytest.approx(20 * GIVE_BACK_PER_S * RACK.rating_w)
    bench.run(200.0, RACK_W + 500.0)
    assert bench.rack.foreign_w == 0.0


def test_a_meter_that_falls_silent_gives_nothing_back_and_neither_does_the_time_of_its_silence() -> None:
    bench = Bench()
    bench.run(10.0, RACK_W + 500.0 + 4e3)
    bench.run(100.0)
    assert bench.rack.silent(bench.now_s) and bench.rack.foreign_w == pytest.approx(4e3)
    bench.meters.read(bench.now_s, "rack", RACK_W, 0.0)
    bench.run(3.0)
    assert not bench.rack.silent(bench.now_s) and bench.rack.foreign_w == pytest.approx(4e3)


def test_a_rise_of_our_own_that_the_meter_shows_before_the_sensors_do_is_taken_back_with_them() -> None:
    bench = Bench()
    bench.run(10.0, RACK_W + 500.0)
    risen_w = RACK_W + 4 * 1.10 * 3000.0
    bench.meters.read(bench.now_s, "rack", risen_w, 0.0)
    bench.run(0.5)
    assert bench.rack.foreign_w > 10e3, "nobody knows yet that it is ours"
    bench.gpus_w = IDLE_W + 3000.0
    bench.run(3.0)
    assert bench.rack.foreign_w == 0.0


def test_a_fall_of_our_own_that_the_meter_shows_late_is_not_foreign() -> None:
    bench = Bench()
    bench.gpus_w = IDLE_W + 3000.0
    high_w = RACK_W + 4 * 1.10 * 3000.0
    bench.run(10.0, high_w)
    bench.gpus_w = IDLE_W
    bench.run(1.5, high_w)
    assert bench.rack.foreign_w == 0.0


def test_a_meter_that_shows_less_than_the_gpus_alone_draw_loosens_nothing_and_is_told() -> None:
    bench = Bench()
    bench.run(10.0, RACK_W + 500.0 + 4e3)
    bench.run(60.0, 0.0)
    assert bench.rack.foreign_w == pytest.approx(4e3), "it has no say in giving back"
    assert bench.rack.lacks_w == pytest.approx(4 * 0.95 * 1000.0)
    shown_w = dict(zip(ROW.tree().limit_names, np.concatenate(bench.meters.shown_w(bench.now_s)).tolist(), strict=True))
    assert shown_w == {"rack": 0.0, "row": 0.0}


def test_what_a_meter_shows_less_than_sensors_may_mean_is_overstated_and_believed_slowly() -> None:
    bench = Bench()
    bench.run(4.0, RACK_W + 500.0)
    assert 0.0 < bench.rack.overstated_w(bench.now_s) <= 4 * GIVE_BACK_PER_S * RACK.rating_w + 1e-6
    bench.run(40.0, RACK_W + 500.0)
    assert bench.rack.overstated_w(bench.now_s) == pytest.approx(ERRORS_W), "sensors show what the meter does, and might mean more"
    bench.run(60.0, RACK_W + 500.0 - 600.0)
    assert bench.rack.overstated_w(bench.now_s) == pytest.approx(600.0 + ERRORS_W)
    assert bench.meters.overstated_w(bench.now_s)[0].tolist() == [pytest.approx(600.0 + ERRORS_W)]
    bench.run(4.0, RACK_W + 500.0 + ERRORS_W)
    assert bench.rack.overstated_w(bench.now_s) == pytest.approx(0.0, abs=1e-6), "that it is not is believed at once"


def test_a_load_that_swings_is_overstated_by_no_more_than_its_sensors_are() -> None:
    bench = Bench()
    for second in range(120):
        swing_w = 400.0 * (second % 3)
        bench.gpus_w = IDLE_W + swing_w
        bench.run(1.0, RACK_W + 500.0 + 4 * 1.10 * swing_w - 600.0)
    assert bench.rack.overstated_w(bench.now_s) == pytest.approx(600.0 + 4 * 0.055 * 1400.0, rel=0.05), "no peak that the meter has not seen"


def test_a_silent_meter_says_nothing_of_what_is_overstated() -> None:
    bench = Bench()
    bench.run(60.0, RACK_W + 500.0 - 600.0)
    bench.run(GRPC.stale_s + 1.0)
    assert bench.rack.overstated_w(bench.now_s) == 0.0


def test_late_and_repeated_readings_change_nothing() -> None:
    bench = Bench()
    bench.run(10.0, RACK_W + 500.0)
    bench.meters.read(bench.now_s, "rack", RACK_W + 9e3, 5.0)
    bench.meters.read(bench.now_s, "rack", RACK_W + 500.0, 0.0)
    bench.meters.read(bench.now_s, "rack", RACK_W + 9e3, 0.0)
    assert bench.rack.foreign_w == 0.0


def test_a_crowd_of_readings_is_bounded() -> None:
    bench = Bench()
    bench.run(10.0, RACK_W)
    for number in range(100):
        bench.meters.read(bench.now_s + number / 1e3, "rack", RACK_W, 0.0)
    assert len(bench.rack.pending) <= 8


@pytest.mark.parametrize(
    ("limit", "power_w", "age_s", "says"),
    [
        ("rock", 1e3, 0.0, "limit: 'rock' has no meter; there are row, rack"),
        ("rack", -1.0, 0.0, "power_w: is -1 W, should be 0 to 300,000 W"),
        ("rack", math.nan, 0.0, "power_w: is nan W"),
        ("rack", 24e6, 0.0, "power_w: is 2.4e[+]07 W, should be 0 to 300,000 W, 10 times what rack carries"),
        ("rack", 1e3, -1.0, "age_s: is -1 s, should be 0 to 30 s"),
        ("rack", 1e3, math.nan, "age_s: is nan s"),
        ("rack", 1e3, 31.0, "age_s: is 31 s, should be 0 to 30 s, after which it is stale"),
    ],
)
def test_a_reading_that_cannot_be_is_refused_with_field_and_reason(limit: str, power_w: float, age_s: float, says: str) -> None:
    with pytest.raises(BadReading, match=says):
        Bench().meters.read(1.0, limit, power_w, age_s)


def test_until_a_meter_has_told_its_limit_is_awaited_but_not_for_ever() -> None:
    bench = Bench()
    bench.run(1.0)
    assert bench.meters.awaited(bench.now_s, 0.0) == {"rack", "row"}
    bench.run(5.0, RACK_W)
    assert bench.meters.awaited(bench.now_s, 0.0) == {"row"}
    assert bench.meters.awaited(31.0, 0.0) == frozenset()


def test_what_hangs_on_a_limit_whose_meter_is_awaited_is_unknown_above_it_too_unless_a_meter_there_has_told() -> None:
    cooler = LimitConfig("cooler", 20e3, parent="feed", meter=GRPC)
    feed = LimitConfig("feed", 50e3, nodes=("n[1-8]",))
    domain = DomainConfig("row", 60e3, ROW.classes, limits=(feed, cooler), meter=GRPC)
    assert list(domain.problems()) == []
    meters = Meters(domain.topology(), domain.tree(), domain.classes)
    assert meters.awaited(1.0, 0.0) == {"cooler", "feed", "row"}
    for second in range(6):
        meters.measure(float(second), IDLE_W, np.ones(8, bool))
        meters.read(float(second), "row", 30e3, 0.0)
    assert meters.awaited(5.0, 0.0) == {"cooler", "feed"}


def test_a_limit_without_nodes_may_have_a_meter() -> None:
    """A cooler's: what it draws goes through the row."""
    domain = DomainConfig("row", 60e3, ROW.classes, limits=(LimitConfig("cooler", 20e3, base_w=5e3, meter=GRPC),))
    assert list(domain.problems()) == []
    meters = Meters(domain.topology(), domain.tree(), domain.classes)
    meters.measure(0.0, IDLE_W, np.ones(8, bool))
    meters.read(0.5, "cooler", 9e3, 0.0)
    meters.measure(0.6, IDLE_W, np.ones(8, bool))
    assert np.concatenate(meters.carried_w).tolist() == [4e3]


TABLE = {"kind": "redfish", "url": "https://pdu", "resource": "/redfish/v1/x", "user": "u", "password_file": "/p"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"kind": "modbus"}, "kind: is 'modbus', should be grpc, prometheus, redfish"),
        ({"url": ""}, "url: is missing; a meter of kind redfish needs it"),
        ({"series": "x"}, "series: is not for a meter of kind redfish"),
        ({"url": "https://pdu/redfish"}, "url: is 'https://pdu/redfish', should be https://host"),
        ({"url": "http://pdu"}, "should be https: the password would be there"),
        ({"url": "https://u:p@pdu"}, "url: holds a user or password"),
        ({"resource": "/etc/passwd"}, "resource: is '/etc/passwd', should begin with /redfish/"),
        ({"period_s": 0.1}, "period_s: is 0.1, should be 0.5 to 60"),
        ({"stale_s": 3.0}, "stale_s: is 3, should be 4 to 600"),
        ({"scale": 0.0}, "scale: is 0, should be above 0"),
        ({"user": "a:b"}, "user: is 'a:b', should be a name without a colon"),
    ],
)
def test_a_table_that_cannot_be_is_refused_with_its_key(changed: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({**TABLE, **changed}, MeterConfig)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("series", "good"),
    [("power_watts", True), ('p{pdu="a1", phase="1"}', True), ("p{pdu=~\"a\"}", False), ("sum(p)", False), ('p{pdu="a"} 5', False)],
)
def test_series_are_names_with_labels(series: str, good: bool) -> None:
    problems = list(MeterConfig("prometheus", url="http://exporter:9100/metrics", series=series).problems())
    assert (problems == []) == good, problems
