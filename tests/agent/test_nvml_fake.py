"""The fake node behaves as the cards that it stands for: what the limiter relies on must not come from the fake being too kind."""

import statistics
import time
from itertools import pairwise

import pytest
from fakes.nvml.asked import power_w
from fakes.nvml.steer import BRAKE, FakeNode

from gpuwarden.agent.limiter.cards import Cards

GPUS = 8
SETTLED_S = 1.0


def whole_w(power_w: tuple[float, ...]) -> tuple[int, ...]:
    """Without the counter in the milliwatts."""
    return tuple(int(w) for w in power_w)


def test_power_follows_load_and_limit_with_a_lag(node: FakeNode, cards: Cards) -> None:
    node.set_demand(0, 600.0)
    time.sleep(0.05)
    assert 100.0 < node.true_power_w(0) < 450.0
    time.sleep(SETTLED_S)
    assert node.true_power_w(0) == pytest.approx(600.0, rel=0.01)
    cards.set_limits([400.0] * GPUS)
    assert node.true_power_w(0) > 450.0
    time.sleep(SETTLED_S)
    assert node.true_power_w(0) == pytest.approx(400.0, rel=0.01)
    assert node.true_power_w(1) == pytest.approx(70.0, abs=1.0)


@pytest.mark.parametrize(("overshoot_ratio", "most_w"), [(0.0, 300.0), (0.4, 420.0)])
def test_a_load_that_meets_a_limit_goes_above_it_for_a_moment(node: FakeNode, overshoot_ratio: float, most_w: float) -> None:
    node.set("overshoot_ratio", overshoot_ratio)
    node.set("requested_w", 300.0, 0)
    node.set_demand(0, 690.0)
    drawn_w = []
    for _ in range(100):
        drawn_w.append(node.true_power_w(0))
        time.sleep(0.01)
    assert most_w - 120.0 < max(drawn_w) <= most_w
    assert (max(drawn_w) > 305.0) == (overshoot_ratio > 0)
    assert drawn_w[-1] == pytest.approx(300.0, abs=1.0)


def test_each_sensor_has_its_phase_and_its_gain_and_keeps_both(node: FakeNode, cards: Cards) -> None:
    node.set_demands(500.0)
    time.sleep(SETTLED_S)
    gains = [read / node.true_power_w(gpu) for gpu, read in enumerate(power_w(cards))]
    assert all(0.945 <= gain <= 1.055 for gain in gains) and statistics.pstdev(gains) > 0.005
    refreshed: dict[int, list[float]] = {gpu: [] for gpu in range(GPUS)}
    before, start_s = whole_w(power_w(cards)), time.monotonic()
    while (now_s := time.monotonic() - start_s) < 1.0:
        node.set_demands(500.0 + 150.0 * ((now_s * 7) % 1))
        read = whole_w(power_w(cards))
        for gpu in range(GPUS):
            if read[gpu] != before[gpu]:
                refreshed[gpu].append(now_s)
        before = read
    periods = [b - a for times in refreshed.values() for a, b in pairwise(times)]
    assert statistics.median(periods) == pytest.approx(0.1, abs=0.02)
    phases = {round(times[0] % 0.1, 2) for times in refreshed.values()}
    assert len(phases) > 2


def test_a_sensor_shows_the_last_25_ms_and_not_a_longer_past(node: FakeNode, cards: Cards) -> None:
    node.set("tau_s", 0.001)
    node.set("gain_ratio", 0.0, 0)
    node.set_demand(0, 600.0)
    time.sleep(0.14)  # one refresh, at least 25 ms after the step
    assert power_w(cards)[0] == pytest.approx(600.0, abs=5.0)


def test_energy_is_power_times_time_with_the_sensors_gain(node: FakeNode) -> None:
    node.set_demand(0, 500.0)
    time.sleep(SETTLED_S)
    (true_j, told_j), start_s = (node.true_energy_j(0), node.get("energy_j", 0)), time.monotonic()
    time.sleep(1.0)
    passed_s = time.monotonic() - start_s
    assert node.true_energy_j(0) - true_j == pytest.approx(500.0 * passed_s, rel=0.03)
    gain = (node.get("energy_j", 0) - told_j) / (node.true_energy_j(0) - true_j)
    assert gain == pytest.approx(1 + node.get("gain_ratio", 0), rel=0.02)


def test_a_cards_temperature_rises_under_load(node: FakeNode) -> None:
    before_c = node.get("temperature_c", 0)
    node.set_demand(0, 700.0)
    time.sleep(2.0)
    assert node.get("temperature_c", 0) > before_c + 1.0
    assert node.get("temperature_c", 1) == pytest.approx(before_c, abs=0.5)


def test_a_brake_outweighs_limit_and_load(node: FakeNode) -> None:
    node.set_demand(0, 650.0)
    time.sleep(SETTLED_S)
    node.slow_down(0, BRAKE)
    time.sleep(SETTLED_S)
    assert node.true_power_w(0) < 150.0


def test_the_log_of_reads_names_reader_card_kind_and_value(node: FakeNode, cards: Cards) -> None:
    shown = power_w(cards)
    last = node.power_reads()[-GPUS:]
    assert [read.gpu for read in last] == list(range(GPUS))
    assert {read.kind for read in last} == {"instant"} and len({read.pid for read in last}) == 1
    assert [read.value_mw for read in last] == [round(w * 1000) for w in shown]
    assert [read.counter % 1000 for read in last] == [read.value_mw % 1000 for read in last]


def test_a_knob_or_a_card_that_is_not_there_is_an_error(node: FakeNode) -> None:
    with pytest.raises(KeyError):
        node.set("colour", 1.0, 0)
    with pytest.raises(IndexError):
        node.lose(GPUS)
