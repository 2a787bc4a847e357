"""Three bands: cut above 99 % to 95 %, uncap below 90 %."""

import numpy as np
from fakes.views import row_of, seen

from gpuwarden.controller.policies.dynamo import POLICY, State
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Watts

DOMAIN = row_of(("low", 4, "inference"), ("high", 4, "inference"), rating_w=60e3)
TREE = DOMAIN.tree()


def at(load_ratio: float, spread_w: float = 0.0) -> RowView:
    each_w = (load_ratio * 60e3 / 8 - 2300.0) / 1.155
    return seen(DOMAIN, each_w + spread_w * (np.arange(8) % 4 - 1.5))


def decided(*views: RowView, step_s: float = 5.0) -> tuple[State, Watts]:
    state = POLICY.begin(0.0, views[0])
    for turn, view in enumerate(views):
        state, wished_w = POLICY.wishes(state, turn * step_s, view, (turn,))
    return state, wished_w


def draws_w(view: RowView, wished_w: Watts) -> float:
    return float(view.level.other_w[0] + view.level.draws_w(np.minimum(view.power_w, wished_w)).sum())


def test_below_the_cap_threshold_nobody_is_capped() -> None:
    assert (decided(at(0.98))[1] == TREE.default_w).all()


def test_above_it_the_low_group_is_cut_to_the_target_and_of_it_those_who_draw_most() -> None:
    view = at(1.0, spread_w=700.0)
    wished_w = decided(view)[1]
    assert np.isclose(draws_w(view, wished_w), 0.95 * 60e3, rtol=1e-3)
    assert wished_w[3] < view.power_w[3] and wished_w[0] == 5600.0
    assert (wished_w[4:] == 5600.0).all()


def test_caps_stay_between_the_thresholds_and_all_go_below_the_lowest() -> None:
    capped = decided(at(1.0))[1]
    assert (decided(at(1.0), at(0.92))[1] == capped).all()
    assert (decided(at(1.0), at(0.92), at(0.89))[1] == TREE.default_w).all()


def test_a_cut_is_not_made_twice_while_it_is_under_way() -> None:
    once = decided(at(1.0))[1]
    assert (decided(at(1.0), at(1.0), step_s=0.1)[1] == once).all()
    assert decided(at(1.0), at(1.0), step_s=5.0)[1].sum() <= once.sum()


def test_the_reason_is_in_the_papers_words() -> None:
    state, _ = decided(at(1.0))
    assert POLICY.why(state, 0).startswith("dynamo: at 100% it was above 99%, so draws are cut to 95%")
