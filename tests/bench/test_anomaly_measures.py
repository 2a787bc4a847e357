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
    name = "anomaly_measures"
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
    assert caught[0.5].tolist() == [True, False]
    assert caught[1.0].tolist() == [True, True]


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
