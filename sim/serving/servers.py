"""Servers that answer requests: prompts one after another, tokens of all held requests together. Arrays have one entry a server.

While a server reads a prompt its other requests wait, as with scheduling by iteration (Orca, OSDI'22). A request goes to the server of its
priority that has the fewest.
"""

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.serving import model
from gpuwarden.sim.serving.model import Server
from gpuwarden.sim.serving.relation import Relation
from gpuwarden.sim.serving.requests import Requests

Values = NDArray[np.float64]

STEP_S: Final = 0.25
PROMPTS_A_STEP: Final = 2  # the shortest takes 0.17 s
_NOBODY: Final = -1
_DONE_S: Final = 1e-9


class Servers:
    """`finish_s` has one entry a request: when its last token was out, NaN before."""

    def __init__(self, server: Server, high: NDArray[np.bool_], asked: Requests, kinds_high: NDArray[np.bool_], relation: Relation) -> None:
        self._server, self._asked, self._relation = server, asked, relation
        count = len(high)
        self._places = {False: np.flatnonzero(~high), True: np.flatnonzero(high)}
        self._high_request = kinds_high[asked.kind]
        tokens = asked.prompt_tokens.astype(np.float64)
        self._prompt_s, self._prompt_power = model.prompt_s(tokens), model.prompt_power(tokens)
        batches = np.arange(server.slots + 1.0)
        self._token_s, self._token_power = model.token_s(batches), model.token_power(batches)
        self._waiting: list[deque[int]] = [deque() for _ in range(count)]
        self._held = np.zeros(count, np.int64)  # requests of any state
        self._queued = np.zeros(count, np.int64)
        self._prompting = np.full(count, _NOBODY, np.int64)
        self._prompt_left_s = np.zeros(count)
        self._power = np.zeros(count)  # of the prompt that is being read
        self._batch = np.zeros(count, np.int64)
        self._tokens_left = np.full((count, server.slots), np.inf)
        self._request = np.full((count, server.slots), _NOBODY, np.int64)
        self._next = 0
        self.finish_s = np.full(len(asked.time_s), np.nan)
        self.lock(np.ones(count))

    def lock(self, clocks: Values) -> None:
        """The clocks, as shares of the highest, from now on."""
        self._left_power = self._relation.power(clocks)
        self._prompt_stretch, self._token_stretch = self._relation.prompt_time(clocks), self._relation.token_time(clocks)

    def advance(self, now_s: float) -> Values:
        """STEP_S from `now_s` on; W of each server on average."""
        self._admit(now_s + STEP_S)
        left_s, drawn = np.full(len(self._held), STEP_S), np.zeros(len(self._held))
        for _ in range(PROMPTS_A_STEP):
            self._begin_prompts(left_s)
            used_s = np.minimum(left_s, self._prompt_left_s * self._prompt_stretch)
            self._prompt_left_s -= used_s / self._prompt_stretch
            left_s -= used_s
            drawn += used_s * (self._power - self._server.idle_ratio)
            self._end_prompts()
        drawn += self._decode(now_s, left_s)
        cards_w = self._server.gpus * self._server.tdp_w
        watts: Values = self._server.base_w + cards_w * (self._server.idle_ratio + self._left_power * drawn / STEP_S)
        return watts

    def _admit(self, until_s: float) -> None:
        while self._next < len(self._asked.time_s) and self._asked.time_s[self._next] < until_s:
            places = self._places[bool(self._high_request[self._next])]
            server = places[self._held[places].argmin()]
            self._waiting[server].append(self._next)
            self._held[server] += 1
            self._queued[server] += 1
            self._next += 1

    def _begin_prompts(self, left_s: Values) -> None:
        free = (self._prompting == _NOBODY) & (self._queued > 0) & (self._batch < self._server.slots) & (left_s > 0)
        for server in np.flatnonzero(free):
            request = self._waiting[server].popleft()
            self._queued[server] -= 1
            self._prompting[server] = request
            self._prompt_left_s[server] = self._prompt_s[request]
            self._power[server] = self._prompt_power[request]

    def _end_prompts(self) -> None:
        for server in np.flatnonzero((self._prompting != _NOBODY) & (self._prompt_left_s <= _DONE_S)):
            request, slot = self._prompting[server], self._request[server].argmin()
            self._request[server, slot] = request
            self._tokens_left[server, slot] = self._asked.output_tokens[request]
            self._batch[server] += 1
            self._prompting[server], self._prompt_left_s[server] = _NOBODY, 0.0

    def _decode(self, now_s: float, left_s: Values) -> Values:
        """What it draws above idle, times seconds, as a share of TDP."""
        each_s = self._token_s[self._batch] * self._token_stretch
        drawn: Values = np.where(self._batch > 0, left_s * (self._token_power[self._batch] - self._server.idle_ratio), 0.0)
        self._tokens_left -= (left_s / each_s)[:, None]
        for server, slot in np.argwhere(self._tokens_left <= 0):
            late_s = -self._tokens_left[server, slot] * each_s[server]
            self.finish_s[self._request[server, slot]] = now_s + STEP_S - late_s
            self._tokens_left[server, slot], self._request[server, slot] = np.inf, _NOBODY
            self._batch[server] -= 1
            self._held[server] -= 1
        return drawn
