"""The paper's network: the same seed gives the same scores, and a broken correlation stands out."""

import numpy as np


def test_it_sees_a_metric_that_leaves_the_others_and_repeats_itself() -> None:
    # Here, since torch takes seconds and 400 MB of every process that only collects tests.
    from gpuwarden.detector.health.borghesi import borghesi

    chance = np.random.default_rng(1)
    history = chance.uniform(0, 100, (4000, 1)) + chance.normal(0, 1, (4000, 5))
    history = np.concatenate((history, np.full((4000, 1), 3.0)), 1)
    new = history[:200].copy()
    new[100:, 2] = 100 - new[100:, 2]
    first, again = (borghesi(history, 7).score(new) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.median(first[100:]) > 2 * np.median(first[:100])
    new[0, 1] = np.nan
    assert np.isfinite(borghesi(history, 7).score(new)).all()
