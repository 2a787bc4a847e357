"""Virtual time: a heap of what is still to happen. Same order for the same calls, whatever the machine."""

import heapq
from collections.abc import Callable
from itertools import count

Happening = Callable[[], None]


class Timeline:
    """`now_s` only moves in `run`. Things of one instant happen in the order in which they were planned."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._heap: list[tuple[float, int, Happening]] = []
        self._order = count()

    def at(self, time_s: float, happening: Happening) -> None:
        assert time_s >= self.now_s, f"{time_s} is before {self.now_s}"
        heapq.heappush(self._heap, (time_s, next(self._order), happening))

    def after(self, delay_s: float, happening: Happening) -> None:
        self.at(self.now_s + delay_s, happening)

    def every(self, period_s: float, happening: Happening, first_s: float = 0.0) -> None:
        """The k-th time is `first_s + k * period_s`: no error adds up."""
        times = count()

        def again() -> None:
            happening()
            self.at(first_s + next(times) * period_s, again)

        self.at(first_s + next(times) * period_s, again)

    def run(self, until_s: float, pace: Callable[[float], None] = lambda now_s: None) -> None:
        """Everything up to and with `until_s`; `pace` is told the time of each thing before it happens."""
        while self._heap and self._heap[0][0] <= until_s:
            time_s, _, happening = heapq.heappop(self._heap)
            pace(time_s)
            self.now_s = time_s
            happening()
        self.now_s = max(self.now_s, until_s) if until_s != float("inf") else self.now_s
