"""What a change leads to is said in numbers that are so."""

import math

from gpuwarden.controller.web.consequence import of_budget, of_mode
from gpuwarden.proto.control_pb2 import PowerDomain
from gpuwarden.proto.lease_pb2 import Mode


def row(power_w: float, budget_w: float, counted_w: float = math.nan, mode: "Mode.ValueType" = Mode.MODE_AUTO) -> PowerDomain:
    return PowerDomain(name="row-a", power_w=power_w, budget_w=budget_w, counted_w=counted_w, mode=mode, node_count=8)


def test_a_budget_below_the_draw_caps_at_once() -> None:
    assert of_budget(row(86_300, 80_000, 95_500)) == [
        "row-a draws 86.3 kW now, 108 % of 80.0 kW: 6.3 kW too much.", "Nodes are capped at once, until it fits.",
    ]  # fmt: skip


def test_a_budget_between_the_draw_and_the_worst_case_brings_limits_down() -> None:
    now, limits = of_budget(row(70_000, 80_000, 95_500))
    assert now.endswith("10.0 kW are left.") and "95.5 kW, does not fit" in limits


def test_a_budget_above_the_worst_case_brings_no_limit_down() -> None:
    assert of_budget(row(70_000, 96_000, 95_500))[1].startswith("No limit has to come down")


def test_outside_auto_a_budget_caps_nothing() -> None:
    for mode in (Mode.MODE_OBSERVE, Mode.MODE_NOTIFY):
        assert of_budget(row(86_300, 80_000, 95_500, mode))[1] == "Nothing is capped outside auto."


def test_a_mode_says_what_becomes_of_the_limits() -> None:
    auto = of_mode(row(86_300, 80_000, 95_500))
    assert "sets the limits of the 8 nodes of row-a" in auto[0] and auto[2] == "Nodes are capped at once, until it fits."
    for mode in (Mode.MODE_OBSERVE, Mode.MODE_NOTIFY):
        assert "goes back to its driver's default" in of_mode(row(86_300, 80_000, mode=mode))[0]
