"""When each domain is decided: five times a second, each at a time of its own, and at once where power moves by a step."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

DECIDE_S: Final = 0.2
URGENT_DECISIONS: Final = 2  # between two ticks at which a domain is due; those that follow wait for the next tick, so that a row whose power jumps everywhere costs no more
_EARLY_S: Final = 1e-3  # ticks are not that exact


class Turns:
    """By name of a domain. Who would not wait but must is decided at the next tick, whatever is due."""

    def __init__(self, domains: Sequence[str]) -> None:
        self._due_s = dict.fromkeys(domains, -math.inf)
        self._first_s = {domain: DECIDE_S * (1 + place / len(domains)) for place, domain in enumerate(domains)}
        self._urgent_left = dict.fromkeys(domains, 0)
        self._hurried = set[str]()

    def due(self, now_s: float) -> Iterator[str]:
        """Those to be decided at this tick: all of them at the first."""
        for domain, due_s in self._due_s.items():
            if now_s >= due_s - _EARLY_S:
                self._urgent_left[domain] = URGENT_DECISIONS
                self._due_s[domain] = now_s + self._first_s[domain] if due_s == -math.inf else max(due_s + DECIDE_S, now_s + DECIDE_S / 2)
            elif domain not in self._hurried:
                continue
            self._hurried.discard(domain)
            yield domain

    def at_once(self, domain: str) -> bool:
        """Whether it may be decided between two ticks."""
        if self._urgent_left[domain] > 0:
            self._urgent_left[domain] -= 1
            return True
        self._hurried.add(domain)
        return False

    def hurry(self, domain: str) -> None:
        """To be decided at the next tick."""
        self._hurried.add(domain)
