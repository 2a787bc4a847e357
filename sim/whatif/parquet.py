"""The history that a recorder writes, as what each node drew: its cards' power at the supply, and what else it draws."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # has no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # has no types
from numpy.typing import NDArray

from gpuwarden.detector.account_read import parts
from gpuwarden.sim.whatif.recorded import Recorded, TooLittle, evenly

MOST_NS: Final = 2**64 - 1
_POWER: Final = "gpu_power_watts"
_CAPPED: Final = "gpu_capped_by_us"


def of_history(folder: Path, base_w: float, slope: float, start_ns: int = 0, end_ns: int = MOST_NS) -> Recorded:
    """`base_w + slope * (sum of its cards)` of each node and reading. A reading that lacks a card is left out. BadHistory, TooLittle."""
    names, capped = dict[str, int](), _Capped()
    nodes, times_ns, powers_w, cards = _columns(_node_readings(folder, start_ns, end_ns, names, capped))
    if not names:
        raise TooLittle("holds no power of GPUs")
    most = np.zeros(len(names), np.int64)
    np.maximum.at(most, nodes, cards.astype(np.int64))
    whole = cards == most[nodes]
    order = np.argsort(times_ns[whole], kind="stable")
    index, unix_ns, watts = (column[whole][order] for column in (nodes, times_ns, powers_w))
    time_s = (unix_ns - unix_ns[0]).astype(np.float64) / 1e9
    return evenly(tuple(names), index, time_s, base_w + slope * watts, capped.ratio)


@dataclass(slots=True)
class _Capped:
    """How many readings of cards tell whether they are under our caps, and how many that they are."""

    told: int = 0
    so: float = 0.0

    @property
    def ratio(self) -> float:
        return self.so / self.told if self.told else 0.0


def _node_readings(
    folder: Path, start_ns: int, end_ns: int, names: dict[str, int], capped: _Capped
) -> Iterator[tuple[NDArray[np.float64] | NDArray[np.int64], ...]]:
    """(node, unix_ns, W of its cards, how many cards), hour by hour; `names` and `capped` are filled."""
    for part in parts(folder, start_ns, end_ns):
        column = part.column(_CAPPED)
        capped.told, capped.so = capped.told + len(column) - column.null_count, capped.so + float(pc.sum(column, min_count=0).as_py())
        read = part.select(["node", "unix_ns", "device_id", _POWER]).filter(pc.is_valid(part.column(_POWER)))
        once = read.group_by(["node", "unix_ns", "device_id"]).aggregate([(_POWER, "max")])  # what was delivered twice counts once
        told = once.group_by(["node", "unix_ns"]).aggregate([(f"{_POWER}_max", "sum"), (f"{_POWER}_max", "count")])
        numbers = [names.setdefault(name, len(names)) for name in told.column("node").to_pylist()]
        watts, cards = (_values(told, f"{_POWER}_max_{what}") for what in ("sum", "count"))
        yield np.array(numbers, np.int64), told.column("unix_ns").to_numpy().astype(np.int64), watts, cards


def _columns(rows: Iterator[tuple[NDArray[np.float64] | NDArray[np.int64], ...]]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))
    nodes, times_ns, watts, cards = (np.concatenate(column) for column in zip(empty, *rows, strict=True))
    return nodes.astype(np.int64), times_ns.astype(np.int64), watts.astype(np.float64), cards.astype(np.float64)


def _values(table: pa.Table, name: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = table.column(name).to_numpy().astype(np.float64)
    return values
