"""Is a small group within its budget while it is young? What is found in simulated rooms in which nobody is ill, by half days of their lives.

    python bench/health_young.py [--seeds N] [--days N]

Rooms of fifteen nodes (sim/health/): jobs of two, four and eight, one after another on nodes that change, and a spare. The budget is 0.1 findings a node and day.
"""

import argparse
import sys
from typing import Final

import numpy as np
from health_room import Watch
from health_rows import BUDGET, DAY, OURS, ours
from numpy.typing import NDArray

from gpuwarden.detector.health.budget import findings
from gpuwarden.sim.health.ward import Room

HALF: Final = DAY // 2
PLACES: Final = (2, 4, 8)


def halves(seed: int, days: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(rows of OURS, half days) of findings, and (half days,) of node-days that anything could be said of."""
    watch = Watch(Room(PLACES, seed=seed, spares=1))
    for _ in range(round(days * DAY)):
        watch.minute([])
    watched = watch.watched()
    spans = [slice(at, at + HALF) for at in range(0, watched.rate.shape[1], HALF)]
    flags = [ours(watched, members, BUDGET) for members in OURS.values()]
    counted = np.array([[findings(of[:, span], 60.0) for span in spans] for of in flags], np.intp)
    return counted, np.array([(~np.isnan(watched.rate[:, span])).sum() / DAY for span in spans])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--days", type=float, default=2.5)
    given = parser.parse_args()
    made = []
    for seed in range(1, given.seeds + 1):
        made.append(halves(seed, given.days))
        print(f"seed {seed}", file=sys.stderr, flush=True)
    counted, node_days = (np.sum([one[part] for one in made], axis=0) for part in (0, 1))
    print(f"| row | {' | '.join(f'until day {(at + 1) / 2:g}' for at in range(len(node_days)))} | all, of the budget |\n|---|{'---|' * (len(node_days) + 1)}")
    for name, of in zip(OURS, counted, strict=True):
        cells = " | ".join(f"{found} in {days:.0f}" for found, days in zip(of, node_days, strict=True))
        print(f"| {name} | {cells} | {of.sum() / node_days.sum() / BUDGET:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
