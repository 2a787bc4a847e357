"""A row of servers, event by event."""

from array import array
from heapq import heappop, heappush
from math import inf

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.serving.model import Server
from gpuwarden.sim.serving.place import NOBODY, Place, floats, work_of
from gpuwarden.sim.serving.relation import Relation
from gpuwarden.sim.serving.requests import Requests

Values = NDArray[np.float64]


class Servers:
    """`finish_s` has one entry a request: when its last token was out, NaN before. `step_s`, `step_w`: when the row's power changed and by how much."""

    def __init__(self, server: Server, high: NDArray[np.bool_], asked: Requests, kinds_high: NDArray[np.bool_], relation: Relation) -> None:
        work = work_of(server, asked)
        self._relation, self._clocks = relation, np.ones(len(high))
        self._time_s = floats(np.append(asked.time_s, inf))
        self._places = [Place(work, relation.squeezed) for _ in high]
        self._server_of = array("i", _servers_of(asked, kinds_high, high).astype(np.intc).tobytes())
        self._events: list[tuple[float, int, int]] = []  # heap of (time, serial, server)
        self._serials = [0] * len(high)  # of a server's newest entry; older ones are void
        self._serial = self._next = 0
        self._finish_s = floats(np.full(len(asked.time_s), np.nan))
        self.finish_s: Values = np.frombuffer(self._finish_s)
        self.step_s: list[float] = []
        self.step_w: list[float] = []

    @property
    def watts(self) -> Values:
        """Of each server, now."""
        return np.array([place.watts for place in self._places])

    @property
    def reading(self) -> NDArray[np.bool_]:
        """Which of them read a prompt now."""
        return np.array([place.reads for place in self._places])

    @property
    def held(self) -> NDArray[np.int64]:
        """How many requests each has, those that wait included."""
        return np.array([place.requests for place in self._places])

    def lock(self, now_s: float, clocks: Values) -> None:
        """The clocks, as shares of the highest, from now on."""
        left = zip(self._relation.power(clocks), self._relation.prompt_time(clocks), self._relation.token_time(clocks), strict=True)
        for number, (place, ratios) in enumerate(zip(self._places, left, strict=True)):
            if clocks[number] != self._clocks[number]:
                before_w = place.watts
                place.hold(now_s, *map(float, ratios))
                self._changed(number, now_s, before_w)
        self._clocks = clocks

    def hold(self, now_s: float, number: int, clock: float, most_w: float) -> None:
        """One server's clock, and the most that it draws above idle, from now on."""
        at, place = np.array([clock]), self._places[number]
        before_w = place.watts
        saving, prompt, token = (float(of(at)[0]) for of in (self._relation.power, self._relation.prompt_time, self._relation.token_time))
        place.hold(now_s, saving, prompt, token, most_w)
        self._changed(number, now_s, before_w)

    def advance(self, until_s: float) -> None:
        """Everything that happens before."""
        events, serials = self._events, self._serials
        while True:
            came_s = self._time_s[self._next]
            if came_s < until_s and (not events or came_s <= events[0][0]):
                self._arrive(came_s)
            elif events and events[0][0] < until_s:
                due_s, serial, number = heappop(events)
                if serials[number] == serial:
                    self._happen(due_s, number)
            else:
                return

    def _arrive(self, now_s: float) -> None:
        request, self._next = self._next, self._next + 1
        number = self._server_of[request]
        place = self._places[number]
        before_w = place.watts
        if place.arrive(now_s, request):
            self._changed(number, now_s, before_w)

    def _happen(self, now_s: float, number: int) -> None:
        place = self._places[number]
        before_w = place.watts
        answered = place.happen(now_s)
        if answered != NOBODY:
            self._finish_s[answered] = now_s
        self._changed(number, now_s, before_w)

    def _changed(self, number: int, now_s: float, before_w: float) -> None:
        place = self._places[number]
        self._serial = self._serials[number] = self._serial + 1
        if place.due_s < inf:
            heappush(self._events, (place.due_s, self._serial, number))
        self.step_s.append(now_s)
        self.step_w.append(place.watts - before_w)


def _servers_of(asked: Requests, kinds_high: NDArray[np.bool_], high: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of each request: one of its priority's."""
    of_high, found = kinds_high[asked.kind], np.empty(len(asked.kind), np.int64)
    for which in (False, True):
        numbers = np.flatnonzero(high == which)
        picked = of_high == which
        found[picked] = numbers[(asked.guest[picked] * len(numbers)).astype(np.int64)]
    return found
