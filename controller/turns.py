"""When each domain is decided: five times a second, each at times of its own, and at once where power moves by a step.

What jumps is answered sooner than it is due only from an allowance of time: where all power jumps everywhere, as after a start, a decider that
decided at once would fall behind, and then be late for all.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Final

DECIDE_S: Final = 0.2
URGENT_DECISIONS: Final = 2  # of a domain between two ticks at which it is due; those that follow wait for a tick
URGENT_SHARE: Final = 0.3  # of all time
URGENT_SAVED_S: Final = 0.1
COST_S, NODE_COST_S = 1e-3, 2e-5  # of a decision, and for each node with its grant (`bench/controller.py`, `bench/power.py`)
_EARLY_S: Final = 1e-3  # ticks are not that exact


class Turns:
    """By name of a domain; `nodes` has how many each has."""

    def __init__(self, nodes: Mapping[str, int]) -> None:
        self._cost_s = {domain: COST_S + NODE_COST_S * count for domain, count in nodes.items()}
        self._first_s = {domain: DECIDE_S * (1 + place / len(nodes)) for place, domain in enumerate(nodes)}
        self._due_s = dict.fromkeys(nodes, -math.inf)
        self._urgent_left = dict.fromkeys(nodes, 0)
        self._hurried = set[str]()
        self._saved_s, self._saved_at_s = 0.0, -math.inf

    def due(self, now_s: float) -> Iterator[str]:
        """Those to be decided at this tick: all of them at the first."""
        for domain, due_s in self._due_s.items():
            if now_s >= due_s - _EARLY_S:
                self._urgent_left[domain] = URGENT_DECISIONS
                self._due_s[domain] = self._next_s(domain, now_s)
            elif domain not in self._hurried or not self._afford(domain, now_s):
                continue
            self._hurried.discard(domain)
            yield domain

    def at_once(self, domain: str, now_s: float) -> bool:
        """Whether it may be decided between two ticks. If not, it is at the next that can afford it."""
        if self._urgent_left[domain] > 0 and self._afford(domain, now_s):
            self._urgent_left[domain] -= 1
            return True
        self.hurry(domain)
        return False

    def hurry(self, domain: str) -> None:
        """To be decided at the next tick that can afford it."""
        self._hurried.add(domain)

    def _next_s(self, domain: str, now_s: float) -> float:
        """Each keeps to its own times, also after a tick that was late for all."""
        due_s = self._due_s[domain]
        if due_s == -math.inf:
            return now_s + self._first_s[domain]
        return due_s + DECIDE_S * (math.floor((now_s + _EARLY_S - due_s) / DECIDE_S) + 1)

    def _afford(self, domain: str, now_s: float) -> bool:
        """Takes it from the allowance, if there is any."""
        self._saved_s = min(self._saved_s + URGENT_SHARE * (now_s - self._saved_at_s), URGENT_SAVED_S)
        self._saved_at_s = now_s
        if self._saved_s <= 0.0:
            return False
        self._saved_s -= self._cost_s[domain]
        return True
