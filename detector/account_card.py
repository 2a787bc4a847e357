"""What one card's rows tell of time and energy, and who had it.

Between two rows of one start of an agent the energy is the increase of its counter; between two starts the increase of the driver's
own counter, which has what was drawn meanwhile, and after a driver's load what it shows since then. Where a card counts no energy it
is the mean of both rows' powers times the time. Half of each span goes to who had the card at its beginning, half to who had it at
its end.

A span longer than LONG_S says nothing of who was there between: a job that is at both ends has it, else nobody known, and without a
counter nothing is known of its energy.

A clock that was wrong may leave years between two rows. Of a span longer than LONGEST_S no time is counted, and two starts are not
joined across it.

A card's clock only goes forward here. A row that is not later than all before it (a repeat, a clock that was set back, a second
agent) is passed over, as is one without the counter on a card that has one: the counter of the next row has their energy.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.account_rows import Names, Numbers, Rows
from gpuwarden.detector.cap_cost import Values

LONG_S: Final = 60.0  # sixty passes of an agent at its default
LONGEST_S: Final = 7 * 86_400.0  # a card that was away for longer is begun anew
ROUNDING: Final = 2.0**-22  # of the driver's counter as a float32, with room: less of a fall is none
SHARES: Final = ("capped", "held", "least", "most", "unmeasured")
MEASURES: Final = ("seconds", "energy_j", "power_j", *SHARES)
"""Of a holder on a card. `power_j` is the part of energy_j that is from power, for want of a counter; the shares are times in s."""


class Joint(NamedTuple):
    """Where two starts of the agent meet: the count of either there, and what the driver's counter rose by between. J."""

    before: int
    before_j: float
    after: int
    after_j: float
    rise_j: float


@dataclass(frozen=True, slots=True)
class Spent:
    """By holders (n,), a number of Names: (n, MEASURES). Of unread_s no energy is known."""

    holders: Numbers
    measures: Values
    joints: tuple[Joint, ...]
    unread_s: float
    last: Rows


@dataclass(frozen=True, slots=True)
class _Spans:
    """Between neighbours of (n,) rows, each (n - 1,). energy_j NaN: not known."""

    seconds: Values
    energy_j: Values
    power_j: Values
    joins: NDArray[np.bool_]


def spent(rows: Rows, names: Names) -> Spent | None:
    """Of one card's rows (n,), among them the last one that was used before. None if no row is of use."""
    rows = _forward(_with_counter(rows[~(np.isnan(rows["counter_j"]) & np.isnan(rows["power_w"]))]))
    if not len(rows):
        return None
    spans = _spans(rows)
    long = rows["unix_ns"][1:] - rows["unix_ns"][:-1] > np.uint64(LONG_S * 1e9)
    before, after = rows["holders"][:-1], rows["holders"][1:]
    pairs, which = np.unique(np.stack((before[long], after[long])), axis=1, return_inverse=True)
    common = np.array([names.common(int(one), int(other)) for one, other in pairs.T], np.int64)[which]
    known = np.stack((spans.seconds, np.nan_to_num(spans.energy_j), spans.power_j), 1)
    halves = known[~long] / 2
    parts = (_with_shares(halves, rows[:-1][~long]), _with_shares(halves, rows[1:][~long]), _with_shares(known[long], None))
    holders, measures = _summed(np.concatenate((before[~long], after[~long], common)), np.concatenate(parts))
    unread_s = float(spans.seconds[np.isnan(spans.energy_j)].sum())
    joints = tuple(_joint(rows[i], rows[i + 1], spans.energy_j[i]) for i in np.flatnonzero(spans.joins))
    return Spent(holders, measures, joints, unread_s, rows[-1:].copy())


def _joint(before: Any, after: Any, rise_j: float) -> Joint:
    return Joint(int(before["start"]), float(before["counter_j"]), int(after["start"]), float(after["counter_j"]), float(rise_j))


def _with_counter(rows: Rows) -> Rows:
    """In the order of the starts and of their sequence numbers; from a start's first row with a counter on, those with one."""
    starts, which = np.unique(rows["start"], return_inverse=True)
    began = np.full(len(starts), np.iinfo(np.uint64).max)
    np.minimum.at(began, which, rows["unix_ns"])
    rows = rows[np.lexsort((rows["sequence"], rows["start"], began[which]))]
    counted = ~np.isnan(rows["counter_j"])
    behind = np.cumsum(counted)
    first = np.flatnonzero(np.diff(rows["start"], prepend=-1))
    before_start = np.repeat(behind[first] - counted[first], np.diff(first, append=len(rows)))
    with_counter: Rows = rows[counted | (behind == before_start)]
    return with_counter


def _forward(rows: Rows) -> Rows:
    newest_ns = np.maximum.accumulate(rows["unix_ns"])
    forward: Rows = rows[np.diff(newest_ns, prepend=np.uint64(0)) > 0]
    return forward


def _spans(rows: Rows) -> _Spans:
    one, other = rows[:-1], rows[1:]
    seconds = (other["unix_ns"] - one["unix_ns"]) / 1e9
    same, far = one["start"] == other["start"], seconds > LONGEST_S
    joined_j = np.where(far, 0.0, _since(one["since_load_j"], other["since_load_j"]))
    counter_j = np.where(same, other["counter_j"] - one["counter_j"], joined_j)
    power_j = np.where(seconds > LONG_S, np.nan, (one["power_w"] + other["power_w"]) / 2 * seconds)
    counted = ~np.isnan(counter_j)
    return _Spans(
        np.where(far, 0.0, seconds), np.where(counted, counter_j, power_j), np.where(counted, 0.0, np.nan_to_num(power_j)),
        counted & ~same & ~far,
    )


def _since(before_j: Values, after_j: Values) -> Values:
    """What the driver's counter rose by; all that it shows, if it was loaded anew. NaN where either is not known."""
    rise_j = after_j - before_j
    return np.where(rise_j < -ROUNDING * before_j, after_j, np.maximum(rise_j, 0.0))


def _with_shares(known: Values, rows: Rows | None) -> Values:
    """(n, 3) of seconds, energy and energy from power, as (n, MEASURES); of a long span nothing is said about caps."""
    if rows is None:
        return np.pad(known, ((0, 0), (0, len(SHARES))))
    return np.concatenate((known, known[:, :1] * np.stack([rows[share] for share in SHARES], 1)), 1)


def _summed(holders: Numbers, measures: Values) -> tuple[Numbers, Values]:
    different, which = np.unique(holders, return_inverse=True)
    sums: NDArray[np.float64] = np.zeros((len(different), len(MEASURES)))
    np.add.at(sums, which, measures)
    return different, sums
