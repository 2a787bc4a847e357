"""One server: it reads one prompt after another, and gives all requests that it holds their tokens together.

While it reads a prompt the others wait, as with scheduling by iteration (Orca, OSDI'22). Between two events nothing about it changes, so it is
told only when something happens: that is what makes weeks of a row affordable.
"""

from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.serving import model
from gpuwarden.sim.serving.model import Server
from gpuwarden.sim.serving.requests import Requests

Values = NDArray[np.float64]

NOBODY: Final = -1


@dataclass(frozen=True, slots=True)
class Work:
    """What a server needs to know of all requests, at full clock. Arrays that Python reads one by one: numpy's take three times as long."""

    slots: int
    idle_w: float
    cards_w: float
    idle_ratio: float
    prompt_s: "array[float]"  # one entry a request
    prompt_w: "array[float]"  # above idle
    output_tokens: "array[int]"
    context: "array[float]"  # what its context makes of the power of its tokens
    token_s: list[float]  # by requests held
    token_power: list[float]


def work_of(server: Server, asked: Requests) -> Work:
    prompts = asked.prompt_tokens.astype(np.float64)
    held, cards_w = np.arange(server.slots + 1.0), server.gpus * server.tdp_w
    return Work(
        server.slots, server.base_w + cards_w * server.idle_ratio, cards_w, server.idle_ratio,
        floats(model.prompt_s(prompts)), floats(cards_w * (model.prompt_power(prompts) - server.idle_ratio)),
        array("i", asked.output_tokens.astype(np.intc).tobytes()), floats(model.context(prompts + asked.output_tokens / 2.0)),
        model.token_s(held).tolist(), model.token_power(held).tolist(),
    )  # fmt: skip


def floats(values: Values) -> "array[float]":
    return array("d", values.tobytes())


class Place:
    """`due_s`: when its next event is, if nothing comes between. `watts`: what it draws until then."""

    __slots__ = (
        "_at_s", "_contexts", "_done", "_held", "_most_w", "_pace", "_prompt", "_prompt_stretch", "_saving", "_squeezed", "_token_s", "_waiting", "_work",
        "due_s", "watts",
    )

    def __init__(self, work: Work, squeezed: Callable[[float], tuple[float, float]]) -> None:
        """`squeezed`: by how much prompts and tokens take longer where so much of the power above idle is left."""
        self._work, self._squeezed = work, squeezed
        self._waiting: deque[int] = deque()
        self._held: list[tuple[float, int]] = []  # heap of (the count at which it has its last token, request)
        self._prompt = NOBODY
        self._done, self._at_s = 0.0, 0.0  # tokens given to each of the held ones by `_at_s`, counted from the start
        self._contexts = 0.0  # sum over the held ones
        self._saving, self._prompt_stretch, self._token_s, self._most_w = 1.0, 1.0, work.token_s, inf
        self._pace = 1.0  # stretch of the prompt that is read, or s a token
        self.due_s, self.watts = inf, work.idle_w

    @property
    def reads(self) -> bool:
        return self._prompt != NOBODY

    @property
    def requests(self) -> int:
        return len(self._held) + len(self._waiting) + self.reads

    def arrive(self, now_s: float, request: int) -> bool:
        """Whether that changed what it does now; else the request waits."""
        self._waiting.append(request)
        if self._prompt != NOBODY or len(self._held) >= self._work.slots:
            return False
        self._count(now_s)
        self._read(now_s)
        return True

    def happen(self, now_s: float) -> int:
        """Its event is due; the request that is answered by it, or NOBODY."""
        answered = self._answer() if self._prompt == NOBODY else self._hold()
        if self._waiting and len(self._held) < self._work.slots:
            self._read(now_s)
        else:
            self._write(now_s)
        return answered

    def hold(self, now_s: float, saving: float, prompt_stretch: float, token_stretch: float, most_w: float = inf) -> None:
        """At this clock from now on: what is left of the power above idle, and by how much prompts and tokens take longer. `most_w`: above idle, at most."""
        prompt_left = (self.due_s - now_s) / self._pace
        self._count(now_s)
        self._saving, self._prompt_stretch, self._most_w = saving, prompt_stretch, most_w
        self._token_s = [one * token_stretch for one in self._work.token_s]
        if self._prompt == NOBODY:
            self._write(now_s)
        else:
            self._begin(now_s, prompt_left)

    def _count(self, now_s: float) -> None:
        if self._prompt == NOBODY and self._held:
            self._done += (now_s - self._at_s) / self._pace

    def _read(self, now_s: float) -> None:
        self._prompt = request = self._waiting.popleft()
        self._begin(now_s, self._work.prompt_s[request])

    def _begin(self, now_s: float, left_s: float) -> None:
        """To read what is left of the prompt, s at full clock."""
        wanted_w = self._work.prompt_w[self._prompt]
        above_w, self._pace = self._saving * wanted_w, self._prompt_stretch
        if above_w > self._most_w:
            above_w, self._pace = self._most_w, max(self._pace, self._squeezed(self._most_w / wanted_w)[0])
        self.due_s, self.watts = now_s + left_s * self._pace, self._work.idle_w + above_w

    def _hold(self) -> int:
        heappush(self._held, (self._done + self._work.output_tokens[self._prompt], self._prompt))
        self._contexts += self._work.context[self._prompt]
        self._prompt = NOBODY
        return NOBODY

    def _answer(self) -> int:
        self._done, request = heappop(self._held)
        self._contexts -= self._work.context[request]
        return request

    def _write(self, now_s: float) -> None:
        work, count = self._work, len(self._held)
        self._at_s = now_s
        if not count:
            self._contexts, self.due_s, self.watts = 0.0, inf, work.idle_w
            return
        wanted_w = work.cards_w * (work.token_power[count] * self._contexts / count - work.idle_ratio)
        above_w, self._pace = self._saving * wanted_w, self._token_s[count]
        if above_w > self._most_w:
            above_w, self._pace = self._most_w, max(self._pace, work.token_s[count] * self._squeezed(self._most_w / wanted_w)[1])
        self.due_s, self.watts = now_s + (self._held[0][0] - self._done) * self._pace, work.idle_w + above_w
