"""What a meter teaches of the sensors under its limit: gains that were put there are found again, and nothing is claimed that the readings do not tell."""

import numpy as np
import pytest

from gpuwarden.controller.power.calibration import GAIN_SD, Calibration, Gain
from gpuwarden.controller.power.calibrations import Calibrations
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.meter_config import MeterConfig
from gpuwarden.controller.power.meters import Meters
from gpuwarden.controller.power.node_class import NodeClass

SLOPE, BASE_W, RATING_W = 1.10, 2300.0, 40e3
TRUE_GAINS = np.array([0.95, 1.0, 1.02, 1.05])


class Rack:
    """Four nodes whose loads change, each by its own; sensors that are off by TRUE_GAINS; a meter with one per mille of noise."""

    def __init__(self, alike: bool = False, base_w: float = BASE_W) -> None:
        self.calibration = Calibration(np.arange(4), np.full(4, SLOPE), np.arange(4), list("abcd"), 4 * BASE_W, RATING_W)
        self._chance, self._alike, self._base_w, self._now_s = np.random.default_rng(3), alike, base_w, 0.0

    def learn(self, readings: int, foreign_w: float = 0.0) -> None:
        for _ in range(readings):
            loads = np.full(4, self._chance.uniform()) if self._alike else self._chance.uniform(size=4)
            true_w = 600.0 + 4800.0 * loads
            metered_w = (4 * self._base_w + SLOPE * true_w.sum() + foreign_w) * (1.0 + self._chance.normal(0.0, 1e-3))
            self._now_s += 2.0
            self.calibration.learn(self._now_s, float(metered_w), true_w / TRUE_GAINS)

    @property
    def means(self) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return np.array([gain.mean for gain in self.calibration.gains])


def test_gains_that_were_put_there_are_found_again() -> None:
    rack = Rack(base_w=2000.0)
    rack.learn(300)
    assert rack.means == pytest.approx(TRUE_GAINS, abs=0.005)
    assert rack.calibration.rest_w == pytest.approx(4 * 2000.0, rel=0.02)
    assert all(gain.known for gain in rack.calibration.gains)


def test_before_any_reading_nothing_is_known() -> None:
    for gain in Rack().calibration.gains:
        assert (gain.mean, gain.sd, gain.known, gain.counts) == (1.0, pytest.approx(GAIN_SD), False, 1.0)


def test_of_nodes_that_always_run_alike_only_their_sum_is_known() -> None:
    rack = Rack(alike=True)
    rack.learn(300)
    assert not any(gain.known for gain in rack.calibration.gains)
    assert rack.means.mean() == pytest.approx(TRUE_GAINS.mean(), abs=0.01)


def test_somebody_who_begins_to_draw_is_no_gain() -> None:
    rack = Rack()
    rack.learn(300)
    rack.learn(100, foreign_w=6e3)
    assert rack.means == pytest.approx(TRUE_GAINS, abs=0.01)
    assert rack.calibration.rest_w == pytest.approx(4 * BASE_W + 6e3, rel=0.03)


@pytest.mark.parametrize(
    ("mean", "sd", "counts"), [(1.06, 0.005, 1.07), (1.06, 0.05, 1.0), (0.94, 0.001, 1.0), (1.0, 0.001, 1.0), (1.001, 0.001, 1.0)]
)
def test_only_what_surely_reads_low_counts_higher(mean: float, sd: float, counts: float) -> None:
    assert Gain("n", mean, sd).counts == pytest.approx(counts)


def test_of_many_nodes_a_class_has_one_gain() -> None:
    classes = (NodeClass("h100", ("n[1-20]",)), NodeClass("h200", ("m[1-4]",)))
    row = LimitConfig("row", 400e3)
    made = Calibrations([row], {"row": np.ones(24)}, {"row": 0.0}, classes)
    assert [gain.of for gain in made.by_limit["row"].gains] == ["h100", "h200"]
    assert not made.learn("row", 1.0, 100e3, [np.full(24, np.nan)]), "somebody is not in contact"
    made.learn("row", 1.0, 100e3, [np.full(24, 2000.0)])
    assert made.counts(24).tolist() == [1.0] * 24


def domain(gain_error: float) -> DomainConfig:
    made = NodeClass("h100", ("n[1-4]",), gain_error=gain_error)
    return DomainConfig("row", RATING_W, (made,), meter=MeterConfig("grpc", window_s=0.0))


def metered(gain_error: float, sensors_show: float) -> Meters:
    """After some minutes in which all sensors of a row show so much of what is drawn. Loads change every ten seconds."""
    row = domain(gain_error)
    meters, chance = Meters(row.topology(), row.tree(), row.classes), np.random.default_rng(1)
    for second in range(900):
        if second % 10 == 0:
            true_w = chance.uniform(600.0, 5400.0, 4)
        meters.measure(float(second), true_w * sensors_show, np.ones(4, bool))
        meters.read(float(second), "row", float(4 * BASE_W + SLOPE * true_w.sum()), 0.0)
    return meters


def test_sensors_that_read_lower_than_the_class_allows_count_higher_at_once() -> None:
    gain = metered(0.02, 0.95).gain
    assert (gain > SLOPE / 0.95).all() and (gain < SLOPE / 0.95 * 1.03).all()
    row = domain(0.02)
    drawing = row.tree().drawing(gain)
    assert drawing.total_w(drawing.default_w) > row.tree().total_w(row.tree().default_w)
    assert drawing.root.members.gain == pytest.approx(gain)


@pytest.mark.parametrize(("gain_error", "sensors_show"), [(0.05, 1.05), (0.05, 1.0), (0.08, 0.95)])
def test_what_the_class_allows_for_changes_no_sum(gain_error: float, sensors_show: float) -> None:
    assert metered(gain_error, sensors_show).gain.tolist() == pytest.approx([SLOPE * (1 + gain_error)] * 4)
