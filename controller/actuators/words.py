"""What one receiver has heard and is yet to hear: the newest word on each alert, until it has arrived.

A repeat costs nothing, and what is resolved before it could be told is told as resolved. What could not be delivered waits for
another time, as does what a receiver forgets unless it is said again. Bounded. Times are of a monotonic clock.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from gpuwarden.controller.events import Notify

WAITING_LIMIT: Final = 256
TOLD_LIMIT: Final = 4096


@dataclass(frozen=True, slots=True)
class _Later:
    due_s: float
    word: Notify
    failed: bool


class Words:
    """For one thread."""

    def __init__(self, retry_s: float, say_again_s: float | None) -> None:
        """`say_again_s` None: this receiver remembers what fires."""
        self.retry_s, self.say_again_s = retry_s, say_again_s
        self._waiting: OrderedDict[str, Notify] = OrderedDict()
        self._under_way: Notify | None = None
        self.failed_before = False  # what is under way
        self._told: OrderedDict[str, Notify] = OrderedDict()  # by alert: the last word that arrived
        self._later: OrderedDict[str, _Later] = OrderedDict()  # by alert: the word to say then, unless there is a newer one

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def told(self, key: str) -> Notify | None:
        """The last word on an alert that arrived."""
        return self._told.get(key)

    def fires(self, key: str) -> bool:
        """Whether the receiver has heard, or is about to hear, that the alert fires: then it hears how it goes on."""
        under_way = self._under_way if self._under_way is not None and self._under_way.key == key else None
        later = self._later[key].word if key in self._later else None
        return any(word is not None and word.firing for word in (self._told.get(key), self._waiting.get(key), under_way, later))

    def take(self, word: Notify) -> Notify | None:
        """The word that has to stand back for want of room, if any: it is said once nothing waits."""
        self._waiting[word.key] = word
        if len(self._waiting) <= WAITING_LIMIT:
            return None
        _, oldest = self._waiting.popitem(last=False)
        self._say_later(_Later(0.0, oldest, failed=True))
        return oldest

    def next(self, now_s: float) -> Notify | None:
        """What to say now; how it went is told to `arrived`, `failed` or `unwanted`."""
        while self._waiting:
            key, word = self._waiting.popitem(last=False)
            if self._told.get(key) != word:
                self._later.pop(key, None)
                return self._begin(word, failed=False)
        due = min(self._later.values(), key=lambda later: later.due_s, default=None)
        if due is None or due.due_s > now_s:
            return None
        del self._later[due.word.key]
        return self._begin(due.word, due.failed)

    def _begin(self, word: Notify, failed: bool) -> Notify:
        self._under_way, self.failed_before = word, failed
        return word

    def pause_s(self, now_s: float) -> float | None:
        """Until something is due; None: until something comes."""
        due_s = min((later.due_s for later in self._later.values()), default=None)
        return None if due_s is None else max(0.0, due_s - now_s)

    def arrived(self, now_s: float, word: Notify) -> None:
        self._under_way = None
        self._told[word.key] = word
        self._told.move_to_end(word.key)
        if len(self._told) > TOLD_LIMIT:
            self._told.popitem(last=False)
        if self.say_again_s is not None and word.firing:
            self._say_later(_Later(now_s + self.say_again_s, word, failed=False))

    def failed(self, now_s: float, word: Notify) -> None:
        self._under_way = None
        self._say_later(_Later(now_s + self.retry_s, word, failed=True))

    def unwanted(self) -> None:
        """The receiver will not have what was under way."""
        self._under_way = None

    def _say_later(self, later: _Later) -> None:
        """A newer word that waits goes first, and then this one is never said."""
        self._later[later.word.key] = later
        self._later.move_to_end(later.word.key)
        if len(self._later) > TOLD_LIMIT:
            self._later.popitem(last=False)

    def left(self) -> list[Notify]:
        """What waits and has not been tried."""
        return list(self._waiting.values())
