"""What bench/health_injected.py puts into healthy rows, and that it is found where it is large. (The folder bench is no package.)"""

import importlib
from types import ModuleType

import numpy as np
import pytest
from house import ROOT


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "bench")
    return importlib.import_module("health_injected")


def test_a_fault_of_no_strength_changes_nothing_and_a_strong_one_is_what_its_name_says(bench: ModuleType) -> None:
    rows, other = np.random.default_rng(1).normal(5, 2, (2, 4000))
    for fault in bench.FAULTS.values():
        np.testing.assert_allclose(fault(rows, 2.0, 0.0, other), rows)
    assert bench.level(rows, 2.0, 3.0, other).mean() == pytest.approx(rows.mean() + 6)
    assert bench.drift(rows, 2.0, 3.0, other)[-1] == pytest.approx(rows[-1] + 6)
    assert bench.frozen(rows, 2.0, 1e6, other).std() < 1e-4
    assert bench.variance(rows, 2.0, 3.0, other).std() == pytest.approx(4 * rows.std())
    strange = bench.correlation(rows, 2.0, 1e3, other)
    assert strange.std() == pytest.approx(rows.std(), rel=0.05) and abs(np.corrcoef(strange, rows)[0, 1]) < 0.1


def test_what_is_injected_is_found_where_it_is_large_and_only_in_its_rows(bench: ModuleType) -> None:
    """An entity of four metrics that follow one load, so that nothing is diluted."""
    chance, days, step_min = np.random.default_rng(2), 15, 5
    load = np.sin(np.arange(days * 288) / 40)[:, None]
    entity = bench.Entity("made", load * np.array([1.0, 2, 3, 4]) + chance.normal(0, 0.1, (days * 288, 4)), np.zeros((0, 4)), np.zeros(0, bool), ())
    trials = bench.of_entity(entity, step_min, *bench.METHODS["gpuwarden"], seeds=2)
    share = (trials.found / trials.tried)[:, [0, -1]]
    names = list(bench.FAULTS)
    assert trials.node_days == 6
    assert (share[:, 0] <= 0.25).all(), share
    assert (share[[names.index("level"), names.index("drift"), names.index("variance")], -1] == 1).all(), share
    assert (trials.f() >= 0).all() and (trials.f() <= 1).all()
