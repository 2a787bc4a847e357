"""A month as the paper's people had it: each crash costs what theirs cost on average."""

from random import Random

from gpuwarden.sim.crashes.lost import Instants, Lost, Training
from gpuwarden.sim.crashes.paper import BEFORE


def by_people(crashes: int, interval_s: float, chance: Random) -> Lost:
    """With the paper's before-delays, fitted to its table."""
    lost, instants, training = Lost(), Instants(crashes, chance), Training(interval_s)
    delays = [(row, BEFORE.each_s(getattr(BEFORE, row))) for row in ("detection", "diagnosis_isolation", "reinit")]
    while (now_s := instants.next_s(training.from_s)) != float("inf"):
        instants.take()
        lost.crashes += 1
        lost.add("post_checkpoint", now_s - training.undone_s(now_s), now_s)
        for row, takes_s in delays:
            lost.add(row, now_s, now_s + takes_s)
            now_s += takes_s
        training.from_s = now_s
    return lost
