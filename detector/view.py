"""What a rule looks at: many devices of one kind, now and one sample ago."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.node import Slots
from gpuwarden.proto.catalogue import COLUMNS, Device
from gpuwarden.proto.decode import Matrix

Values = NDArray[np.float32]

COLUMN_OF: Final[Mapping[str, int]] = MappingProxyType(
    {metric.name: column for device in Device for column, metric in enumerate(COLUMNS[device])}
)
_REMEMBERED: Final = ("gpu_nvlink_active_links", "nic_link_up", "nic_rate_bits_per_second")
# Metrics whose highest value is remembered, since nothing else says what they should be; name to catalogue column.
HIGHEST: Final[Mapping[Device, Mapping[str, int]]] = MappingProxyType({
    device: {metric.name: COLUMN_OF[metric.name] for metric in COLUMNS[device] if metric.name in _REMEMBERED}
    for device in Device
})


@dataclass(frozen=True, slots=True)
class View:
    """One row a device. `now` and `before` are (rows, catalogue columns), `elapsed_s` lies between them; NaN is unknown."""

    device: Device
    slots: Slots
    members: Slots
    now: Matrix
    before: Matrix
    best: Matrix
    elapsed_s: Values

    def row(self, row: int) -> "View":
        """One device of it."""
        one = slice(row, row + 1)
        return View(
            self.device, self.slots[one], self.members[one], self.now[one], self.before[one], self.best[one], self.elapsed_s[one]
        )

    def value(self, metric: str) -> Values:
        return self.now[:, COLUMN_OF[metric]]

    def bits(self, metric: str, mask: int) -> Values:
        """1 where one of the bits of `mask` is set."""
        value = self.value(metric)
        return np.where(np.isnan(value), value, (np.nan_to_num(value).astype(np.int64) & mask) != 0).astype(np.float32)

    def increase(self, metric: str) -> Values:
        """Of a counter since the sample before; a fall is a reset, and tells nothing."""
        column = COLUMN_OF[metric]
        grown = self.now[:, column] - self.before[:, column]
        return np.where((grown >= 0) & ~np.isnan(self.elapsed_s), grown, np.float32(np.nan))

    def rate(self, metric: str) -> Values:
        """Of a counter, a second."""
        return self.increase(metric) / self.elapsed_s

    def highest(self, metric: str) -> Values:
        """Ever seen of the device."""
        return self.best[:, list(HIGHEST[self.device]).index(metric)]


def above(values: Values, limit: float) -> Values:
    """How many times the limit, 0 where it is kept, NaN where it is unknown."""
    return np.where(values <= limit, np.float32(0), values / np.float32(limit))
