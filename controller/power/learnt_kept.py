"""What a policy has learnt of its limits that outlives this controller: else each restart would begin with the most cautious thresholds, for a day.

It is no part of what must hold. So it is written seldom, a crash may lose the newest of it, and what does not fit is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.controller.power.level import Watts

EVERY_S: Final = 600.0
_STORED: Final = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class LimitLearnt:
    """Of a limit, in terms of `rating_w`, by a policy. `learnt`: little-endian float32, whatever they mean to it."""

    domain: str
    limit: str
    policy: str
    rating_w: float
    learnt: bytes


def kept(domain: str, policy: str, names: Sequence[str], ratings_w: Watts, rows: Watts) -> Iterator[LimitLearnt]:
    """`rows`: (limits, n)."""
    for name, rating_w, row in zip(names, ratings_w.tolist(), rows.astype(_STORED), strict=True):
        yield LimitLearnt(domain, name, policy, rating_w, row.tobytes())


def recalled(remembered: Mapping[str, LimitLearnt], policy: str, names: Sequence[str], ratings_w: Watts, width: int) -> dict[int, Watts]:
    """By place in `names`. What another policy learnt, or of another rating, is of no use; nor is what cannot be read."""
    rows = dict[int, Watts]()
    for place, (name, rating_w) in enumerate(zip(names, ratings_w.tolist(), strict=True)):
        one = remembered.get(name)
        if one is not None and (one.policy, one.rating_w, len(one.learnt)) == (policy, rating_w, width * _STORED.itemsize):
            row = np.frombuffer(one.learnt, _STORED).astype(float)
            if np.isfinite(row).all() and (row >= 0.0).all():
                rows[place] = row
    return rows
