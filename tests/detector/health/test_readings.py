"""What of a minute can be compared, and what a power limit or idleness makes of it."""

import numpy as np
import pytest

from gpuwarden.detector.health.readings import (
    CARD_READINGS,
    CARDS,
    NODE_READINGS,
    OF_CARDS,
    OF_HOSTS,
    Reader,
    named,
)
from gpuwarden.detector.health.scale import Array

MORE = ("gpu_capped_by_us", "gpu_throttle_power_seconds_total")
USUAL = {
    "gpu_power_watts": 500.0, "gpu_sm_clock_hertz": 1.9e9, "gpu_power_limit_enforced_watts": 700.0, "gpu_utilization_ratio": 0.9, "gpu_temperature_celsius": 64.0,
    "host_bmc_inlet_celsius": 24.0, "host_temperature_max_celsius": 60.0,
}
COLUMNS = (*(f"{name}[{card}]" for name in (*(r.metric for r in OF_CARDS), *MORE) for card in range(CARDS)), *(r.metric for r in OF_HOSTS))


def minute(**other: float) -> Array:
    """One node, all of whose cards are alike."""
    now = USUAL | other
    return np.array([[now.get(column.split("[")[0], 0.0) for column in COLUMNS]])


def of_card(values: Array, metric: str) -> float:
    at = next(at for at, reading in enumerate(OF_CARDS) if reading.metric == metric)
    return float(Reader(COLUMNS).read(values).cards[0, 0, at])


def test_heat_is_what_a_watt_makes_above_the_air() -> None:
    reading = next(r for r in OF_CARDS if r.metric == "gpu_temperature_celsius")
    assert reading.back(of_card(minute(), "gpu_temperature_celsius")) == pytest.approx(41 / 500)
    hotter_air = minute(gpu_temperature_celsius=74.0, host_bmc_inlet_celsius=34.0)
    assert of_card(hotter_air, "gpu_temperature_celsius") == pytest.approx(of_card(minute(), "gpu_temperature_celsius"))


def test_every_form_finds_its_way_back() -> None:
    values = minute(gpu_ecc_corrected_volatile_total=0.05)
    for metric in ("gpu_power_watts", "gpu_sm_clock_hertz", "gpu_utilization_ratio", "gpu_ecc_corrected_volatile_total"):
        reading = next(r for r in OF_CARDS if r.metric == metric)
        assert reading.back(of_card(values, metric)) == pytest.approx({**USUAL, "gpu_ecc_corrected_volatile_total": 0.05}[metric])


def test_what_a_limit_holds_back_says_nothing_of_the_card_and_only_a_limit_that_is_not_ours_is_compared() -> None:
    ours = minute(gpu_capped_by_us=1.0, gpu_power_limit_enforced_watts=455.0)
    strangers = minute(gpu_throttle_power_seconds_total=0.5, gpu_power_limit_enforced_watts=455.0)
    for capped in (ours, strangers):
        assert np.isnan(of_card(capped, "gpu_sm_clock_hertz")) and np.isnan(of_card(capped, "gpu_power_watts"))
        assert np.isfinite(of_card(capped, "gpu_temperature_celsius"))
    assert np.isnan(of_card(ours, "gpu_power_limit_enforced_watts")) and Reader(COLUMNS).read(ours).ours.all()
    assert np.isfinite(of_card(strangers, "gpu_power_limit_enforced_watts")) and not Reader(COLUMNS).read(strangers).ours.any()


def test_an_idle_card_is_compared_by_its_idleness() -> None:
    idle = minute(gpu_utilization_ratio=0.0)
    assert np.isnan(of_card(idle, "gpu_temperature_celsius")) and of_card(idle, "gpu_utilization_ratio") == 0


def test_a_metric_that_is_not_there_is_not_known_and_the_names_are_the_columns() -> None:
    told = Reader(("gpu_power_watts[0]", "gpu_utilization_ratio[0]")).read(np.array([[300.0, 0.9]]))
    assert np.isfinite(told.nodes).sum() == 2
    assert [named(*of) for of in NODE_READINGS if named(*of) not in COLUMNS] == []
    assert len(CARD_READINGS) + len(OF_HOSTS) == told.nodes.shape[1]
