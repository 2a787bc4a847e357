"""What an operator may write of a power domain, and what is refused with the sum shown."""

import pytest

from gpuwarden.controller.power.domain import DomainConfig, budget_problem
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.config import ConfigError, parse

H100 = NodeClass("h100", ("n[1-64]",))


def test_floors_that_do_not_fit_the_breaker_are_refused_and_the_sum_is_shown() -> None:
    with pytest.raises(ConfigError, match=r"budget_w: is 200,000 W, below the floors: 64 x .* = 274,712 W"):
        parse({"name": "row", "rating_w": 200000, "classes": [{"name": "h", "nodes": ["n[1-64]"]}]}, DomainConfig)


def test_the_floors_count_the_dead_at_the_drivers_default() -> None:
    alone = DomainConfig("row", 1e6, (H100,), dead_nodes=0)
    assert alone.floors_w() == pytest.approx(64 * (2300 + 1.1 * 1.05 * 8 * 200))
    two_dead = DomainConfig("row", 1e6, (H100,), dead_nodes=2)
    assert two_dead.floors_w() - alone.floors_w() == pytest.approx(2 * 1.1 * 1.05 * 8 * 500)


def test_a_budget_above_the_rating_is_refused() -> None:
    assert "above the rating" in (budget_problem(DomainConfig("row", 420e3, (H100,)), 420001.0) or "")


@pytest.mark.parametrize("budget_w", [-1.0, 0.0, float("nan"), float("inf")])
def test_a_budget_that_is_no_power_is_refused(budget_w: float) -> None:
    assert "above 0" in (budget_problem(DomainConfig("row", 420e3, (H100,)), budget_w) or "")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("mode", "aut", "mode: is 'aut', should be observe, notify or auto"),
        ("polcy", "x", "polcy: unknown key; did you mean policy?"),
        ("classes", [], "classes: hold no node"),
        ("classes", [{"name": "h", "nodes": ["n1"], "supply_w": 8000.0}], "classes.0..supply_w: is 8,000 W, below the 8,768 W"),
        ("rating_w", -3, "rating_w: is -3, should be above 0"),
        ("ceiling_ratio", 0.5, "ceiling_ratio: at least 1"),
        ("dead_nodes", -1, "dead_nodes: is -1, should be at least 0"),
    ],
)
def test_each_wrong_key_is_named(key: str, value: object, says: str) -> None:
    good = {"name": "row", "rating_w": 1e6, "classes": [{"name": "h", "nodes": ["n[1-4]"]}]}
    with pytest.raises(ConfigError, match=f".*{says.replace('?', '.')}"):
        parse({**good, key: value}, DomainConfig)
