"""The experiment of Borghesi et al. (IAAI 2019) on simulated nodes: clocks and governors that somebody has set wrongly for a part of the time.

    python bench/health_paper.py [--seed 1] [--json FILE]

Fifteen nodes run jobs of two, four and eight for six days; the first four are healthy and taught. In the last two, each of twelve nodes has one of three
misconfigurations, none of which was ever there before, for twelve hours: all cards' clocks locked to three quarters, governor powersave, governor
performance, four nodes each and not all at once. `borghesi` is the paper's network on means of five minutes, one a node, and its threshold the paper's: a percentile of the
errors in training, 95, 97 or 99, or the best of them for each node, searched with the labels. Ours has the threshold that its budget sets, without labels.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from health_room import Watch
from numpy.typing import NDArray

from gpuwarden.detector.health.borghesi import borghesi
from gpuwarden.detector.health.scale import Array
from gpuwarden.sim.health.ward import Bout, Room

DAY: Final = 1440
TAUGHT: Final = 4 * DAY
DAYS: Final = 6
LASTS: Final = 720
APART: Final = 180  # from the start of one node's to the next one's
WHATS: Final = ("low_clocks", "powersave", "performance")
ILL: Final = 12
STRENGTH: Final = 0.5  # of low_clocks: locked to three quarters
PERCENTILES: Final = (95.0, 97.0, 99.0)
BUDGET: Final = 0.1  # findings a node and day
MEAN: Final = 5  # minutes
PAPER: Final = "the paper: accuracy 0.88 to 0.96; F of the anomaly, means at the 95th, 97th and 99th percentile, 0.87, 0.91 and 0.89, its nodes 0.75 to 0.98"
Flags = NDArray[np.bool_]
Figures = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    bouts = [Bout(WHATS[at % 3], at, TAUGHT + at * APART, TAUGHT + at * APART + LASTS, STRENGTH) for at in range(ILL)]
    values, said, ill = _lived(Room((2, 4, 8), args.seed, spares=1), bouts)
    rows = {"gpuwarden": [_figures(said[bout.at], ill[bout.at]) for bout in bouts]} | _paper(values, ill, [bout.at for bout in bouts], args.seed)
    print(PAPER)
    for name, nodes in rows.items():
        _show(name, nodes, bouts)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _lived(room: Room, bouts: Sequence[Bout]) -> tuple[Array, Flags, Flags]:
    """(means of five minutes, what we said in them, what was ill), (nodes, rows, ...); the last two of the days after those taught."""
    watch, said, ill = Watch(room), list[Flags](), list[Flags]()
    for _ in range(DAYS * DAY):
        minute, seen = watch.minute(bouts)
        said.append(np.nan_to_num(seen.rate, nan=np.inf) < BUDGET)
        ill.append(minute.ill)
    values = watch.watched().values
    means = values.reshape(len(values), -1, MEAN, values.shape[2]).mean(2, dtype=np.float64)
    flags, truth = (np.stack(one, 1).reshape(len(values), -1, MEAN).any(2)[:, TAUGHT // MEAN :] for one in (said, ill))
    return means, flags, truth


def _paper(values: Array, ill: Flags, nodes: Sequence[int], seed: int) -> Mapping[str, list[Figures]]:
    taught = TAUGHT // MEAN
    rows: dict[str, list[Figures]] = {f"borghesi {percentile:g}th": [] for percentile in PERCENTILES} | {"borghesi best": []}
    for node in nodes:
        model = borghesi(values[node, :taught], seed)
        usual, score = model.score(values[node, :taught]), model.score(values[node, taught:])
        of = [_figures(score > np.percentile(usual, percentile), ill[node]) for percentile in PERCENTILES]
        for percentile, figures in zip(PERCENTILES, of, strict=True):
            rows[f"borghesi {percentile:g}th"].append(figures)
        rows["borghesi best"].append(max(of, key=lambda figures: figures["f"]))
    return rows


def _figures(said: Flags, ill: Flags) -> Figures:
    right = int((said & ill).sum())
    return {"accuracy": float((said == ill).mean()), "f": 2 * right / max(int(said.sum() + ill.sum()), 1)}


def _show(name: str, nodes: Sequence[Figures], bouts: Sequence[Bout]) -> None:
    accuracy, f = (np.array([figures[key] for figures in nodes]) for key in ("accuracy", "f"))
    print(
        f"{name}: accuracy {accuracy.min():.2f} to {accuracy.max():.2f}, mean {accuracy.mean():.2f}; F of the anomaly {f.min():.2f} to {f.max():.2f}, "
        f"mean {f.mean():.2f}; {', '.join(f'{what} {_of(f, bouts, what):.2f}' for what in WHATS)}"
    )


def _of(f: Array, bouts: Sequence[Bout], what: str) -> float:
    return float(np.mean([one for one, bout in zip(f, bouts, strict=True) if bout.what == what]))


if __name__ == "__main__":
    sys.exit(main())
