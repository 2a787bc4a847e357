"""What limits stand, against their closed forms."""

import numpy as np
import pytest

from gpuwarden.controller.power.breaker import RECOVERY_S, Breakers, breakers_of
from gpuwarden.controller.power.limit import LimitConfig


def one(kind: str, *trip: tuple[float, float], **more: object) -> tuple[LimitConfig, Breakers]:
    limit = LimitConfig("x", 100e3, kind=kind, trip=trip, **more)  # type: ignore[arg-type]  # a test's keywords
    return limit, breakers_of([limit])


def lasts_s(breakers: Breakers, load_ratio: float) -> float:
    """From cold to the trip at a constant load."""
    return float(breakers.trip_heat[0] / breakers.rate(np.array([load_ratio]))[0])


def test_a_thermal_limit_passes_no_point_of_its_table() -> None:
    points = ((1.1, 200.0), (1.4, 57.0), (2.0, 9.0))
    limit, breakers = one("thermal", *points)
    assert limit.trip_heat == pytest.approx(9.0 * 3.0)
    assert all(lasts_s(breakers, overload) <= seconds + 1e-9 for overload, seconds in points)


def test_a_cold_curve_is_divided_by_five() -> None:
    assert one("thermal", (2.0, 89.0), curve="cold")[0].trip_heat == pytest.approx(89.0 * 3.0 / 5.0)


def test_a_battery_lasts_as_its_table_says_at_the_next_higher_overload() -> None:
    limit, breakers = one("timed", (1.1, 60.0), (1.33, 10.0))
    assert [lasts_s(breakers, ratio) for ratio in (1.01, 1.1, 1.2, 1.33)] == pytest.approx([60.0, 60.0, 10.0, 10.0])
    assert limit.ceiling == 1.33
    assert breakers.rate(np.array([0.5]))[0] == -1.0 / RECOVERY_S


def test_a_contract_counts_energy_beyond_it() -> None:
    _, breakers = one("contract", (1.2, 90.0))
    assert lasts_s(breakers, 1.1) == pytest.approx(180.0)


def test_a_hard_limit_is_its_own_ceiling_and_has_no_heat() -> None:
    limit, breakers = one("hard")
    assert limit.ceiling == 1.0 and breakers.unknown[0] == 0.0


def test_unlike_limits_stand_side_by_side() -> None:
    limits = [LimitConfig("a", 1e5), LimitConfig("b", 1e5, kind="timed", trip=((1.33, 10.0),)), LimitConfig("c", 1e5, kind="contract", trip=((1.2, 90.0),))]
    assert breakers_of(limits).rate(np.full(3, 1.2)).tolist() == pytest.approx([0.44, 0.1, 0.2])


KINDS_TO_BEAR = [
    LimitConfig("a", 1e5), LimitConfig("b", 1e5, kind="timed", trip=((1.1, 60.0), (1.33, 10.0))),
    LimitConfig("c", 1e5, kind="contract", trip=((1.2, 90.0),)), LimitConfig("d", 1e5, kind="hard"),
]


@pytest.mark.parametrize("seconds", [1.0, 8.0, 30.0])
@pytest.mark.parametrize("warmth", [0.0, 0.5, 0.95])
def test_what_a_limit_bears_for_a_time_does_not_trip_it_and_a_little_more_would(seconds: float, warmth: float) -> None:
    breakers = breakers_of(KINDS_TO_BEAR)
    heat = warmth * np.where(np.isfinite(breakers.trip_heat), breakers.trip_heat, 0.0)
    ratio = breakers.bears(heat, seconds)
    assert (breakers.after(heat, ratio, seconds) < breakers.trip_heat).all()
    more = np.minimum(ratio + 0.003, breakers.ceiling_ratio * 1.0001)
    assert ((breakers.after(heat, more, seconds) >= breakers.trip_heat) | (more > breakers.ceiling_ratio)).all()


def test_just_below_its_trip_a_limit_bears_its_rating() -> None:
    breakers = breakers_of(KINDS_TO_BEAR)
    assert breakers.bears(breakers.unknown, 7.5)[0] == pytest.approx(1.0, abs=0.002)
    assert breakers.bears(breakers.unknown, 7.5)[3] == 1.0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "soft"}, "kind: is 'soft'"),
        ({"share": 0.0}, "share: is 0"),
        ({"rating_w": -1.0}, "rating_w: is -1"),
        ({"trip": ((0.9, 10.0),)}, "trip: each point"),
        ({"trip": ((1.2,),)}, "trip: each point"),
        ({"trip": ((2.0, 3.0), (1.5, 9.0))}, "trip: points should rise"),
        ({"trip": ((1.1, 10.0), (1.33, 60.0))}, "trip: points should rise"),
        ({"trip": ((1.33, 60.0), (1.33, 1.0))}, "trip: points should rise"),
        ({"kind": "timed"}, "trip: is missing"),
        ({"kind": "hard", "trip": ((1.2, 9.0),)}, "trip: a hard limit has none"),
        ({"curve": "warm"}, "curve: is 'warm'"),
        ({"dead_nodes": -1}, "dead_nodes: is -1"),
        ({"nodes": ("n[3-1]",)}, "nodes: "),
        ({"base_w": -5.0}, "base_w: at least 0"),
    ],
)
def test_what_cannot_be_is_named(wrong: dict[str, object], says: str) -> None:
    assert any(line.startswith(says) for line in LimitConfig(**{"name": "x", "rating_w": 1e5, **wrong}).problems())  # type: ignore[arg-type]  # a test's keywords
