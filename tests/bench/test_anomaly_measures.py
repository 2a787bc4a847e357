"""What bench/anomaly.py measures, on scores whose answer is plain. (The folder bench is no package.)"""

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
from house import ROOT
from numpy.typing import NDArray


@pytest.fixture(scope="module")
def measures() -> ModuleType:
    return _of_bench("anomaly_measures")


@pytest.fixture(scope="module")
def vus() -> ModuleType:
    return _of_bench("anomaly_vus")


def _of_bench(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "bench" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def flags(rows: int, *on: int) -> NDArray[np.bool_]:
    out = np.zeros(rows, bool)
    out[list(on)] = True
    return out


def test_events_are_runs_and_so_are_those_at_the_ends(measures: ModuleType) -> None:
    assert measures.events(flags(8, 0, 1, 4, 7)).tolist() == [[0, 2], [4, 5], [7, 8]]
    assert measures.events(flags(3)).tolist() == []


def test_flags_near_each_other_are_one_alarm_which_counts_again_after_four_hours(measures: ModuleType) -> None:
    assert measures.alarm_spans(flags(60, 10, 19, 40), 1).tolist() == [[10, 20], [40, 41]]
    assert measures.alarm_spans(flags(60, 10, 20), 1).tolist() == [[10, 11], [20, 21]]
    assert measures.alarm_spans(flags(600, *range(500)), 1).tolist() == [[0, 240], [240, 480], [480, 500]]


def test_an_alarm_is_true_within_its_event_and_ten_minutes_after_and_catches_it(measures: ModuleType) -> None:
    label = flags(200, *range(50, 60), *range(120, 130))
    inside, after, late = (measures.alarms(flags(200, at), label, 1) for at in (55, 65, 75))
    assert (inside.false, inside.caught.tolist()) == (0, [True, False])
    assert (after.false, after.caught.tolist()) == (0, [True, False])
    assert (late.false, late.caught.tolist()) == (1, [False, False])
    assert inside.delay_rows[0] == 5 and after.delay_rows[0] == 15 and np.isnan(late.delay_rows).all()


def test_one_flag_does_not_make_a_long_event_right_in_every_row(measures: ModuleType) -> None:
    """No point adjustment: AP is of rows."""
    label = flags(1000, *range(100, 200))
    score = np.where(np.arange(1000) == 150, 1.0, 0.0)
    assert measures.ranking(score, label)[1] < 0.12
    assert measures.ranking(label.astype(float), label) == (1.0, 1.0)


def test_the_swept_threshold_keeps_the_budget(measures: ModuleType) -> None:
    label, score = flags(1440, *range(700, 720), *range(1000, 1010)), np.zeros(1440)
    score[[705, 300, 1005]] = 3.0, 2.0, 1.0
    caught = measures.swept([score], [label], 1, (0.5, 1.0), 1.0)
    assert (caught[0.5].caught.tolist(), caught[0.5].false) == ([True, False], 0)
    assert (caught[1.0].caught.tolist(), caught[1.0].false) == ([True, True], 1)


def test_intervals_hold_what_they_are_of(measures: ModuleType) -> None:
    low, high = measures.poisson_interval(10, 100.0)
    assert (low, high) == (pytest.approx(0.048, abs=1e-3), pytest.approx(0.184, abs=1e-3))
    assert measures.poisson_interval(0, 1.0)[0] == 0
    ours, theirs = np.arange(100) < 60, np.arange(100) < 40
    mean, low, high = measures.bootstrap(ours, theirs, seed=1)
    assert mean == pytest.approx(0.2) and 0.1 < low < 0.2 < high < 0.3


def test_the_cause_is_among_as_many_as_are_labelled(measures: ModuleType) -> None:
    parts = np.array([[0.0, 5, 1, 3], [0, 5, 1, np.nan]])
    assert measures.top_k_share(parts, 0, 1, (1,)) == 1
    assert measures.top_k_share(parts, 0, 1, (0, 1)) == 0.5


def test_vus_pr_is_what_a_pencil_makes_of_it(vus: ModuleType, measures: ModuleType) -> None:
    """The event's row comes second: AP 1/2 with buffers 0 and 1, which reach no other row. Buffer 2 gives each neighbour w = sqrt(1/2): the first row flagged has
    precision w and recall w / (1 + w/2); with the second recall is all, and precision (1 + w) / 2."""
    label, score = flags(4, 2), np.array([0.0, 3, 2, 1])
    w = np.sqrt(0.5)
    first = w / (1 + w / 2)
    wanted = (0.5 + 0.5 + first * w + (1 - first) * (1 + w) / 2) / 3
    assert vus.vus_pr(score, label, measures.events(label), 2) == pytest.approx(wanted)


def test_vus_pr_of_a_score_that_is_right_is_one_and_of_one_that_knows_nothing_is_the_share_of_events(vus: ModuleType, measures: ModuleType) -> None:
    label = flags(5000, *range(1000, 1100), *range(3000, 3150))
    assert vus.vus_pr(label.astype(float), label, measures.events(label), 0) == pytest.approx(1)
    chance = vus.vus_pr(np.random.default_rng(1).random(5000), label, measures.events(label), 20)
    assert 0.04 < chance < 0.08


def test_an_event_that_is_never_flagged_costs_existence(vus: ModuleType, measures: ModuleType) -> None:
    """Two events of one row: the first is flagged at once, the other with the very last rows."""
    label, score = flags(100, 20, 80), np.arange(100.0)[::-1].copy()
    score[20], score[80] = 200.0, -1.0
    assert vus.vus_pr(score, label, measures.events(label), 0) == pytest.approx(0.5 * 0.5 + 0.75 * 0.02)


def test_the_interval_of_ap_holds_the_difference_and_weights_are_as_scikit_learn_has_them(measures: ModuleType) -> None:
    chance, label = np.random.default_rng(1), flags(2000, *range(100, 140), *range(600, 640), *range(1500, 1540))
    good, bad = (chance.random(2000) + lift * label for lift in (0.6, 0.2))
    weight = np.where(label, 3.0, 1.0)
    rough = np.round(good, 1)  # with ties
    assert measures._Weighed(rough, label).average_precision(weight) == pytest.approx(measures.average_precision_score(label, rough, sample_weight=weight))
    mean, low, high = measures.ap_bootstrap([good], [bad], [label], seed=1, draws=200)
    assert 0 < low < mean < high
    assert measures.ap_bootstrap([good], [good], [label], seed=1, draws=20) == (0, 0, 0)
