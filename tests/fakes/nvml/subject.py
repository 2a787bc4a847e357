"""What a child process holds in the tests of `gpuwarden.agent.child`: it answers, hangs, raises and dies as told."""

import os
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a type that a caller may name."""

    number: float
    words: tuple[str, ...]


class Subject:
    """Leaves a line in `starts` each time it is made."""

    def __init__(self, starts: str, refuses: bool = False, slow_s: float = 0.0) -> None:
        with Path(starts).open("a") as log:
            log.write(f"{os.getpid()}\n")
        self._counted = 0
        time.sleep(slow_s)
        if refuses:
            raise LookupError("not today")

    def echo(self, value: object) -> object:
        return value

    def answer(self, number: float) -> Answer:
        return Answer(number, ("a", "b"))

    def say(self, text: str) -> None:
        """These very bytes, as a library gone astray may write them to any descriptor."""
        pipe = Connection(os.dup(int(sys.argv[1])))
        pipe.send_bytes(text.encode("latin-1"))
        pipe.close()

    def count(self) -> int:
        """One more each time."""
        self._counted += 1
        return self._counted

    def count_or_hang(self, last: int) -> int:
        if self._counted == last:
            time.sleep(60.0)
        return self.count()

    def count_or_raise(self, last: int) -> int:
        return self.count() // (self._counted <= last)

    def tell_for_ever(self) -> None:
        while True:
            self.say('["told", 0.0, 1]')

    def pid(self) -> int:
        return os.getpid()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def divide(self, by: int) -> float:
        return 1 / by

    def die(self, status: int) -> None:
        os._exit(status)
