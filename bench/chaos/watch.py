"""What every card's limit was at every moment, as the driver had it."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from chaos.row import Row

PERIOD_S: Final = 0.05
LARGEST_GAP_S: Final = 0.5  # of more, nobody could say what stood meanwhile
SAME_W: Final = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at all cards of all nodes. `now_s` is CLOCK_BOOTTIME, of the look's end."""

    now_s: float
    limits_w: dict[str, tuple[float, ...]]
    draw_w: float


def boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Watch:
    """Looks twenty times a second, from construction to `close`. What breaks its thread is raised to whoever asks."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._seen: list[Seen] = []
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, "watch")
        self._looking = self._pool.submit(self._run)

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            limits_w = {node: self._row.limits_w(node) for node in self._row.nodes}
            draw_w = self._row.draw_w()
            self._seen.append(Seen(boottime_s(), limits_w, draw_w))

    def close(self) -> None:
        self._stop.set()
        self._pool.shutdown()
        self._looking.result()

    def between(self, start_s: float, end_s: float) -> list[Seen]:
        if self._looking.done():
            self._looking.result()
        return [one for one in self._seen if start_s <= one.now_s <= end_s]


def largest_gap_s(seen: Sequence[Seen], start_s: float, end_s: float) -> float:
    """The longest time without a look; all of it if nobody looked."""
    times_s = [start_s, *(one.now_s for one in seen), end_s]
    return max(later_s - one_s for one_s, later_s in pairwise(times_s))
