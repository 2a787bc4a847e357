"""All devices of one kind, one row each, so that many are judged at once."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.node import LATE_NS, Slots
from gpuwarden.detector.view import HIGHEST, View
from gpuwarden.proto.catalogue import COLUMNS, Device
from gpuwarden.proto.decode import Matrix

FIRST_ROWS: Final = 64
NEVER: Final = -1
LONGEST_S: Final = 3600.0  # an increase over a longer time says nothing of now


class Fleet:
    """Rows are given out, taken back and given out again. Arrays double when they are full."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.rows = FIRST_ROWS
        self.owners: list[tuple[str, str]] = [("", "")] * FIRST_ROWS  # (node, device id) of each row
        self._free = list(range(FIRST_ROWS - 1, -1, -1))
        self._before: Matrix = np.full((FIRST_ROWS, len(COLUMNS[device])), np.nan, np.float32)
        self._highest: Matrix = np.full((FIRST_ROWS, len(HIGHEST[device])), np.nan, np.float32)
        self._seen_ns: NDArray[np.int64] = np.full(FIRST_ROWS, NEVER, np.int64)

    def take(self, node: str, device_id: str) -> int:
        """A row for a device; `rows` may have grown."""
        if not self._free:
            self._double()
        slot = self._free.pop()
        self.owners[slot] = node, device_id
        return slot

    def clear(self, slot: int) -> None:
        self.owners[slot] = "", ""
        self._before[slot], self._highest[slot], self._seen_ns[slot] = np.nan, np.nan, NEVER
        self._free.append(slot)

    def restarted(self, slots: Slots) -> None:
        """These devices' agent counts from zero again: there is nothing to compare its counters with."""
        self._seen_ns[slots] = NEVER

    def view(self, slots: Slots, members: Slots, unix_ns: NDArray[np.int64], now: Matrix) -> View:
        """What rules look at. `members` tells which rows are of one node, `unix_ns` when each was read."""
        seen_ns = self._seen_ns[slots]
        elapsed_s = ((unix_ns - seen_ns) / 1e9).astype(np.float32)
        elapsed_s[(seen_ns == NEVER) | (elapsed_s <= 0) | (elapsed_s > LONGEST_S)] = np.nan
        before, highest = self._before[slots], self._highest[slots]
        highest = np.fmax(highest, now[:, list(HIGHEST[self.device].values())])
        self._before[slots], self._highest[slots] = now, highest
        self._seen_ns[slots] = np.where((unix_ns < seen_ns) & (seen_ns - unix_ns < LATE_NS), seen_ns, unix_ns)  # or the time counts twice
        return View(self.device, slots, members, now, before, highest, elapsed_s)

    def _double(self) -> None:
        self._free = list(range(2 * self.rows - 1, self.rows - 1, -1))
        self.owners += [("", "")] * self.rows
        self._before = np.concatenate((self._before, np.full_like(self._before, np.nan)))
        self._highest = np.concatenate((self._highest, np.full_like(self._highest, np.nan)))
        self._seen_ns = np.concatenate((self._seen_ns, np.full_like(self._seen_ns, NEVER)))
        self.rows *= 2
