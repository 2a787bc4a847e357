"""The table of what a limit costs, against the measurements that it is said to come from."""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from gpuwarden.detector.cap_cost import A40, H200, LOWEST, V100, lost

Curve = tuple[tuple[float, float, float], ...]


def measured(file: Path, default_w: int) -> dict[int, tuple[float, float]]:
    """Limit in W to the least and the most of the data sets' medians of how much longer an epoch took."""
    times: defaultdict[tuple[str, ...], dict[int, float]] = defaultdict(dict)
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            run = (row["dataset"], row["network"], row["batch_size"], row["optimizer"])
            times[run][int(row["power_limit"])] = float(row["time_per_epoch"])
    longer: defaultdict[int, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (dataset, *_), by_limit in times.items():
        for limit_w, time_s in by_limit.items():
            if default_w in by_limit and not dataset.startswith("movielens"):
                longer[limit_w][dataset].append(time_s / by_limit[default_w] - 1)
    medians = {limit_w: [median(found) for found in of.values()] for limit_w, of in longer.items()}
    return {limit_w: (min(found), max(found)) for limit_w, found in medians.items()}


@pytest.mark.parametrize(("file", "default_w", "curve"), [("zeus_power_limit_v100.csv", 250, V100), ("zeus_power_limit_a40.csv", 300, A40)])
def test_the_curves_are_what_zeus_measured(data_dir: Path, file: str, default_w: int, curve: Curve) -> None:
    found = measured(data_dir / "power" / file, default_w)
    assert {round(ratio * default_w): (least, most) for ratio, least, most in curve} == {
        limit_w: (pytest.approx(least, abs=5e-4), pytest.approx(most, abs=5e-4)) for limit_w, (least, most) in found.items()
    }


@pytest.mark.parametrize("curve", [V100, A40, H200])
def test_at_a_measured_limit_every_measurement_is_within_the_range(curve: Curve) -> None:
    for ratio, least, most in curve:
        found = lost(np.array([ratio]))
        assert found.least[0] <= 1 - 1 / (1 + least) <= 1 - 1 / (1 + most) <= found.most[0]


def test_a_lower_limit_never_costs_less_at_the_most_and_none_costs_nothing() -> None:
    ratios = np.linspace(0.2, 1.2, 101)
    found = lost(ratios)
    assert (np.diff(found.most) <= 0).all() and (found.least <= found.most).all() and (found.most < 1).all()
    assert (found.most[ratios >= 1] == 0).all()
    assert (found.most[ratios < LOWEST] == found.most[0]).all()
