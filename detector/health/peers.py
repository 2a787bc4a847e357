"""Rows beside the others of their group: nodes beside the other nodes of their job, cards beside the other cards of their node.

Whatever the job does, it does to all of them, so only what one does otherwise is left; and of that only what it has not always done: each row has an offset
of its own for each reading, learned over its jobs as a player's rating is over games (Elo, The Rating of Chessplayers, 1978: both sides move, and the
more certain the less), and corrected within a job, since the others are other ones there. What is far off hardly counts in that (a redescending
influence; Hampel et al., Robust Statistics, 1986), so a fault of hours is not taken for usual.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.others import Numbers, others
from gpuwarden.detector.health.scale import Array
from gpuwarden.detector.robust import spread

Flags = NDArray[np.bool_]

SMOOTH_MINUTES: Final = 5.0  # half-life
GAIN: Final = 1 - 0.5 ** (1 / SMOOTH_MINUTES)
SLOWEST: Final = 1 / 2000  # a minute's part in the correction of a job that has lasted long
SURE_JOBS: Final = 5  # after these an offset moves by a fifth of what a job showed
SETTLE_MINUTES: Final = 15  # of a job, or of a cap, in which heat goes to where it belongs: nothing is learned or said
LEAST_MINUTES: Final = 10  # after that, before anything is said
LEARN_MINUTES: Final = 60  # of a job before it teaches
CLIP: Final = 4.0  # deviations
MOST_ROWS: Final = 5e5  # that what is usual of all rows rests on; then the oldest fade
MOST_JOBS: Final = 200.0
LEAST_RATED: Final = 10  # rows whose offsets are known, before what a new one brings along is judged by how they lie


@dataclass(slots=True)
class Usual:
    """What a comparison has learned. Mutable, arrays only: a row each (rows, readings) or (rows,), or of all rows together (readings,).

    `offset` from the others, `jobs` it rests on; of the job that runs: its `run`, the `correction` to the offset, `minutes` it rests on, the
    `smooth` rest, by how much of a correction the row itself is to move (`part`), its `age` in minutes, whether all of the group had
    jobs before (`rated`), and whether it is `capped`. `noise` a minute, `spread` of the smooth rest and
    `surprise` of a job's correction are variances, each with how much it rests on.
    """

    offset: Array
    jobs: Array
    correction: Array
    minutes: Array
    smooth: Array
    part: Array
    rated: Flags
    capped: Flags
    run: Numbers
    age: Numbers
    noise: Array
    noise_rows: Array
    spread: Array
    spread_rows: Array
    surprise: Array
    surprise_rows: Array


@dataclass(frozen=True, slots=True)
class Beside:
    """(rows, readings), in deviations: what `changed` within the job, and how far the job's `level` is from what is usual, or the `first` job's of a new row
    from what others are. `expected` as `seen`.

    NaN where there is nothing to compare, in the first minutes of a job, and, of the level, in the first job of any of the group and under a cap of ours.
    """

    changed: Array
    level: Array
    first: Array
    seen: Array
    expected: Array


def nothing_learned(rows: int, readings: int) -> Usual:
    """To begin with."""
    one, all_ = (rows, readings), readings
    return Usual(
        np.zeros(one), np.zeros(one), np.zeros(one), np.zeros(one), np.zeros(one), np.zeros(one), np.zeros(one, bool), np.zeros(rows, bool), np.full(rows, -1),
        np.zeros(rows, np.intp), np.zeros(all_), np.zeros(all_),
        np.zeros(all_), np.zeros(all_), np.zeros(all_), np.zeros(all_),
    )


def beside(usual: Usual, values: Array, group: Numbers, run: Numbers, capped: Flags, floor: Array, new: Flags) -> Beside:
    """One minute of values (rows, readings), which also teaches.

    `group` (rows,): who is compared with whom, below 0 nobody. `run` (rows,): another number is another job, or other terms for
    the same one; it changes where the group or `capped` does, (rows,): under a cap of ours, where offsets are others and levels say nothing. `floor` (readings,): the least that is one deviation.
    `new` (rows,): came when others were known already: what they bring into their first job is judged by how far apart the others' offsets lie.
    """
    _end_runs(usual, group, run, capped)
    usual.age += 1
    own = values - usual.offset - usual.part * usual.correction
    median, count = others(own, group)
    wide = np.sqrt(1 + 1 / np.maximum(count, 1))  # against one other the difference is of two, and wider than against many
    rest = (own - median) / wide
    known = ~np.isnan(rest) & (usual.age > SETTLE_MINUTES)[:, None]
    usual.part = np.where(known, wide * count / (count + 1), usual.part)
    noise, surprise = np.maximum(usual.noise, floor**2), np.maximum(usual.surprise, floor**2 / 10)
    before = usual.correction
    usual.minutes += known
    _correct(usual, rest, known, noise, surprise)
    ready = known & (usual.minutes > LEAST_MINUTES)
    learns = known & (usual.minutes > LEARN_MINUTES / 2)
    changed = usual.smooth / np.sqrt(np.maximum(usual.spread, floor**2 * GAIN / 2))
    level = usual.correction / np.sqrt(surprise + noise / np.maximum(usual.minutes, 1))
    changed = np.where(ready & (usual.spread_rows > 0), changed, np.nan)
    level = np.where(ready & usual.rated & (usual.surprise_rows > 0), level, np.nan)
    first = np.full(level.shape, np.nan)
    if new.any():
        first = usual.correction / np.sqrt(surprise + noise / np.maximum(usual.minutes, 1) + apart(usual.offset, usual.jobs > 0))
        first = np.where(ready & _first_job(usual, group, new), first, np.nan)
    off = rest + np.where(np.nan_to_num(np.abs(changed)) >= np.nan_to_num(np.fmax(np.abs(level), np.abs(first))), 0, before)
    seen = Beside(changed, level, first, values, values - wide * off)
    usual.noise, usual.noise_rows = _pooled(usual.noise, usual.noise_rows, rest, learns, MOST_ROWS)
    usual.spread, usual.spread_rows = _pooled(usual.spread, usual.spread_rows, usual.smooth, learns, MOST_ROWS)
    return seen


def _correct(usual: Usual, rest: Array, known: Flags, noise: Array, surprise: Array) -> None:
    """The less a correction is to be expected beside the noise, the slower; a Kalman gain for a level that stays."""
    slow = np.where(usual.rated & (usual.surprise_rows > 0), noise / surprise, 0.0)
    gain = np.maximum(1 / np.maximum(usual.minutes + slow, 1), SLOWEST)
    most = np.where((usual.minutes < LEAST_MINUTES / 2) | (usual.noise_rows == 0), np.inf, CLIP * np.sqrt(noise))
    fast = np.maximum(GAIN, 1 / np.maximum(usual.minutes, 1))
    usual.smooth = np.where(known, usual.smooth + fast * (rest - usual.smooth), usual.smooth)
    usual.correction = np.where(known, usual.correction + gain * moderate(rest, most), usual.correction)


def moderate(rest: Array, most: Array) -> Array:
    """What is off by more than `most` counts the less the farther it is off: so what a fault leaves behind when it is mended is small."""
    far = np.abs(rest) > most
    return np.where(far, most * (most / np.where(far, rest, 1.0)), rest)


def _end_runs(usual: Usual, group: Numbers, run: Numbers, capped: Flags) -> None:
    """Rows whose run is another one than before: what the old one showed goes into their offsets."""
    new = run != usual.run
    if not new.any():
        return
    old = usual.correction[new]
    told = (usual.minutes[new] > LEARN_MINUTES) & ~usual.capped[new, None]
    usual.surprise, usual.surprise_rows = _pooled(usual.surprise, usual.surprise_rows, old, told & usual.rated[new], MOST_JOBS)
    most = np.where(usual.rated[new] & (usual.surprise_rows > 0), CLIP * np.sqrt(usual.surprise), np.inf)
    sure = 1 / (1 + np.minimum(usual.jobs[new], SURE_JOBS - 1))
    usual.offset[new] += np.where(told, sure * moderate(old, most) * usual.part[new], 0)
    usual.jobs[new] += told
    usual.correction[new] = usual.smooth[new] = usual.minutes[new] = 0
    usual.age[new] = 0
    usual.run, usual.capped = run.copy(), capped.copy()
    usual.rated = _all_rated(usual.jobs, group) & ~capped[:, None]


def _all_rated(jobs: Array, group: Numbers) -> Flags:
    """(rows, readings): beside one whose offset nobody knows yet, a level says nothing."""
    _, of = np.unique(group, return_inverse=True)
    least = np.full((int(of.max()) + 1, jobs.shape[1]), np.inf)
    np.minimum.at(least, of, jobs)
    return np.asarray(least[of] > 0)


def _first_job(usual: Usual, group: Numbers, new: Flags) -> Flags:
    """(rows, readings): new ones that no job has taught yet, while all others of their group have had one. Not under a cap of ours."""
    _, of = np.unique(group, return_inverse=True)
    unrated = np.zeros((int(of.max()) + 1, usual.jobs.shape[1]), np.intp)
    np.add.at(unrated, of, usual.jobs == 0)
    return np.asarray((new & ~usual.capped)[:, None] & (usual.jobs == 0) & (unrated[of] == 1))


def apart(offsets: Array, known: Flags) -> Array:
    """(any,) variance of known offsets (rows, any) by their median deviation, the larger the fewer they are; infinite where they are too few to tell."""
    count = known.sum(0)
    enough = count >= LEAST_RATED
    mine = np.where(known, offsets, np.nan)[:, enough]
    variance = np.full(len(count), np.inf)
    variance[enough] = spread(mine, 0) ** 2 * (1 + LEAST_RATED / count[enough])
    return variance


def _pooled(variance: Array, rows: Array, rest: Array, known: Flags, most: float) -> tuple[Array, Array]:
    """The variance with these rests (any, readings) in it, none of which counts for more than CLIP deviations."""
    squares = np.where(known, rest**2, 0)
    bound = np.where(rows > 0, CLIP**2 * variance, np.inf)
    new = known.sum(0)
    total = variance * rows + np.minimum(squares, bound).sum(0)
    count = rows + new
    return np.where(count > 0, total / np.maximum(count, 1), 0), np.minimum(count, most)
