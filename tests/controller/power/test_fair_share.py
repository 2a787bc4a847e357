"""Fair share: needs are met while they last, what is scarce is the same for all, and the sum always fits."""

import numpy as np
from fakes.views import seen
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.policies.fair_share import _highest, _needs, wishes
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.level import Watts
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.node_class import NodeClass

NODES = 8
DOMAIN = DomainConfig("row", 60e3, (NodeClass("h100", (f"n[1-{NODES}]",)),))
TREE = DOMAIN.tree()
STEADY = np.zeros(NODES)
readings = st.lists(st.floats(300.0, 5600.0) | st.just(float("nan")), min_size=NODES, max_size=NODES)


def wished(budget_w: float, power_w: Watts, limit_w: Watts, rise_w: Watts = STEADY) -> Watts:
    return wishes(seen(DOMAIN, power_w, ratings_w=np.array([budget_w]), limit_w=limit_w, rise_w=rise_w))


@given(readings, st.floats(45e3, 90e3))
def test_the_worst_draw_of_all_wishes_fits_the_budget(power: list[float], budget_w: float) -> None:
    power_w = np.array(power)
    wish_w = wished(budget_w, power_w, TREE.default_w)
    assert (wish_w >= TREE.floor_w - 1e-6).all() and (wish_w <= TREE.default_w + 1e-6).all()
    assert TREE.total_w(wish_w) <= budget_w * (1 + 1e-9) or np.allclose(wish_w, TREE.floor_w)


RACKS = DomainConfig(
    "row", 60e3, (NodeClass("h100", ("n[1-5]",)), NodeClass("v100", ("n[6-8]",), default_w=300.3, floor_w=150.0)),
    limits=(LimitConfig("rack1", 20e3, nodes=("n[1-4]",)), LimitConfig("rack2", 15e3, nodes=("n[5-8]",), dead_nodes=2)),
)


def one_after_the_other(view: RowView) -> Watts:
    """First what is needed, then what is left over."""
    nodes = view.level.members
    need_w = np.clip(_needs(view), nodes.floor_w, view.most_w)
    level_w = _highest(view, lambda level: np.minimum(need_w, np.maximum(level * nodes.default_w, nodes.floor_w)))
    return _highest(view, lambda extra: np.minimum(level_w + extra * nodes.default_w, view.most_w))


@given(readings, st.lists(st.floats(0.0, 1.0), min_size=NODES, max_size=NODES), st.lists(st.floats(5e3, 60e3), min_size=2, max_size=2))
def test_needs_and_what_is_left_over_found_at_once_are_what_they_are_one_after_the_other(
    power: list[float], left: list[float], ratings_w: list[float]
) -> None:
    racks = RACKS.tree().levels[0]
    floor_w, default_w = racks.members.floor_w, racks.members.default_w
    view = seen(RACKS, power, floor_w + np.array(left) * (default_w - floor_w), level=racks, ratings_w=np.array(ratings_w), limit_w=default_w)
    assert wishes(view).tolist() == one_after_the_other(view).tolist()


def test_an_idle_node_leaves_its_share_to_those_who_are_held_back() -> None:
    power_w = np.where(np.arange(NODES) < 4, 500.0, 3300.0)
    wish_w = wished(50e3, power_w, np.full(NODES, 3300.0))
    assert wish_w[:4].max() < wish_w[4:].min()
    assert np.ptp(wish_w[4:]) < 1.0


def test_where_all_is_plenty_nobody_is_capped() -> None:
    power_w = np.full(NODES, 3000.0)
    assert np.allclose(wished(90e3, power_w, TREE.default_w), TREE.default_w)


def test_a_node_that_has_just_risen_by_a_step_is_taken_to_want_more_than_the_reading_shows() -> None:
    power_w = np.array([1300.0, *[3300.0] * 6, 1000.0])  # the last may be the one that counts as dead
    steady_w, rising_w = (wished(50e3, power_w, power_w / 0.9, rise_w) for rise_w in (STEADY, 340.0 * (np.arange(NODES) == 0)))
    assert rising_w[0] > steady_w[0] + 400.0
    assert (rising_w[1:7] < steady_w[1:7] - 40.0).all()
