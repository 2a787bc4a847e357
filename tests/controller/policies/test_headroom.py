"""Thresholds from what was seen; the lowest priority gives first; power comes back in small random steps, later each time it was taken."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from fakes.views import row_of, seen
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.controller.policies.dim import HOLD_S, LOWEST, LOWEST_LAST
from gpuwarden.controller.policies.headroom import HYSTERESIS, LIMITED, POLICY, State
from gpuwarden.controller.policies.restore import CAP_STEP, STEP_RATIO
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.level import Watts

RATING_W = 130e3
DOMAIN = row_of(("low", 10, "inference"), ("high", 10, "inference"), rating_w=RATING_W)
LOW = np.arange(20) < 10


@dataclass
class Row:
    """Nodes that want something and draw no more than they are wished, as soon as that is wished."""

    domain: DomainConfig
    wanted_w: Callable[[float], Watts]
    lag_s: float = 0.3
    obeyed: bool = True
    bears: float = 1.4
    lockable: bool = False
    least_w: Watts | None = None
    state: State | None = None
    now_s: float = 0.0
    turn: int = 0
    wished_w: list[Watts] = field(default_factory=list)
    clocks: list[Watts] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)

    def run(self, seconds: float, step_s: float = 0.1) -> "Row":
        for _ in range(round(seconds / step_s)):
            wanted_w = self.wanted_w(self.now_s)
            late = round(self.lag_s / step_s)
            obeys = self.obeyed and len(self.wished_w) >= late
            obeyed_w, clocks = (self.wished_w[-late], self.clocks[-late]) if obeys else (np.inf, 1.0)
            view = seen(
                self.domain, np.minimum(wanted_w * clocks, obeyed_w), obeyed=self.obeyed, bears_w=np.array([self.bears * self.domain.rating_w]),
                lockable=np.full(len(wanted_w), self.lockable), **({} if self.least_w is None else {"least_w": self.least_w}),
            )
            if self.state is None:
                self.state = POLICY.begin(self.now_s, view)
            self.turn += 1
            self.state, wished_w = POLICY.wishes(self.state, self.now_s, view, (1, self.turn))
            self.wished_w.append(wished_w)
            clocks_now = POLICY.locks(self.state)
            assert clocks_now is not None
            self.clocks.append(clocks_now if self.lockable else np.ones(len(wanted_w)))
            self.loads.append(float(view.load_w[0] / self.domain.rating_w))
            self.now_s += step_s
        return self

    @property
    def changes(self) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        """How often the wish for each node has changed."""
        wished_w = np.array(self.wished_w)
        changes: np.ndarray[tuple[int], np.dtype[np.intp]] = (np.diff(wished_w, axis=0) != 0).sum(axis=0)
        return changes


def each_w(load: float, nodes: int = 20, rating_w: float = RATING_W) -> Watts:
    return np.full(nodes, (load * rating_w / nodes - 2300.0) / 1.155)


def steady(load: float, **more: float) -> Row:
    return Row(DOMAIN, lambda now_s: each_w(load), **more)  # type: ignore[arg-type]  # a test's keywords


def thresholds(row: Row) -> tuple[float, float]:
    assert row.state is not None
    return float(row.state.t1[0]), float(row.state.t2[0])


def test_a_new_row_begins_with_the_papers_rise() -> None:
    t1, t2 = thresholds(steady(0.6, bears=1.0).run(60.0))
    assert t2 == pytest.approx(1.0 - 0.12 - 0.01)
    assert t1 == pytest.approx(t2 - HYSTERESIS), "nothing has risen yet"


def test_what_a_cold_breaker_bears_makes_room_for_rises_but_nothing_stands_at_the_rating() -> None:
    assert thresholds(steady(0.6, bears=1.05).run(1.0))[1] == pytest.approx(1.05 - 0.12 - 0.01)
    assert thresholds(steady(0.6, bears=1.4).run(1.0))[1] == pytest.approx(0.985)


def test_a_row_that_was_seen_to_jump_keeps_room_for_it() -> None:
    row = Row(DOMAIN, lambda now_s: each_w(0.45 + 0.16 * (now_s % 20.0 < 5.0)), bears=1.1).run(60.0)
    assert thresholds(row)[1] == pytest.approx(1.1 - 0.16 - 0.01, abs=0.006)


def test_below_the_lower_threshold_all_get_the_most_though_that_adds_up_to_more_than_the_rating() -> None:
    row = steady(0.8).run(30.0)
    assert (row.wished_w[-1] == 5600.0).all()
    assert DOMAIN.tree().total_w(row.wished_w[-1]) > 1.3 * RATING_W


def test_above_the_lower_threshold_the_low_priority_gives_and_the_high_one_nothing() -> None:
    row = steady(0.975).run(10.0)
    t1, t2 = thresholds(row)
    assert t1 < 0.975 < t2
    assert row.wished_w[-1][LOW].max() < each_w(0.975)[0] and (row.wished_w[-1][~LOW] == 5600.0).all()
    assert row.loads[-1] < t1


def test_above_the_upper_threshold_the_high_priority_gives_once_the_low_one_is_at_its_floor() -> None:
    row = steady(1.35).run(10.0)
    assert (row.wished_w[-1][LOW] == 1600.0).all()
    assert (row.wished_w[-1][~LOW] < 5600.0).all()
    assert row.loads[-1] < thresholds(row)[1]


def test_power_comes_back_in_small_steps_after_a_hold_and_then_is_all_back() -> None:
    row = Row(DOMAIN, lambda now_s: each_w(1.05 if now_s < 10.0 else 0.55)).run(39.0)
    capped = row.wished_w[-1].copy()
    assert (capped < 5600.0).any(), "no step within the hold"
    row.run(1200.0, step_s=0.5)
    back = np.diff(np.array(row.wished_w[390:]), axis=0)
    assert (back >= 0).all()
    assert back.max() <= CAP_STEP * 5600.0 + 1e-6
    assert (1.155 * back.sum(axis=1)).max() <= max(STEP_RATIO * RATING_W, 1.155 * CAP_STEP * 5600.0) + 1e-6
    assert (row.wished_w[-1] == 5600.0).all()


def test_the_same_chance_gives_the_same_steps_and_another_one_others() -> None:
    def run() -> Row:
        return Row(DOMAIN, lambda now_s: each_w(1.05 if now_s < 10.0 else 0.55))

    one, same, other = run().run(60.0), run().run(60.0), run()
    other.turn = 1000
    other.run(60.0)
    assert np.array_equal(one.wished_w, same.wished_w)
    assert not np.array_equal(one.wished_w, other.wished_w)


def test_a_load_that_swings_around_the_threshold_changes_caps_a_bounded_number_of_times() -> None:
    row = Row(DOMAIN, lambda now_s: each_w(0.93 + 0.1 * np.sin(now_s / 30.0)), lag_s=0.5)
    row.run(1200.0, step_s=0.5)
    first = row.changes.max()
    row.run(1200.0, step_s=0.5)
    assert 0 < first < 60
    assert row.changes.max() - first < 20, "it is given back ever later; twice as many if always after the same hold"


def test_a_load_that_swings_around_the_threshold_changes_locks_a_bounded_number_of_times() -> None:
    row = Row(DOMAIN, lambda now_s: each_w(0.97 + 0.03 * np.sin(now_s / 3.0)), lockable=True).run(1800.0, step_s=0.5)
    changes = (np.diff(np.array(row.clocks), axis=0) != 0).sum(axis=0)
    assert 0 < changes[LOW].max() <= 3 * 1800.0 / HOLD_S, "each hold begins with a dimming, of as many steps as a rise has, and ends with a step back"


def test_a_lock_is_gone_within_a_minute_of_the_peak_that_it_answered() -> None:
    row = Row(DOMAIN, lambda now_s: each_w(0.98 if 5.0 <= now_s < 6.0 else 0.85), lockable=True).run(7.0)
    assert row.clocks[-1][LOW].min() < 1.0
    assert (row.run(60.0).clocks[-1] == 1.0).all()


def test_a_node_that_says_nothing_is_neither_asked_nor_taken_for_a_rise() -> None:
    def wanted_w(now_s: float) -> Watts:
        return np.where((np.arange(20) == 0) & (now_s > 10.0), np.nan, each_w(0.6))

    row = Row(DOMAIN, wanted_w, bears=1.05).run(20.0)
    assert thresholds(row)[1] == pytest.approx(0.92)


def test_training_counts_at_its_limits_since_its_peaks_come_together() -> None:
    apart = Row(row_of(("low", 10, "inference"), ("high", 10, "inference"), rating_w=RATING_W), lambda now_s: each_w(0.6)).run(5.0)
    together = Row(row_of(("low", 10, "training"), ("high", 10, "inference"), rating_w=RATING_W), lambda now_s: each_w(0.6)).run(5.0)
    assert (apart.wished_w[-1] == 5600.0).all()
    trained = together.wished_w[-1][LOW]
    assert trained.max() < 5600.0 and np.ptp(trained) == 0.0, "all its nodes alike"
    assert together.state is not None
    assert float(together.state.load[0]) > 0.75 > together.loads[-1]


def test_wishes_fit_what_a_warm_breaker_stands_and_the_low_priority_makes_the_room() -> None:
    view = seen(DOMAIN, each_w(0.6), bears_w=np.array([RATING_W]))
    _, wished_w = POLICY.wishes(POLICY.begin(0.0, view), 0.0, view, (1,))
    assert DOMAIN.tree().total_w(wished_w) <= RATING_W
    assert wished_w[LOW].max() < wished_w[~LOW].min()


@settings(max_examples=50)
@given(st.lists(st.floats(300.0, 5600.0) | st.just(float("nan")), min_size=20, max_size=20), st.floats(0.7, 1.6), st.integers(0, 99))
def test_whatever_is_drawn_wishes_are_between_floors_and_the_most_and_fit(power: list[float], bears: float, chance: int) -> None:
    most_w = np.where(LOW, 5600.0, 4000.0)
    view = seen(DOMAIN, power, most_w, bears_w=np.array([bears * RATING_W]))
    state = POLICY.begin(0.0, view)
    for turn in range(3):
        state, wished_w = POLICY.wishes(state, turn * 40.0, view, (chance, turn))
        assert (wished_w <= most_w).all() and (wished_w >= 1600.0).all()
        assert view.level.totals_w(wished_w)[0] <= bears * RATING_W * 1.001 or np.allclose(wished_w, 1600.0)


def test_what_nobody_obeys_is_decided_as_if_it_were_obeyed() -> None:
    live, shadow = steady(1.0).run(20.0), steady(1.0, obeyed=False).run(20.0)
    assert np.array_equal(live.wished_w[-1], shadow.wished_w[-1])
    assert shadow.wished_w[-1][LOW].min() > 1600.0, "not down to the floor because the load does not fall"


def test_the_reason_names_the_threshold_who_gives_and_what_was_learnt() -> None:
    row = steady(0.975).run(3.0)
    assert row.state is not None
    assert POLICY.why(row.state, 0) == (
        "headroom: at 97.5%, above 96.5%, the lower priorities give, and get it back in small steps; "
        "load was seen to rise by 12.0% within the 2.0 s that a cut takes"
    )


def test_who_is_capped_is_locked_to_what_peaks_there_and_nobody_else() -> None:
    larger = row_of(("low", 10, "inference"), ("high", 10, "inference"), rating_w=170e3)
    row = Row(larger, lambda now_s: each_w(0.975, rating_w=170e3)).run(3.0)
    assert row.state is not None
    clocks = POLICY.locks(row.state)
    assert clocks is not None and (clocks[~LOW] == 1.0).all()
    assert np.allclose(clocks[LOW] ** 2.4, row.wished_w[-1][LOW] / 5600.0)


def test_nobody_is_locked_lower_than_the_papers_low_priority() -> None:
    row = steady(1.25).run(3.0)
    assert row.state is not None
    clocks = POLICY.locks(row.state)
    assert clocks is not None and (clocks[LOW] == 0.787).all()


def test_where_clocks_can_be_locked_the_low_priority_is_dimmed_and_nobodys_power_limited() -> None:
    row = steady(0.975, lockable=True).run(10.0)
    assert np.unique(row.clocks[-1][LOW]).tolist() == [LOWEST, 1.0], "some of it wholly, who else is not"
    assert (row.clocks[-1][~LOW] == 1.0).all()
    assert (row.wished_w[-1] == 5600.0).all()
    assert row.loads[-1] < thresholds(row)[0]


def test_what_a_job_keeps_is_neither_limited_nor_locked_below_and_the_others_give_it() -> None:
    least_w = np.where(np.arange(20) < 2, 5000.0, 1600.0)
    row = steady(1.15, lockable=True, least_w=least_w).run(30.0)
    without = steady(1.15, lockable=True).run(30.0)
    assert row.wished_w[-1][:2].min() >= 5000.0 > without.wished_w[-1][:2].max()
    assert row.clocks[-1][:2].min() ** 2.4 >= 5000.0 / 5600.0 - 1e-9 > without.clocks[-1][:2].max() ** 2.4
    assert row.wished_w[-1][2:10].mean() < without.wished_w[-1][2:10].mean()
    assert row.loads[-1] < LIMITED


def test_when_a_little_more_is_to_be_given_a_few_more_are_locked() -> None:
    less, more = steady(0.97, lockable=True).run(10.0), steady(0.984, lockable=True).run(10.0)
    assert 0 < (less.clocks[-1] < 1.0).sum() < (more.clocks[-1] < 1.0).sum() < 10


def test_above_the_upper_threshold_the_high_priority_is_dimmed_less_and_limits_hold_what_locks_cannot() -> None:
    row = steady(1.25, lockable=True).run(20.0)
    assert (row.clocks[-1][LOW] == LOWEST).all() and (row.clocks[-1][~LOW] >= LOWEST_LAST).all()
    assert row.wished_w[-1][LOW].max() < 5600.0
    assert row.loads[-1] < LIMITED


def test_a_peak_above_the_rating_that_is_over_at_once_limits_nobody() -> None:
    row = Row(DOMAIN, lambda now_s: each_w(1.04 if 5.0 <= now_s < 6.0 else 0.9), lockable=True).run(12.0)
    assert all((wished_w == 5600.0).all() for wished_w in row.wished_w) and (row.clocks[-1][LOW] < 1.0).all()


def test_limits_come_back_before_clocks_and_in_the_end_all_is_back() -> None:
    row = Row(DOMAIN, lambda now_s: each_w(1.25 if now_s < 10.0 else 0.6), lockable=True).run(30.0)
    capped, dimmed = row.wished_w[-1].min() < 5600.0, row.clocks[-1].min() < 1.0
    assert capped and dimmed
    row.run(1500.0, step_s=0.5)
    limited = np.array([wished_w.min() < 5600.0 for wished_w in row.wished_w[400:]])
    rising = np.diff(np.array([clocks.min() for clocks in row.clocks[400:]])) > 0
    assert not (rising & limited[1:]).any() and rising.any()
    assert (row.wished_w[-1] == 5600.0).all() and (row.clocks[-1] == 1.0).all()


def test_what_nobody_obeys_is_dimmed_as_if_it_were_obeyed() -> None:
    live, shadow = steady(0.98, lockable=True).run(20.0), steady(0.98, lockable=True, obeyed=False).run(20.0)
    assert shadow.clocks[-1][LOW].mean() == pytest.approx(live.clocks[-1][LOW].mean(), abs=0.03)
