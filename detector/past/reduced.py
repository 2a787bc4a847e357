"""From readings to minutes: the mean of a gauge's, and of a counter the increase from its first to its last, by the time between."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.past.features import METRICS
from gpuwarden.detector.past.piece import MINUTE_NS, Heads, Integers, Minutes, Names
from gpuwarden.proto.catalogue import Device, Kind
from gpuwarden.proto.decode import Matrix

SECOND_NS: Final = 1e9
COUNTERS: Final = {device: [i for i, metric in enumerate(metrics) if metric.kind is Kind.COUNTER] for device, metrics in METRICS.items()}
GAUGES: Final = {device: [i for i, metric in enumerate(metrics) if metric.kind is not Kind.COUNTER] for device, metrics in METRICS.items()}

Wide = NDArray[np.float64]


def minutes_of(device: Device, node: Integers, device_id: Names, unix_ns: Integers, values: Matrix) -> Minutes:
    """One row a reading: `values` is (rows, METRICS[device]). Rows of a device in order of time, devices one after another."""
    minute = unix_ns // MINUTE_NS
    begins = _begins(node, device_id, minute)
    made = np.full((len(begins), len(METRICS[device])), np.nan, np.float32)
    fell = np.zeros(made.shape, np.bool_)
    if len(begins):
        made[:, GAUGES[device]] = _means(values[:, GAUGES[device]], begins)
        first, last = _ends(values[:, COUNTERS[device]], begins)
        rise = _at(values, COUNTERS[device], last) - _at(values, COUNTERS[device], first)
        made[:, COUNTERS[device]], fell[:, COUNTERS[device]] = rates(rise, (unix_ns[last] - unix_ns[first]) / SECOND_NS)
    return Minutes(device, node[begins], device_id[begins], minute[begins], made, fell)


def rates(rise: Wide, span_s: Wide) -> tuple[Matrix, NDArray[np.bool_]]:
    """Per second, and where a counter fell. NaN without two readings, or after a fall."""
    fell = rise < 0
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(fell | (span_s <= 0), np.nan, rise / span_s)
    return rate.astype(np.float32), fell


def _begins(*keys: NDArray[np.generic]) -> NDArray[np.intp]:
    """The first row of each run of equal keys."""
    rows = len(keys[0])
    changed = np.zeros(rows, np.bool_)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)


def _means(values: Matrix, begins: NDArray[np.intp]) -> Matrix:
    known = ~np.isnan(values)
    total = np.add.reduceat(np.where(known, values, 0).astype(np.float64), begins, axis=0)
    with np.errstate(invalid="ignore"):
        return (total / np.add.reduceat(known.astype(np.int64), begins, axis=0)).astype(np.float32)


def _ends(values: Matrix, begins: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows of the first and the last known reading, (minutes, counters) each; the same row where there is none."""
    known, row = ~np.isnan(values), np.arange(len(values))[:, None]
    first = np.minimum.reduceat(np.where(known, row, len(values)), begins, axis=0)
    last = np.maximum.reduceat(np.where(known, row, -1), begins, axis=0)
    none = last < 0
    first[none] = last[none] = 0
    return first, last


def _at(values: Matrix, columns: list[int], rows: NDArray[np.intp]) -> Wide:
    return values[rows, np.array(columns, np.intp)[None, :]].astype(np.float64)


def heads_of(node: Integers, start: Integers, sequence: Integers, unix_ns: Integers) -> Heads:
    """One row a record, in any order, repeats included."""
    minute = unix_ns // MINUTE_NS
    order = np.lexsort((minute, start, node))
    node, start, minute, sequence = node[order], start[order], minute[order], sequence[order]
    begins = _begins(node, start, minute)
    if not len(begins):
        return Heads(node, start, minute, sequence, sequence)
    low, high = np.minimum.reduceat(sequence, begins), np.maximum.reduceat(sequence, begins)
    return Heads(node[begins], start[begins], minute[begins], low, high)
